//! The FLP adversary: a scheduler that keeps a deterministic protocol undecided for as long as it likes, and is fair.
//!
//! Source: Fischer, Lynch and Paterson, "Impossibility of distributed consensus with one faulty process", 1985, sections 2
//! and 3.
//! Model: asynchronous; every message is delivered in the end, once; nobody crashes, but any one might.
//! Safety: agreement, which the victim keeps to under any scheduler.
//! Liveness: termination, where the scheduler is not hostile. Against a hostile one no deterministic protocol has it.
//! Departures: the paper proves that each protocol has such a scheduler; this is the one of a particular victim, Ben-Or's
//! protocol with its coin replaced by a rule: whoever is proposed no value turns its estimate round. Where an exploration asks
//! for it rounds are counted modulo two, so that an endless run is a circle.
//! Omitted: the search for a bivalent successor in general, which looks into the future of every configuration.
//! Cost: 2n(n − 1) messages a round, for as many rounds as the scheduler likes.
//! Boundary: the whole row. Call a configuration bivalent if either value may still be decided. Some initial one is (lemma 2):
//! walk from all zeros to all ones changing one input at a time, and somewhere two neighbours differ in what may come of
//! them; if the node between them is slow, nobody can tell which of the two it was. And from a bivalent one, whatever message
//! is due, a bivalent one can be reached in which it has been delivered (lemma 3): else there would be one in which the order
//! of two messages decides, and if they go to different nodes their order leaves no trace, and if they go to one node that
//! node may be slow and the others have to decide without knowing. So deliver what is due, oldest first, each by such a
//! detour, and nobody ever decides. Here the detours are short: a node waits for n − f votes, and the scheduler sees to it
//! that they differ; then it delivers the rest, too late to matter. The exploration finds that run: a fair circle of two rounds
//! in which every message is delivered. Both values are possible from the same inputs:
//! `a_scheduler_that_means_no_harm` decides 0, and `the_other_value_from_the_same_inputs` 1.
//! Where one node is down from the start there is nothing to choose, and two that differ never decide (`one_is_down`).
//! Read next: `Scheduled::worst`, then the trace `the_scheduler_as_adversary`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_core::{Effect, Gate, Input, NodeId, Out, Protocol};

use super::ben_or::{self, BenOr, Bit, Message, Phase, Record, Stage};

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The process.
    pub process: ben_or::Config,
    /// Whether the scheduler picks whose votes come in time; else they are taken as they come.
    pub is_hostile: bool,
    /// How long a vote is held back at most. It is fair: everything is delivered.
    pub relents_after: Duration,
    /// Whether rounds are counted modulo [`ROUNDS`], and those before forgotten, so that an endless run comes back to where it
    /// was. Under a hostile scheduler, and with nothing lost, nobody is more than a phase ahead of anybody, so no two rounds
    /// are confused.
    pub forgets_rounds: bool,
    /// Whether it is noted which votes were delivered, for the judges.
    pub is_noted: bool,
}

/// The rounds that there are if they are counted modulo something.
pub const ROUNDS: u32 = 2;

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// One of the process.
    Process(ben_or::Remind),
    /// What is held is let go.
    Relent,
}

/// A process, and the part of the message buffer (section 2) that holds what was sent to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scheduled {
    process: BenOr,
    /// The votes that are held back.
    held: BTreeMap<Stage, BTreeMap<NodeId, Option<Bit>>>,
    /// Whose votes were last let go, in that order.
    let_go: Vec<NodeId>,
    /// For the judges: the votes that were delivered.
    delivered: BTreeSet<(Stage, NodeId)>,
}

impl Scheduled {
    /// The process.
    pub fn process(&self) -> &BenOr {
        &self.process
    }

    /// How many votes of the first so many rounds were delivered to it.
    pub fn delivered(&self, rounds: u32) -> usize {
        self.delivered.iter().filter(|(stage, _)| stage.round <= rounds).count()
    }

    fn on_vote(
        &mut self,
        config: &Config,
        from: NodeId,
        stage: Stage,
        bit: Option<Bit>,
        out: &mut Out<'_, Self>,
    ) {
        let stage = self.counted_as_here(config, stage);
        let is_open = self.process.decided().is_none() && self.process.stage() <= Some(stage);
        if !config.is_hostile || !is_open {
            return self.deliver(config, from, stage, bit, out);
        }
        if self.held.is_empty() {
            out.arm(Timer::Relent, config.relents_after..config.relents_after);
        }
        self.held.entry(stage).or_default().insert(from, bit);
        self.open(config, out);
    }

    /// What a stage is called here that another calls so: none is earlier than that of this node, which has all votes of
    /// earlier ones.
    fn counted_as_here(&self, config: &Config, stage: Stage) -> Stage {
        match self.process.stage() {
            Some(own) if config.forgets_rounds && stage < own => {
                Stage { round: stage.round + ROUNDS, ..stage }
            }
            _ => stage,
        }
    }

    /// Forgets the rounds behind it, if there are enough.
    fn forget(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let is_later = self.process.stage().is_some_and(|stage| stage.round > ROUNDS);
        if !config.forgets_rounds || !is_later {
            return;
        }
        self.process.forget(ROUNDS);
        let held = std::mem::take(&mut self.held).into_iter();
        let held = held.filter_map(|(stage, votes)| Some((stage.earlier(ROUNDS)?, votes)));
        self.held = held.collect();
        out.persist(Record::Forgotten(ROUNDS));
    }

