//! SWIM: each node probes one other a period, asks some to probe in its place, and has news ride on what is sent anyway.
//!
//! Source: Das, Gupta and Motivala, "SWIM: scalable weakly-consistent infection-style process group membership protocol",
//! 2002, sections 3 and 4; Dadgar, Phillips and Currey, "Lifeguard: local health awareness for more accurate failure
//! detection", 2018, section 4.
//! Model: crash and recovery, incarnations survive crashes; messages are lost, repeated, delayed and reordered.
//! Safety: completeness, whoever is down is confirmed within a round of probes, a suspicion and the time that news takes;
//! incarnation, only a node itself raises its own; accuracy, nobody is confirmed whom some helper reaches in time to refute.
//! Liveness: refutation, once all is well all hold all to be alive. Needs: messages that arrive. Periods and probes are
//! numbered without end, so it is judged by seeds.
//! Departures: a round is drawn as it goes, not shuffled beforehand, which is the same; the confirmed are probed as well, are
//! told of it, and come back under a higher incarnation, so that no partition is for ever.
//! Omitted: joining and leaving; Lifeguard's negative acknowledgements.
//! Cost: 2 messages a node a period without loss, however many nodes there are (the curve `load`).
//! Boundary: whoever stands still, or is not heard, for longer than a suspicion lasts is confirmed though up (the trace
//! `too_slow_to_refute`); where messages take any time, the exploration finds the same.
//! Read next: `Swim::on_period`, then `Swim::learn`, then the trace `slow_member`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol};

/// How often a node has contradicted those who held it to be down.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// What is held of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Opinion {
    /// It is up.
    Alive,
    /// It may be down, and has some time to contradict.
    Suspect,
    /// It is down.
    Confirmed,
}

/// News of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Update {
    /// Of whom.
    pub node: NodeId,
    /// What is held of it.
    pub opinion: Opinion,
    /// In which of its incarnations.
    pub incarnation: Incarnation,
    /// Who found so.
    pub by: NodeId,
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} {:?} by {}", self.node, self.incarnation.0, self.opinion, self.by)
    }
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// All nodes, this one included.
    pub nodes: Vec<NodeId>,
    /// How long a period is.
    pub period: Duration,
    /// How long a probe is waited for before others are asked to help.
    pub patience: Duration,
    /// How many are asked.
    pub helpers: u32,
    /// How long a suspicion lasts, in periods.
    pub suspicion: u64,
    /// Whether Lifeguard is on.
    pub is_guarded: bool,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Are you there?
    Ping(u64),
    /// Ask this node in my place.
    PingReq(u64, NodeId),
    /// The node that was probed is there.
    Ack(u64),
}

/// What nodes send each other, with news.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// What it is for.
    pub purpose: Purpose,
    /// What rides on it.
    pub news: Vec<Update>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.news[..] {
            [] => self.purpose.fmt(f),
            news => write!(f, "{:?} {news:?}", self.purpose),
        }
    }
}

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The next period begins.
    Period,
    /// The probe of this period was not answered directly.
    Patience,
}

/// What is known of a node, if it is not plainly alive in its first incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    opinion: Opinion,
    incarnation: Incarnation,
    /// The period in which we came to hold so.
    since: u64,
    /// Who suspects it.
    accusers: BTreeSet<NodeId>,
}

/// The probe of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Probe {
    target: NodeId,
    number: u64,
    is_answered: bool,
}

/// A probe in another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Errand {
    /// Its number here.
    number: u64,
    /// Whose probe it is, and its number there.
    of: (NodeId, u64),
    period: u64,
}

/// A node of SWIM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Swim {
    incarnation: Incarnation,
    period: u64,
    /// Lifeguard's local health: 0 is well; periods and patience are longer by so many times.
    illness: u32,
    probe: Option<Probe>,
    probes: u64,
    /// Who is still to be probed in this round.
    round: Vec<NodeId>,
    known: BTreeMap<NodeId, Known>,
    /// What rides on the next messages, and on how many it has.
    news: BTreeMap<NodeId, (u32, Update)>,
    errands: Vec<Errand>,
    /// For the judges: messages sent, and suspicions that came up here.
    sent: u64,
    suspicions: u64,
}

