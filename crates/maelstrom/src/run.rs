//! One run: nodes are set up, clients ask, the network does its worst, heals, and a judge looks at what was seen.
//!
//! ```text
//! init ─► topology ─► requests under faults ─► what is open ends ─► the network heals ─► final reads ─► verdict
//! ```
//!
//! Final reads are repeated for as long as what is wrong may still pass, and no longer than [`Options::settle`]: a good
//! program is done as soon as it has converged, on a fast machine or a slow one.
//!
//! Everything happens on one thread, in the order of one clock ([`Nodes::now`]): `Run::turn` does what is due, or
//! listens until something is.

mod clients;
mod kills;
mod set_up;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_sim::Rng;

use crate::address::{Address, ClientNumber, NodeIndex, Service};
use crate::fault::{Complaint, NodeFault};
use crate::history::{Findings, Op};
use crate::judge::dependencies::Consistency;
use crate::message::Message;
use crate::network::{Fate, Network, NetworkMix};
use crate::nodes::{Nodes, Said};
use crate::report::{Kind, Report, Verdict};
use crate::services::Services;
use crate::workload::counter::Counter;
use crate::workload::echo::Echo;
use crate::workload::kafka::Kafka;
use crate::workload::lin_kv::LinKv;
use crate::workload::set::Set;
use crate::workload::txn::{ListAppend, RwRegister};
use crate::workload::unique_ids::UniqueIds;
use crate::workload::{Numbers, Script, Workload};

use set_up::Introduction;

/// How many clients sit beside each node. Two, so that requests to one node overlap.
const CLIENTS_PER_NODE: u64 = 2;

/// How long after a round of final reads the next begins.
const FINAL_READS_EVERY: Duration = Duration::from_millis(100);

/// After so many requests of a kind without one answer something is wrong with that kind.
const UNANSWERED_MAX: u64 = 5;

/// Who sets the nodes up.
const SET_UP: ClientNumber = ClientNumber(0);

const PURPOSE_SCRIPTS: u64 = 1 << 32;
const PURPOSE_PACES: u64 = 1 << 33;

/// What to run, and under what.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is asked.
    pub workload: Workload,
    /// How many nodes there are, at least one.
    pub nodes: u16,
    /// How long requests are made.
    pub requests_last: Duration,
    /// How many requests are made a second, by all clients together.
    pub rate: f64,
    /// The network.
    pub network: NetworkMix,
    /// Whether nodes are killed now and then, and started again.
    pub has_kills: bool,
    /// What all chance comes from.
    pub seed: u64,
    /// How long a client waits for an answer.
    pub timeout: Duration,
    /// How long a node may take to answer what begins a run.
    pub start_within: Duration,
    /// How long nodes may take, once the network has healed, to come to what must hold in the end.
    pub settle: Duration,
    /// What transactions have to keep to; `None` is what their workload usually asks for.
    pub consistency: Option<Consistency>,
}

/// Runs a workload against nodes, and judges it.
pub fn run(options: &Options, nodes: &mut impl Nodes) -> Report {
    match options.workload {
        Workload::Echo => Run::<_, Echo>::new(options, nodes).play(),
        Workload::UniqueIds => Run::<_, UniqueIds>::new(options, nodes).play(),
        Workload::Broadcast => Run::<_, Set<true>>::new(options, nodes).play(),
        Workload::GSet => Run::<_, Set<false>>::new(options, nodes).play(),
        Workload::GCounter => Run::<_, Counter<false>>::new(options, nodes).play(),
        Workload::PnCounter => Run::<_, Counter<true>>::new(options, nodes).play(),
        Workload::LinKv => Run::<_, LinKv>::new(options, nodes).play(),
        Workload::Kafka => Run::<_, Kafka>::new(options, nodes).play(),
        Workload::TxnListAppend => Run::<_, ListAppend>::new(options, nodes).play(),
        Workload::TxnRwRegister => Run::<_, RwRegister>::new(options, nodes).play(),
    }
}

/// What is going to happen.
#[derive(Clone)]
enum Due {
    /// A message comes to a node.
    Arrives(NodeIndex, Message),
    /// A node's message comes to a service.
    Served(Service, NodeIndex, Message),
    /// The client of that place asks.
    Asks(usize),
    /// That request is given up if it is still open.
    GivesUp(usize),
    /// A node is killed.
    Dies(NodeIndex),
    /// A node that was killed is started again.
    Returns(NodeIndex),
    /// A node should have answered that message, which begins its run.
    Overdue(NodeIndex, u64),
}

