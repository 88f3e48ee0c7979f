//! Ben-Or's randomised consensus: where no common value is in sight each node tosses a coin, and some day all coins agree.
//!
//! Source: Ben-Or, "Another advantage of free choice: completely asynchronous agreement protocols", 1983 (the protocol
//! against crashes).
//! Model: crash and recovery, asynchronous; messages are lost, repeated and reordered; n > 2f; values are 0 and 1.
//! Safety: agreement, no two nodes decide differently; validity, if all propose the same, nothing else is decided.
//! Liveness: termination, every node decides with probability 1. Needs: a majority that is up, messages that arrive, and a
//! scheduler that does not know the tosses to come. An exploration knows them, so it awaits a decision only where no coin is
//! tossed.
//! Departures: whoever decides says so and stops, and whoever hears so decides; votes are kept and sent again to whoever
//! misses them, so that loss and crashes are borne.
//! Omitted: the protocol against Byzantine faults, which needs n > 5f; a coin common to all, which makes the number of rounds
//! constant.
//! Cost: 2n(n − 1) messages a round; how many rounds is the curve `rounds`.
//! Boundary: a scheduler that sees all votes makes it last about 2^(n − 1) rounds, until all coins agree; and with a majority
//! down it waits for ever (the trace `a_majority_is_down`).
//! Read next: `BenOr::close`, then the trace `the_schedule_that_blocks_flp`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// What is agreed on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bit(pub bool);

/// A round has two phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Each reports its estimate.
    Report,
    /// Each proposes what most have reported, if it has heard of such a value.
    Propose,
}

/// A phase of a round. Rounds are counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stage {
    /// The round.
    pub round: u32,
    /// Its phase.
    pub phase: Phase,
}

impl fmt::Debug for Bit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", u8::from(self.0))
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.round, self.phase)
    }
}

impl Stage {
    /// The stage that has this place among all.
    fn at(place: usize) -> Self {
        let phase = if place.is_multiple_of(2) { Phase::Report } else { Phase::Propose };
        Stage { round: place as u32 / 2 + 1, phase }
    }

    /// The stage so many rounds before.
    pub(super) fn earlier(self, rounds: u32) -> Option<Self> {
        let round = self.round.checked_sub(rounds)?;
        Some(Stage { round, ..self })
    }

    fn place(self) -> Option<usize> {
        let round = self.round.checked_sub(1)? as usize;
        Some(2 * round + usize::from(self.phase == Phase::Propose))
    }
}

/// What becomes of the estimate of a node that was proposed no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tie {
    /// It is tossed for.
    Toss,
    /// It is turned round: the protocol is deterministic, and a victim of [`super::flp`].
    Turn,
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// All nodes, this one included.
    pub nodes: Vec<NodeId>,
    /// What is done where no common value is in sight.
    pub tie: Tie,
    /// After how long a node asks for the votes that it lacks.
    pub impatience: Range<Duration>,
    /// A node votes in no later round: explorations need an end.
    pub rounds_max: u32,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

impl Config {
    /// How many may be down, f.
    pub fn down_max(&self) -> usize {
        (self.nodes.len() - 1) / 2
    }

    /// How many votes a node waits for, its own included: more may never come.
    pub fn awaited(&self) -> usize {
        if self.mutants.has("waits_for_all") {
            self.nodes.len()
        } else {
            self.nodes.len() - self.down_max()
        }
    }
}

/// What nodes send each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message {
    /// The sender's vote: a report, or a proposal, if only of nothing.
    Vote(Stage, Option<Bit>),
    /// The sender lacks votes of that stage.
    Missing(Stage),
    /// This is decided.
    Decided(Bit),
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Vote(stage, Some(bit)) => write!(f, "{stage:?}({bit:?})"),
            Message::Vote(stage, None) => write!(f, "{stage:?}(?)"),
            Message::Missing(stage) => write!(f, "Missing({stage:?})"),
            Message::Decided(bit) => write!(f, "Decided({bit:?})"),
        }
    }
}

/// A node asks for the votes that it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Remind;

/// What must survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The vote of the next stage.
    Vote(Option<Bit>),
    /// What is decided.
    Decided(Bit),
    /// The votes of so many rounds, from the first, are forgotten, and the others counted from 1 again.
    Forgotten(u32),
}