/// The most news that ride on one message.
const NEWS_MAX: usize = 6;
/// News rides on this many messages for each doubling of the nodes (λ of section 4.1).
const SPREAD: u32 = 3;
/// Section 4 of Lifeguard, as published: local health saturates here.
const ILLNESS_MAX: u32 = 8;
/// So many independent suspicions shorten a suspicion to its minimum (K).
const ACCUSERS: usize = 3;
/// A suspicion that nobody shares lasts longer by so many times (β).
const UNSHARED: u64 = 6;
/// How far a suspicion has shrunk, in percent, when so many others share it: log(c + 1) / log(K + 1).
const SHRUNK: [u64; ACCUSERS + 1] = [0, 50, 79, 100];

impl Swim {
    /// Periods since this node started.
    pub fn period(&self) -> u64 {
        self.period
    }

    /// Its own incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Messages that it has sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How often a probe of its own failed so that it came to suspect a node.
    pub fn suspicions(&self) -> u64 {
        self.suspicions
    }

    /// How many probes in others' places it has under way.
    pub fn errands(&self) -> usize {
        self.errands.len()
    }

    /// Of whom it holds what, and in which incarnation, unless they are alive in their first.
    pub fn known(&self) -> impl Iterator<Item = (NodeId, Opinion, Incarnation)> {
        self.known.iter().map(|(node, known)| (*node, known.opinion, known.incarnation))
    }

    /// How many periods a suspicion lasts at most.
    pub fn suspicion_max(config: &Config) -> u64 {
        if config.is_guarded && config.nodes.len() >= ACCUSERS + 3 {
            config.suspicion * UNSHARED
        } else {
            config.suspicion
        }
    }

    /// How many periods a suspicion lasts that so many have. Lifeguard, LHA-Suspicion: the fewer share it, the likelier it
    /// is that the fault is with the accuser.
    fn suspicion(config: &Config, accusers: usize) -> u64 {
        let (least, most) = (config.suspicion, Swim::suspicion_max(config));
        let shared = accusers.saturating_sub(1).min(ACCUSERS);
        most - (most - least) * SHRUNK[shared] / 100
    }

    /// Section 3.1: one probe a period, of each node once a round (section 4.3), so that completeness has a bound.
    fn on_period(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.judge_probe(config, out);
        self.period += 1;
        self.confirm(config, out);
        let now = self.period;
        self.errands.retain(|errand| errand.period + 1 >= now);
        if self.round.is_empty() {
            self.round = config.nodes.iter().copied().filter(|node| *node != config.me).collect();
        }
        if !self.round.is_empty() {
            let target = self.round.remove(out.choose(self.round.len() as u32) as usize);
            self.probes += 1;
            self.probe = Some(Probe { target, number: self.probes, is_answered: false });
            self.send(config, target, Purpose::Ping(self.probes), out);
        }
        let slowness = self.illness + 1;
        out.arm(Timer::Patience, config.patience * slowness..config.patience * slowness);
        out.arm(Timer::Period, config.period * slowness..config.period * slowness);
    }

    fn judge_probe(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Some(probe) = self.probe.take() else { return };
        if probe.is_answered {
            self.illness = self.illness.saturating_sub(1);
            return;
        }
        let (opinion, incarnation) = self.holds(probe.target);
        if opinion == Opinion::Confirmed {
            return;
        }
        self.worsen(config);
        self.suspicions += u64::from(opinion == Opinion::Alive);
        let incarnation = if config.mutants.has("accuses_a_later_incarnation") {
            Incarnation(incarnation.0 + 1)
        } else {
            incarnation
        };
        let (node, by) = (probe.target, config.me);
        self.learn(config, Update { node, opinion: Opinion::Suspect, incarnation, by }, out);
    }