/// A client in its place beside a node.
struct Client<S> {
    script: S,
    pace: Rng,
    number: ClientNumber,
    node: NodeIndex,
    /// The request that it waits for, and the `msg_id` of it.
    open: Option<(usize, u64)>,
    next_msg_id: u64,
}

struct Run<'r, N, S: Script> {
    options: &'r Options,
    nodes: &'r mut N,
    network: Network,
    services: Services,
    clients: Vec<Client<S>>,
    next_client: u64,
    ops: Vec<Op<S::Request, S::Answer>>,
    due: BTreeMap<(Duration, u64), Due>,
    next_due: u64,
    /// What those who have not answered it yet were asked to begin with.
    introductions: BTreeMap<NodeIndex, Introduction>,
    next_introduction: u64,
    /// Those who are killed, or not introduced again since.
    down: BTreeSet<NodeIndex>,
    kills: u64,
    requests_end: Duration,
    kinds: BTreeMap<String, Kind>,
    refusals: BTreeMap<u64, (u64, String)>,
}

impl<'r, N: Nodes, S: Script> Run<'r, N, S> {
    fn new(options: &'r Options, nodes: &'r mut N) -> Self {
        let seed = options.seed;
        let count = u64::from(options.nodes) * CLIENTS_PER_NODE;
        let client = |place: u64| Client {
            script: S::new(
                Numbers::new(place, count),
                Rng::for_purpose(seed, PURPOSE_SCRIPTS + place),
            ),
            pace: Rng::for_purpose(seed, PURPOSE_PACES + place),
            number: ClientNumber(place + 1),
            node: NodeIndex((place % u64::from(options.nodes)) as u16),
            open: None,
            next_msg_id: 1,
        };
        let mix = options.network.clone();
        Run {
            options,
            nodes,
            network: Network::new(seed, mix, options.nodes, options.requests_last),
            services: Services::new(seed),
            clients: (0..count).map(client).collect(),
            next_client: count + 1,
            ops: Vec::new(),
            due: BTreeMap::new(),
            next_due: 0,
            introductions: BTreeMap::new(),
            next_introduction: 1,
            down: BTreeSet::new(),
            kills: 0,
            requests_end: Duration::ZERO,
            kinds: BTreeMap::new(),
            refusals: BTreeMap::new(),
        }
    }

    fn play(mut self) -> Report {
        let began = self.nodes.now();
        let verdict = match self.play_to_end() {
            Ok(found) => self.verdict(found),
            Err(fault) => Verdict::Fault(fault),
        };
        Report {
            workload: self.options.workload,
            seed: self.options.seed,
            nodes: self.options.nodes,
            verdict,
            kinds: self.kinds,
            refusals: self.refusals,
            tally: self.network.tally(),
            partitions: self.network.partitions().len(),
            kills: self.kills,
            took: self.nodes.now().saturating_sub(began),
        }
    }

    fn play_to_end(&mut self) -> Result<Findings, NodeFault> {
        self.set_up()?;
        let now = self.nodes.now();
        self.network.begin_faults(now);
        self.requests_end = now + self.options.requests_last;
        self.plan_kills(now);
        for place in 0..self.clients.len() {
            self.ask_later(place, now);
        }
        while self.nodes.now() < self.requests_end {
            self.turn(self.requests_end)?;
        }
        self.await_answers()?;
        self.await_the_killed()?;
        self.network.heal();
        self.read_finally()
    }

    /// Does the next thing that is due; if there is none, listens until there is, or somebody speaks, or it is `until`.
    fn turn(&mut self, until: Duration) -> Result<(), NodeFault> {
        let now = self.nodes.now();
        if let Some(entry) = self.due.first_entry()
            && entry.key().0 <= now
        {
            match entry.remove() {
                Due::Arrives(node, _) if self.down.contains(&node) => self.network.unheard(),
                Due::Arrives(node, message) => self.nodes.deliver(node, &message),
                Due::Served(service, node, message) => self.serve(service, node, &message, now),
                Due::Asks(place) => self.ask_next(place, now),
                Due::GivesUp(op) => self.give_up(op, now),
                Due::Dies(node) => self.kill(node, now),
                Due::Returns(node) => self.start_again(node)?,
                Due::Overdue(node, msg_id) => self.find_silent(node, msg_id)?,
            }
            // It may have been what the caller waits for.
            return Ok(());
        }
        let next = self.due.first_key_value().map_or(until, |((at, _), _)| until.min(*at));
        match self.nodes.hear(next) {
            Some((node, Said::Line(line))) => self.hear(node, &line),
            Some((node, Said::Ended(how))) => Err(self.fault(node, Complaint::Ended { how }, None)),
            None => Ok(()),
        }
    }