/// What a node knows after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    /// Its votes, stage by stage.
    votes: Vec<Option<Bit>>,
    decided: Option<Bit>,
}

impl Durable {
    fn forget(&mut self, rounds: u32) {
        let votes = 2 * rounds as usize;
        self.votes.drain(..votes.min(self.votes.len()));
    }
}

/// A node of Ben-Or's protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BenOr {
    durable: Durable,
    /// The votes of this stage and of later ones.
    heard: BTreeMap<Stage, BTreeMap<NodeId, Option<Bit>>>,
    waiting: BTreeSet<RequestId>,
}

impl BenOr {
    /// What this node knows to be decided.
    pub fn decided(&self) -> Option<Bit> {
        self.durable.decided
    }

    /// What it has reported in the first round.
    pub fn first_report(&self) -> Option<Bit> {
        self.durable.votes.first().copied().flatten()
    }

    /// The round that it is in, or was when it decided; 0 before the first.
    pub fn round(&self) -> u32 {
        self.durable.votes.len().div_ceil(2) as u32
    }

    /// The stage whose votes it waits for, if it does.
    pub fn stage(&self) -> Option<Stage> {
        let place = self.durable.votes.len().checked_sub(1)?;
        self.durable.decided.is_none().then(|| Stage::at(place))
    }

    /// Its vote in the stage that it is in.
    pub fn vote(&self) -> Option<Bit> {
        self.durable.votes.last().copied().flatten()
    }

    /// Forgets so many rounds, from the first, and counts the others from 1 again. For who knows that nobody will ask for
    /// those votes, and tells the others of rounds as they count them.
    pub(super) fn forget(&mut self, rounds: u32) {
        self.durable.forget(rounds);
        let heard = std::mem::take(&mut self.heard).into_iter();
        let heard = heard.filter_map(|(stage, votes)| Some((stage.earlier(rounds)?, votes)));
        self.heard = heard.collect();
    }

    fn on_request(&mut self, config: &Config, id: RequestId, bit: Bit, out: &mut Out<'_, Self>) {
        if let Some(decided) = self.durable.decided {
            return out.reply(id, decided);
        }
        self.waiting.insert(id);
        if self.durable.votes.is_empty() {
            let is_random = config.mutants.has("reports_a_toss");
            let estimate = if is_random { Bit(out.choose(2) == 1) } else { bit };
            out.arm(Remind, config.impatience.clone());
            self.cast(config, Some(estimate), out);
            self.advance(config, out);
        }
    }

    /// Votes in the next stage. Nobody hears of a vote that a crash could undo.
    fn cast(&mut self, config: &Config, bit: Option<Bit>, out: &mut Out<'_, Self>) {
        let stage = Stage::at(self.durable.votes.len());
        if stage.round > config.rounds_max {
            return;
        }
        self.durable.votes.push(bit);
        out.persist(Record::Vote(bit));
        self.heard.retain(|heard, _| *heard >= stage);
        self.heard.entry(stage).or_default().insert(config.me, bit);
        broadcast(config, Message::Vote(stage, bit), out);
    }

    fn on_vote(
        &mut self,
        config: &Config,
        from: NodeId,
        stage: Stage,
        bit: Option<Bit>,
        out: &mut Out<'_, Self>,
    ) {
        let is_over = self.stage().is_some_and(|current| stage < current);
        if is_over || self.durable.decided.is_some() || stage.round > config.rounds_max {
            return;
        }
        self.heard.entry(stage).or_default().insert(from, bit);
        if let (true, Some(bit)) = (config.mutants.has("decides_at_once"), bit) {
            return self.decide(config, bit, out);
        }
        self.advance(config, out);
    }

    /// Closes stages for as long as there are votes enough.
    fn advance(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        while let Some(stage) = self.stage() {
            let votes = self.heard.get(&stage).filter(|votes| votes.len() >= config.awaited());
            let Some(votes) = votes.map(|votes| votes.values().copied().collect::<Vec<_>>()) else {
                return;
            };
            self.close(config, stage, &votes, out);
            if self.stage() == Some(stage) {
                return;
            }
        }
    }