    /// Lifeguard, LHA-Probe: who sees others fail may be the one that is slow.
    fn worsen(&mut self, config: &Config) {
        if config.is_guarded {
            self.illness = (self.illness + 1).min(ILLNESS_MAX);
        }
    }

    /// Section 4.2: a suspicion that nobody has contradicted in time is confirmed.
    fn confirm(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if config.mutants.has("never_confirms") {
            return;
        }
        let is_over = |known: &Known| {
            known.opinion == Opinion::Suspect
                && self.period - known.since >= Swim::suspicion(config, known.accusers.len())
        };
        let over = self.known.iter().filter(|(_, known)| is_over(known));
        let over: Vec<_> = over.map(|(node, known)| (*node, known.incarnation)).collect();
        for (node, incarnation) in over {
            let opinion = Opinion::Confirmed;
            self.learn(config, Update { node, opinion, incarnation, by: config.me }, out);
        }
    }

    /// Section 3.1: some others are asked to probe, who may have a better path, or be quicker.
    fn on_patience(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Some(Probe { target, number, is_answered: false }) = self.probe else { return };
        if config.mutants.has("no_indirect_probe") {
            return;
        }
        let mut others: Vec<NodeId> = config.nodes.clone();
        others.retain(|node| *node != config.me && *node != target);
        for _ in 0..config.helpers.min(others.len() as u32) {
            let helper = others.remove(out.choose(others.len() as u32) as usize);
            self.send(config, helper, Purpose::PingReq(number, target), out);
        }
    }

    fn on_message(
        &mut self,
        config: &Config,
        from: NodeId,
        message: Message,
        out: &mut Out<'_, Self>,
    ) {
        for update in message.news {
            self.learn(config, update, out);
        }
        match message.purpose {
            Purpose::Ping(number) => self.send(config, from, Purpose::Ack(number), out),
            Purpose::PingReq(number, target) if target != config.me => {
                self.probes += 1;
                let (of, period) = ((from, number), self.period);
                self.errands.push(Errand { number: self.probes, of, period });
                self.send(config, target, Purpose::Ping(self.probes), out);
            }
            Purpose::PingReq(number, _) => self.send(config, from, Purpose::Ack(number), out),
            Purpose::Ack(number) => self.on_ack(config, number, out),
        }
    }