    /// Delivers all votes of a stage once it has them all, those first that keep the process undecided.
    fn open(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        while let Some(stage) = self.process.stage()
            && let Some(votes) = self.held.get(&stage)
            && votes.len() + 1 >= config.process.nodes.len()
        {
            self.deliver_stage(config, stage, out);
            if self.process.stage() == Some(stage) {
                return;
            }
        }
    }

    fn deliver_stage(&mut self, config: &Config, stage: Stage, out: &mut Out<'_, Self>) {
        let votes = self.held.remove(&stage).unwrap_or_default();
        let order = self.worst(stage, votes);
        self.let_go = order.iter().map(|(from, _)| *from).collect();
        for (from, bit) in order {
            self.deliver(config, from, stage, bit, out);
        }
    }

    /// The votes of a stage in the order that tells the process least: proposals of nothing first, and of reports always
    /// one that it has heard of least.
    fn worst(
        &self,
        stage: Stage,
        mut votes: BTreeMap<NodeId, Option<Bit>>,
    ) -> Vec<(NodeId, Option<Bit>)> {
        let mut heard = vec![self.process.vote()];
        let mut order = Vec::new();
        loop {
            let dullness = |(node, bit): (&NodeId, &Option<Bit>)| {
                let is_telling = stage.phase == Phase::Propose && bit.is_some();
                (is_telling, heard.iter().filter(|other| *other == bit).count(), *node)
            };
            let next = votes.iter().min_by_key(|(node, bit)| dullness((node, bit)));
            let Some((node, bit)) = next.map(|(node, bit)| (*node, *bit)) else { return order };
            votes.remove(&node);
            heard.push(bit);
            order.push((node, bit));
        }
    }

    fn deliver(
        &mut self,
        config: &Config,
        from: NodeId,
        stage: Stage,
        bit: Option<Bit>,
        out: &mut Out<'_, Self>,
    ) {
        if config.is_noted {
            self.delivered.insert((stage, from));
        }
        let message = Message::Vote(stage, bit);
        self.step_process(config, Input::Deliver { from, message }, out);
    }

    fn step_process(&mut self, config: &Config, input: Input<BenOr>, out: &mut Out<'_, Self>) {
        let process = &mut self.process;
        out.nest(
            |effect, out| lift(config, effect, out),
            |out| process.step(&config.process, input, out),
        );
    }
}

/// What the process does, the node does.
fn lift(config: &Config, effect: Effect<BenOr>, out: &mut Out<'_, Scheduled>) {
    match effect {
        Effect::Send { to, message: Message::Vote(stage, bit), gate: Gate::Durable }
            if config.forgets_rounds =>
        {
            let round = (stage.round - 1) % ROUNDS + 1;
            out.send(to, Message::Vote(Stage { round, ..stage }, bit));
        }
        Effect::Persist(record) => {
            out.persist(record);
        }
        Effect::Send { to, message, gate: Gate::Durable } => out.send(to, message),
        // The process knows why it may.
        Effect::Send { to, message, gate: Gate::Early } => out.send_early(to, message),
        Effect::Reply { id, response } => out.reply(id, response),
        Effect::Arm { timer, after } => out.arm(Timer::Process(timer), after),
        Effect::Disarm(timer) => out.disarm(Timer::Process(timer)),
        Effect::Release { before } => out.release(before),
    }
}

impl Protocol for Scheduled {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;
    type Durable = ben_or::Durable;
    type Request = Bit;
    type Response = Bit;

    fn fold(durable: &mut ben_or::Durable, number: u64, record: Record) {
        BenOr::fold(durable, number, record);
    }

    fn recover(config: &Config, durable: ben_or::Durable, out: &mut Out<'_, Self>) -> Self {
        let process = out.nest(
            |effect, out| lift(config, effect, out),
            |out| BenOr::recover(&config.process, durable, out),
        );
        Scheduled { process, held: BTreeMap::new(), let_go: Vec::new(), delivered: BTreeSet::new() }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Deliver { from, message: Message::Vote(stage, bit) } => {
                self.on_vote(config, from, stage, bit, out)
            }
            Input::Deliver { from, message } => {
                self.step_process(config, Input::Deliver { from, message }, out)
            }
            Input::Ask { id, request } => {
                self.step_process(config, Input::Ask { id, request }, out);
                self.open(config, out);
            }
            Input::Fire(Timer::Process(timer)) => {
                self.step_process(config, Input::Fire(timer), out)
            }
            Input::Fire(Timer::Relent) => {
                let stages: Vec<Stage> = self.held.keys().copied().collect();
                for stage in stages {
                    self.deliver_stage(config, stage, out);
                }
            }
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
        self.forget(config, out);
    }

    fn view(&self) -> String {
        let view = self.process.view();
        let order: Vec<String> = self.let_go.iter().map(|node| node.to_string()).collect();
        if order.is_empty() { view } else { format!("{view}, after {}", order.join(", then ")) }
    }
}