    /// A phase ends: the first with what was reported, the second with what was proposed.
    fn close(
        &mut self,
        config: &Config,
        stage: Stage,
        votes: &[Option<Bit>],
        out: &mut Out<'_, Self>,
    ) {
        let count = |bit| votes.iter().filter(|vote| **vote == Some(bit)).count();
        let (zeros, ones) = (count(Bit(false)), count(Bit(true)));
        let (most, bit) = if ones > zeros { (ones, Bit(true)) } else { (zeros, Bit(false)) };
        match stage.phase {
            // More than half of all nodes, not of those heard: so no two nodes propose different values.
            Phase::Report if 2 * most > config.nodes.len() => self.cast(config, Some(bit), out),
            Phase::Report => self.cast(config, None, out),
            // Whoever hears n − f proposals hears one of any f + 1: all others adopt the value that is decided here.
            Phase::Propose if most > config.down_max() => self.decide(config, bit, out),
            Phase::Propose if most > 0 && !config.mutants.has("common_values_ignored") => {
                self.cast(config, Some(bit), out)
            }
            Phase::Propose => {
                let estimate = match config.tie {
                    Tie::Toss => Bit(out.choose(2) == 1),
                    Tie::Turn => Bit(!self.estimate().0),
                };
                self.cast(config, Some(estimate), out)
            }
        }
    }

    /// What it reported in this round.
    fn estimate(&self) -> Bit {
        let mut reports = self.durable.votes.iter().step_by(2);
        reports.next_back().copied().flatten().unwrap_or(Bit(false))
    }

    fn decide(&mut self, config: &Config, bit: Bit, out: &mut Out<'_, Self>) {
        if self.durable.decided.is_some() {
            return;
        }
        self.durable.decided = Some(bit);
        self.heard.clear();
        out.persist(Record::Decided(bit));
        out.disarm(Remind);
        broadcast(config, Message::Decided(bit), out);
        for id in std::mem::take(&mut self.waiting) {
            out.reply(id, bit);
        }
    }

    /// Has somebody catch up.
    fn on_missing(&self, from: NodeId, stage: Stage, out: &mut Out<'_, Self>) {
        let vote = stage.place().and_then(|place| self.durable.votes.get(place));
        match (self.durable.decided, vote) {
            (Some(bit), _) => out.send(from, Message::Decided(bit)),
            (None, Some(bit)) => out.send(from, Message::Vote(stage, *bit)),
            (None, None) => {}
        }
    }
}

impl Protocol for BenOr {
    type Config = Config;
    type Message = Message;
    type Timer = Remind;
    type Record = Record;
    type Durable = Durable;
    type Request = Bit;
    type Response = Bit;

    fn fold(durable: &mut Durable, _: u64, record: Record) {
        match record {
            Record::Vote(bit) => durable.votes.push(bit),
            Record::Decided(bit) => durable.decided = Some(bit),
            Record::Forgotten(rounds) => durable.forget(rounds),
        }
    }

    fn recover(config: &Config, durable: Durable, out: &mut Out<'_, Self>) -> Self {
        let mut node = BenOr { durable, heard: BTreeMap::new(), waiting: BTreeSet::new() };
        if let Some(stage) = node.stage() {
            node.heard.insert(stage, BTreeMap::from([(config.me, node.vote())]));
            out.arm(Remind, config.impatience.clone());
        }
        node
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request } => self.on_request(config, id, request, out),
            Input::Fire(Remind) => {
                if let Some(stage) = self.stage() {
                    broadcast(config, Message::Missing(stage), out);
                    out.arm(Remind, config.impatience.clone());
                }
            }
            Input::Deliver { from, message } => match message {
                Message::Vote(stage, bit) => self.on_vote(config, from, stage, bit, out),
                Message::Missing(stage) => self.on_missing(from, stage, out),
                Message::Decided(bit) => self.decide(config, bit, out),
            },
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        match (self.durable.decided, self.stage()) {
            (Some(bit), _) => format!("decided {bit:?}"),
            (None, Some(stage)) => match self.vote() {
                Some(bit) => format!("at {stage:?} with {bit:?}"),
                None => format!("at {stage:?} with ?"),
            },
            (None, None) => "idle".to_owned(),
        }
    }
}

fn broadcast(config: &Config, message: Message, out: &mut Out<'_, BenOr>) {
    for to in config.nodes.iter().filter(|node| **node != config.me) {
        out.send(*to, message);
    }
}