    fn later(&mut self, at: Duration, due: Due) {
        self.due.insert((at, self.next_due), due);
        self.next_due += 1;
    }

    fn fault(&mut self, node: NodeIndex, complaint: Complaint, line: Option<&str>) -> NodeFault {
        let last_words = self.nodes.last_words(node);
        NodeFault { node, complaint, line: line.map(str::to_string), last_words }
    }

    /// A node has written a line.
    fn hear(&mut self, node: NodeIndex, line: &str) -> Result<(), NodeFault> {
        let message = match Message::parse(line) {
            Ok(message) => message,
            Err(why) => return Err(self.fault(node, Complaint::NoMessage { why }, Some(line))),
        };
        if message.src != node.to_string() {
            let complaint = Complaint::Impostor { src: message.src };
            return Err(self.fault(node, complaint, Some(line)));
        }
        let now = self.nodes.now();
        match Address::parse(&message.dest, self.options.nodes) {
            Some(Address::Client(SET_UP)) => self.hear_set_up(node, &message.body, line),
            Some(Address::Client(client)) if client.0 < self.next_client => {
                self.hear_answer(client, node, &message.body, line, now)
            }
            Some(to @ Address::Node(other)) => {
                self.send(Address::Node(node), to, now, Due::Arrives(other, message));
                Ok(())
            }
            Some(to @ Address::Service(service)) => {
                self.send(Address::Node(node), to, now, Due::Served(service, node, message));
                Ok(())
            }
            Some(Address::Client(_)) | None => {
                let there = format!(
                    "the nodes n1 to n{}, the clients that have asked, and the services {}",
                    self.options.nodes,
                    Service::ALL.map(Service::name).join(", ")
                );
                let complaint = Complaint::NobodyThere { dest: message.dest, there };
                Err(self.fault(node, complaint, Some(line)))
            }
        }
    }

    fn send(&mut self, from: Address, to: Address, now: Duration, due: Due) {
        if let Fate::Arrives { after, again } = self.network.send(from, to, now) {
            if let Some(again) = again {
                self.later(now + again, due.clone());
            }
            self.later(now + after, due);
        }
    }

    fn serve(&mut self, service: Service, node: NodeIndex, request: &Message, now: Duration) {
        let mut answer = self.services.answer(service, Address::Node(node), &request.body, now);
        if let Some(msg_id) = request.body.get("msg_id") {
            answer.insert("in_reply_to".into(), msg_id.clone());
        }
        let src = service.name().to_string();
        let message = Message { src, dest: node.to_string(), body: answer };
        let (from, to) = (Address::Service(service), Address::Node(node));
        self.send(from, to, now, Due::Arrives(node, message));
    }

    /// Reads until all is well, or can't become so, or there was time enough.
    fn read_finally(&mut self) -> Result<Findings, NodeFault> {
        let deadline = self.nodes.now() + self.options.settle;
        loop {
            for place in 0..self.clients.len() {
                if let Some(request) = self.clients[place].script.draw_final() {
                    self.ask(place, request, true);
                }
            }
            self.await_answers()?;
            let found = S::judge(&self.ops, self.options);
            if !found.may_pass() || self.nodes.now() >= deadline {
                return Ok(found);
            }
            let pause_ends = self.nodes.now() + FINAL_READS_EVERY;
            while self.nodes.now() < pause_ends {
                self.turn(pause_ends)?;
            }
        }
    }

    fn verdict(&self, mut found: Findings) -> Verdict {
        for (kind, counted) in &self.kinds {
            if counted.answered == 0 && counted.asked >= UNANSWERED_MAX {
                let what = format!("none of {} requests `{kind}` was answered", counted.asked);
                found.wrong("unanswered", what);
            }
        }
        if self.kinds.values().all(|counted| counted.answered == 0) && found.wrong.is_empty() {
            found.wrong("unanswered", "no request was answered, so there is nothing to judge");
        }
        match found.undecided {
            _ if !found.wrong.is_empty() => Verdict::Broken(found.wrong),
            Some(why) => Verdict::Undecided(why),
            None => Verdict::Held,
        }
    }
}
