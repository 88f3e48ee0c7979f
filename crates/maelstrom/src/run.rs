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

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_sim::Rng;
use serde_json::{Value, json};

use crate::address::{Address, ClientNumber, NodeIndex, Service};
use crate::fault::{Complaint, NodeFault};
use crate::history::{Findings, Op, Outcome};
use crate::judge::dependencies::Consistency;
use crate::message::{Body, ErrorCode, Message, body, type_of};
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
enum Due {
    /// A message comes to a node.
    Arrives(NodeIndex, Message),
    /// A node's message comes to a service.
    Served(Service, NodeIndex, Message),
    /// The client of that place asks.
    Asks(usize),
    /// That request is given up if it is still open.
    GivesUp(usize),
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
    /// Those who have not answered what begins a run.
    setting_up: BTreeSet<NodeIndex>,
    set_up_request: &'static str,
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
            setting_up: BTreeSet::new(),
            set_up_request: "init",
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
            took: self.nodes.now().saturating_sub(began),
        }
    }

    fn play_to_end(&mut self) -> Result<Findings, NodeFault> {
        self.set_up()?;
        let now = self.nodes.now();
        self.network.begin_faults(now);
        self.requests_end = now + self.options.requests_last;
        for place in 0..self.clients.len() {
            self.ask_later(place, now);
        }
        while self.nodes.now() < self.requests_end {
            self.turn(self.requests_end)?;
        }
        self.await_answers()?;
        self.network.heal();
        self.read_finally()
    }

    /// Introduces the nodes to each other.
    fn set_up(&mut self) -> Result<(), NodeFault> {
        let count = self.options.nodes;
        let ids: Vec<String> = NodeIndex::all(count).map(|node| node.to_string()).collect();
        self.ask_all("init", |node| json!({ "node_id": node.to_string(), "node_ids": ids }))?;
        if S::HAS_TOPOLOGY {
            let neighbours: Body = NodeIndex::all(count)
                .map(|node| (node.to_string(), json!(neighbours(node, count))))
                .collect();
            self.ask_all("topology", |_| json!({ "topology": neighbours }))?;
        }
        Ok(())
    }

    fn ask_all(
        &mut self,
        request: &'static str,
        fields: impl Fn(NodeIndex) -> Value,
    ) -> Result<(), NodeFault> {
        self.set_up_request = request;
        self.setting_up = NodeIndex::all(self.options.nodes).collect();
        let deadline = self.nodes.now() + self.options.start_within;
        for node in NodeIndex::all(self.options.nodes) {
            let mut body = body(request, fields(node));
            body.insert("msg_id".into(), self.set_up_msg_id().into());
            let message = Message { src: SET_UP.to_string(), dest: node.to_string(), body };
            self.nodes.deliver(node, &message);
        }
        while let Some(&silent) = self.setting_up.first() {
            if self.nodes.now() >= deadline {
                let within = self.options.start_within;
                return Err(self.fault(silent, Complaint::Silent { request, within }, None));
            }
            self.turn(deadline)?;
        }
        Ok(())
    }

    fn set_up_msg_id(&self) -> u64 {
        if self.set_up_request == "init" { 1 } else { 2 }
    }

    /// Does the next thing that is due; if there is none, listens until there is, or somebody speaks, or it is `until`.
    fn turn(&mut self, until: Duration) -> Result<(), NodeFault> {
        let now = self.nodes.now();
        if let Some(entry) = self.due.first_entry()
            && entry.key().0 <= now
        {
            match entry.remove() {
                Due::Arrives(node, message) => self.nodes.deliver(node, &message),
                Due::Served(service, node, message) => self.serve(service, node, &message, now),
                Due::Asks(place) => self.ask_next(place, now),
                Due::GivesUp(op) => self.give_up(op, now),
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
        if let Fate::Arrives { after } = self.network.send(from, to, now) {
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

    fn hear_set_up(&mut self, node: NodeIndex, body: &Body, line: &str) -> Result<(), NodeFault> {
        if body.get("in_reply_to").and_then(Value::as_u64) != Some(self.set_up_msg_id())
            || !self.setting_up.contains(&node)
        {
            // It answers twice, or says something that nobody asked for.
            return Ok(());
        }
        let request = self.set_up_request;
        if type_of(body) != format!("{request}_ok") {
            let answer = Value::Object(body.clone()).to_string();
            return Err(self.fault(node, Complaint::Refused { request, answer }, Some(line)));
        }
        self.setting_up.remove(&node);
        Ok(())
    }

    /// A node has written to a client.
    fn hear_answer(
        &mut self,
        client: ClientNumber,
        node: NodeIndex,
        body: &Body,
        line: &str,
        now: Duration,
    ) -> Result<(), NodeFault> {
        let place = self.clients.iter().position(|known| known.number == client);
        // Whoever has gone on under another number takes no answers any more.
        let Some(place) = place else { return Ok(()) };
        let Some((op, msg_id)) = self.clients[place].open else { return Ok(()) };
        let request = self.ops[op].request.clone();
        let kind = type_of(&S::encode(&request)).to_string();
        let answered = match body.get("in_reply_to") {
            Some(to) if to.as_u64() == Some(msg_id) => understood::<S>(&request, &kind, body),
            // Of an earlier request, once more.
            Some(Value::Number(_)) => return Ok(()),
            Some(other) => Err(format!("its in_reply_to is {other}, not the msg_id of a request")),
            None => Err("it has no in_reply_to, so nobody knows what it answers".into()),
        };
        let outcome = match answered {
            Ok(Understood::Answer(answer)) => Outcome::Answered { answer, at: now },
            Ok(Understood::Refusal { code, text }) => {
                let refusals = self.refusals.entry(code).or_insert((0, text));
                refusals.0 += 1;
                match ErrorCode::of(code).is_some_and(ErrorCode::is_definite) {
                    true => Outcome::Refused,
                    false => Outcome::Unknown,
                }
            }
            Err(why) => {
                let complaint = Complaint::WrongAnswer { request: kind, why };
                return Err(self.fault(node, complaint, Some(line)));
            }
        };
        self.settle(place, op, outcome, now);
        Ok(())
    }

    fn settle(&mut self, place: usize, op: usize, outcome: Outcome<S::Answer>, now: Duration) {
        let kind = type_of(&S::encode(&self.ops[op].request)).to_string();
        let counted = self.kinds.entry(kind).or_default();
        match &outcome {
            Outcome::Answered { .. } => counted.answered += 1,
            Outcome::Refused => counted.refused += 1,
            Outcome::Unknown => counted.in_doubt += 1,
        }
        let client = &mut self.clients[place];
        client.open = None;
        match &outcome {
            Outcome::Answered { answer, .. } => client.script.learn(&self.ops[op].request, answer),
            Outcome::Refused => {}
            Outcome::Unknown => {
                client.number = ClientNumber(self.next_client);
                self.next_client += 1;
            }
        }
        self.ops[op].outcome = outcome;
        if now < self.requests_end {
            self.ask_later(place, now);
        }
    }

    /// Lets a client ask after a while such that all together ask as often as they should.
    fn ask_later(&mut self, place: usize, now: Duration) {
        let mean = Duration::from_secs_f64(self.clients.len() as f64 / self.options.rate);
        let after = self.clients[place].pace.duration(&(Duration::ZERO..mean * 2));
        self.later(now + after, Due::Asks(place));
    }

    fn ask_next(&mut self, place: usize, now: Duration) {
        if now < self.requests_end {
            let request = self.clients[place].script.draw();
            self.ask(place, request, false);
        }
    }

    fn ask(&mut self, place: usize, request: S::Request, is_final: bool) {
        // The time is noted before the request can arrive.
        let invoked = self.nodes.now();
        let client = &mut self.clients[place];
        let mut body = S::encode(&request);
        self.kinds.entry(type_of(&body).to_string()).or_default().asked += 1;
        body.insert("msg_id".into(), client.next_msg_id.into());
        let op = self.ops.len();
        client.open = Some((op, client.next_msg_id));
        client.next_msg_id += 1;
        let (number, node) = (client.number, client.node);
        let outcome = Outcome::Unknown;
        self.ops.push(Op { client: number, node, request, invoked, is_final, outcome });
        self.later(invoked + self.options.timeout, Due::GivesUp(op));
        let message = Message { src: number.to_string(), dest: node.to_string(), body };
        self.nodes.deliver(node, &message);
    }

    fn give_up(&mut self, op: usize, now: Duration) {
        let place =
            self.clients.iter().position(|client| client.open.is_some_and(|open| open.0 == op));
        if let Some(place) = place {
            self.settle(place, op, Outcome::Unknown, now);
        }
    }

    fn await_answers(&mut self) -> Result<(), NodeFault> {
        // Each is answered or given up in time, so this ends.
        while self.clients.iter().any(|client| client.open.is_some()) {
            self.turn(Duration::MAX)?;
        }
        Ok(())
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

/// What a body says to a client.
enum Understood<A> {
    Answer(A),
    Refusal { code: u64, text: String },
}

fn understood<S: Script>(
    request: &S::Request,
    kind: &str,
    body: &Body,
) -> Result<Understood<S::Answer>, String> {
    let said = type_of(body);
    if said == format!("{kind}_ok") {
        return S::decode(request, body).map(Understood::Answer);
    }
    if said != "error" {
        return Err(format!("its type is `{said}`, not `{kind}_ok` or `error`"));
    }
    let code = body.get("code").and_then(Value::as_u64);
    let code = code.ok_or("it is an error without a number as its `code`")?;
    let meant = ErrorCode::of(code).and_then(|code| S::decode_error(request, code));
    let text = body.get("text").and_then(Value::as_str).unwrap_or_default().to_string();
    Ok(meant.map_or(Understood::Refusal { code, text }, Understood::Answer))
}

/// A grid: each node has those to its left and right, above and below. Few links, and more than one way.
fn neighbours(node: NodeIndex, nodes: u16) -> Vec<String> {
    let width = (1..).find(|width| width * width >= nodes).expect("some square is as large");
    let (row, column) = (node.0 / width, node.0 % width);
    NodeIndex::all(nodes)
        .filter(|other| {
            let (other_row, other_column) = (other.0 / width, other.0 % width);
            row.abs_diff(other_row) + column.abs_diff(other_column) == 1
        })
        .map(|other| other.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topology_is_a_grid_that_holds_together() {
        assert_eq!(neighbours(NodeIndex(4), 9), ["n2", "n4", "n6", "n8"]);
        assert_eq!(neighbours(NodeIndex(0), 1), [""; 0]);
        for nodes in 2..30 {
            let mut reached = BTreeSet::from(["n1".to_string()]);
            let mut open = vec![NodeIndex(0)];
            while let Some(here) = open.pop() {
                for name in neighbours(here, nodes) {
                    let Some(Address::Node(next)) = Address::parse(&name, nodes) else { panic!() };
                    if reached.insert(name) {
                        open.push(next);
                    }
                }
            }
            assert_eq!(reached.len(), usize::from(nodes));
        }
    }
}