    fn on_ack(&mut self, config: &Config, number: u64, out: &mut Out<'_, Self>) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.number == number) {
            probe.is_answered = true;
        }
        if let Some(at) = self.errands.iter().position(|errand| errand.number == number) {
            let (asker, number) = self.errands.remove(at).of;
            self.send(config, asker, Purpose::Ack(number), out);
        }
    }

    fn holds(&self, node: NodeId) -> (Opinion, Incarnation) {
        self.known
            .get(&node)
            .map_or((Opinion::Alive, Incarnation(0)), |known| (known.opinion, known.incarnation))
    }

    /// Takes news in, and passes on what is news indeed.
    fn learn(&mut self, config: &Config, update: Update, out: &mut Out<'_, Self>) {
        if update.node == config.me {
            return self.refute(config, update, out);
        }
        if !config.nodes.contains(&update.node) {
            return;
        }
        let (opinion, incarnation) = self.holds(update.node);
        // Section 4.2: a later incarnation overrides an earlier one; of one incarnation, the worse opinion does. So nobody
        // but the node itself can turn an opinion for the better.
        if (update.incarnation, update.opinion) > (incarnation, opinion) {
            let known = Known {
                opinion: update.opinion,
                incarnation: update.incarnation,
                since: self.period,
                accusers: BTreeSet::from([update.by]),
            };
            self.known.insert(update.node, known);
            self.news.insert(update.node, (0, update));
        } else if (update.incarnation, update.opinion) == (incarnation, Opinion::Suspect)
            && let Some(known) = self.known.get_mut(&update.node)
            && known.accusers.len() <= ACCUSERS
            && known.accusers.insert(update.by)
            && config.is_guarded
        {
            self.news.insert(update.node, (0, update));
        }
    }

    /// Section 4.2: whoever hears itself suspected contradicts, under an incarnation that overrides the suspicion.
    fn refute(&mut self, config: &Config, update: Update, out: &mut Out<'_, Self>) {
        if update.opinion == Opinion::Alive {
            return;
        }
        if update.incarnation >= self.incarnation
            && !config.mutants.has("refutes_without_a_higher_incarnation")
        {
            self.incarnation = Incarnation(update.incarnation.0 + 1);
            out.persist(self.incarnation);
            self.worsen(config);
        }
        self.announce(config);
    }

    fn announce(&mut self, config: &Config) {
        let (node, incarnation) = (config.me, self.incarnation);
        let update = Update { node, opinion: Opinion::Alive, incarnation, by: node };
        self.news.insert(node, (0, update));
    }

    /// Section 4.1: news rides on probes and their answers, the least told first.
    fn send(&mut self, config: &Config, to: NodeId, purpose: Purpose, out: &mut Out<'_, Self>) {
        let mut order: Vec<(u32, NodeId)> =
            self.news.iter().map(|(node, (told, _))| (*told, *node)).collect();
        order.sort_unstable();
        let mut news = Vec::new();
        let (opinion, incarnation) = self.holds(to);
        // Lifeguard, Buddy System: a suspect is told at once. That the confirmed are told is how they come back.
        if opinion == Opinion::Confirmed || opinion == Opinion::Suspect && config.is_guarded {
            news.push(Update { node: to, opinion, incarnation, by: config.me });
        }
        let enough = SPREAD * config.nodes.len().next_power_of_two().ilog2().max(1);
        for (_, node) in order.into_iter().take(NEWS_MAX) {
            let Some((told, update)) = self.news.get_mut(&node) else { continue };
            if !news.contains(update) {
                news.push(*update);
            }
            *told += 1;
            if *told >= enough {
                self.news.remove(&node);
            }
        }
        self.sent += 1;
        out.send(to, Message { purpose, news });
    }
}

impl Protocol for Swim {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = Incarnation;
    /// The last incarnation, if it has ever started.
    type Durable = Option<Incarnation>;
    type Request = ();
    type Response = ();

    fn fold(durable: &mut Option<Incarnation>, _: u64, incarnation: Incarnation) {
        *durable = Some(incarnation);
    }

    fn recover(config: &Config, before: Option<Incarnation>, out: &mut Out<'_, Self>) -> Self {
        let incarnation = before.map_or(Incarnation(0), |before| Incarnation(before.0 + 1));
        out.persist(incarnation);
        out.arm(Timer::Period, Duration::ZERO..config.period);
        let mut swim = Swim {
            incarnation,
            period: 0,
            illness: 0,
            probe: None,
            probes: 0,
            round: Vec::new(),
            known: BTreeMap::new(),
            news: BTreeMap::new(),
            errands: Vec::new(),
            sent: 0,
            suspicions: 0,
        };
        if before.is_some() {
            swim.announce(config);
        }
        swim
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Fire(Timer::Period) => self.on_period(config, out),
            Input::Fire(Timer::Patience) => self.on_patience(config, out),
            Input::Deliver { from, message } => self.on_message(config, from, message, out),
            Input::Ask { .. } | Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        let mut words = vec![format!("incarnation={:?}", self.incarnation)];
        words.extend(self.known().filter(|(_, opinion, _)| *opinion != Opinion::Alive).map(
            |(node, opinion, incarnation)| match opinion {
                Opinion::Suspect => format!("suspects {node}.{incarnation:?}"),
                _ => format!("confirms {node}.{incarnation:?}"),
            },
        ));
        words.join(" ")
    }
}
