//! An exhibit in the explorer: its model, and the run that a counterexample is.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::{NodeId, Protocol};
use quorate_explore::{
    Action, Bounds, Counterexample, Ending, Eventually, Explored, Goal, Interruption, Letter,
    Model, Options, Progress, Report, Snapshot, Step, Syncs, UNBOUNDED, Verdict, explore,
};
use quorate_sim::{Describe, Fault};
use quorate_trace::{MessageId, StepLog};

use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::setup::Setup;

/// An exhibit within a scope.
pub struct Explorable<E: Exhibit> {
    exhibit: E,
    nodes: Vec<(NodeId, <E::Protocol as Protocol>::Config)>,
    /// Of the setup, with times that say nothing.
    faults: Vec<(Duration, Fault)>,
    bounds: Bounds,
    syncs: Syncs,
    timers: Vec<(<E::Protocol as Protocol>::Timer, u8)>,
    prelude: Vec<(usize, <E::Protocol as Protocol>::Timer)>,
    goals: &'static [Goal<Explorable<E>>],
    awaited: &'static [Eventually<Explorable<E>>],
}

impl<E: Exhibit> Explorable<E> {
    fn new(exhibit: E, setup: &Setup, scope: Scope<E>) -> Self {
        let Scope { bounds, timers, syncs, goals, awaited, .. } = scope;
        let nodes = setup.ids().map(|node| (node, exhibit.config(node))).collect();
        let (prelude, faults) = (exhibit.prelude(), setup.faults.clone());
        Explorable { exhibit, nodes, faults, bounds, syncs, timers, prelude, goals, awaited }
    }

    /// Tells the exhibit what clients asked and were answered.
    fn tell(
        &self,
        cluster: &Snapshot<'_, Self>,
        node: NodeId,
        history: &mut E::History,
    ) -> Result<(), Broken> {
        let happened = cluster.happened();
        if let Some((id, request)) = happened.asked {
            self.exhibit.asked(node, id, request, history);
        }
        let mut answered = happened.answered.iter();
        answered.try_for_each(|(id, response)| self.exhibit.answered(node, *id, response, history))
    }
}

/// The nodes of an explored cluster, to look at.
fn look<T, E: Exhibit>(
    cluster: &Snapshot<'_, Explorable<E>>,
    count: u64,
    look: impl FnOnce(&Members<'_, E::Protocol>) -> T,
) -> T {
    let of = |node: NodeId| {
        let position = node.0.checked_sub(1).filter(|at| *at < count)?;
        Some(cluster.state(position as usize))
    };
    look(&Members { count, of: &of })
}

impl<E: Exhibit> Model for Explorable<E> {
    type Protocol = E::Protocol;
    type History = E::History;

    fn nodes(&self) -> &[(NodeId, <E::Protocol as Protocol>::Config)] {
        &self.nodes
    }

    fn blank(&self) -> <E::Protocol as Protocol>::Durable {
        Default::default()
    }

    fn bounds(&self) -> Bounds {
        self.bounds
    }

    fn syncs(&self) -> Syncs {
        self.syncs
    }

    fn are_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.faults.iter().any(|(_, fault)| match fault {
            Fault::Partition { side, .. } => side.contains(&from) != side.contains(&to),
            Fault::Flap { ends: (a, b), .. } => [(*a, *b), (*b, *a)].contains(&(from, to)),
            _ => false,
        })
    }

    fn may_crash(&self, node: NodeId) -> bool {
        let crash = |(_, fault): &(Duration, Fault)| match fault {
            Fault::Crash { node, .. } => Some(*node),
            _ => None,
        };
        let mut named = self.faults.iter().filter_map(crash).peekable();
        named.peek().is_none() || named.any(|it| it == node)
    }

    fn copies_max(&self) -> usize {
        let is_endless = self.timers.iter().any(|(_, fires_max)| *fires_max == UNBOUNDED);
        if is_endless { 1 } else { usize::MAX }
    }

    fn counts_records(&self) -> bool {
        E::counts_records()
    }

    fn timers(&self) -> &[(<E::Protocol as Protocol>::Timer, u8)] {
        &self.timers
    }

    fn prelude(&self) -> &[(usize, <E::Protocol as Protocol>::Timer)] {
        &self.prelude
    }

    fn may_arrive(&self, message: &<E::Protocol as Protocol>::Message) -> bool {
        self.exhibit.may_arrive(message)
    }

    fn is_within(&self, cluster: &Snapshot<'_, Self>) -> bool {
        look(cluster, self.nodes.len() as u64, |members| self.exhibit.is_within(members))
    }

    fn requests(&self, asked: u8, node: NodeId) -> Vec<<E::Protocol as Protocol>::Request> {
        self.exhibit.requests(asked.into(), node)
    }

    fn observe(
        &self,
        cluster: &Snapshot<'_, Self>,
        moved: usize,
    ) -> Result<Option<E::History>, String> {
        let node = self.nodes[moved].0;
        let mut history = cluster.history().clone();
        let told = if self.exhibit.hears_clients() {
            self.tell(cluster, node, &mut history)
        } else {
            Ok(())
        };
        let observed = told.and_then(|()| {
            look(cluster, self.nodes.len() as u64, |members| {
                self.exhibit.observe(members, node, &mut history)
            })
        });
        observed.map_err(|broken| broken.to_string())?;
        Ok((history != *cluster.history()).then_some(history))
    }

    fn goals(&self) -> &[Goal<Self>] {
        self.goals
    }

    fn eventually(&self) -> &[Eventually<Self>] {
        self.awaited
    }
}

/// What came of an exploration.
pub struct Found {
    /// What was explored, in a few words.
    pub what: &'static str,
    /// The number of nodes.
    pub nodes: u64,
    /// States found.
    pub states: u64,
    /// Steps from the start to the furthest.
    pub depth: u32,
    /// Whether they are all within the bounds.
    pub is_exhausted: bool,
    /// The goals that no run reached, and all that is awaited, if nothing was ever still to come.
    pub missed: Vec<&'static str>,
    /// Of what every fair run must come to: how much there is, and whether bounds cut runs off before they came to it. None
    /// if nothing is awaited, or a claim broke.
    pub awaited: Option<(usize, bool)>,
    /// The claim that broke, and a shortest run that breaks it: in words, and as a log to be drawn.
    pub broken: Option<Shortest>,
    /// The claim that must break.
    pub breaks: Option<&'static str>,
    /// How long it took.
    pub took: Duration,
}

/// A shortest run that breaks a claim.
pub struct Shortest {
    /// What it breaks.
    pub broken: Broken,
    /// Its steps.
    pub steps: usize,
    /// Step by step, in words.
    pub text: String,
    /// The same as a log.
    pub log: StepLog,
}

/// The states among which a run is looked for that breaks what must break. It is to be found, not all of what else there is.
const BOUNDARY_STATES: u64 = 500_000;

/// Explores an exhibit within a scope.
pub(crate) fn run<E: Exhibit>(
    exhibit: E,
    setup: &Setup,
    scope: Scope<E>,
    threads: usize,
    states_max: Option<u64>,
    go_on: &mut dyn FnMut(&Progress) -> bool,
) -> Found {
    let (what, is_symmetric, breaks) = (scope.what, scope.is_symmetric, scope.breaks);
    let model = Explorable::new(exhibit, setup, scope);
    let states_max = match breaks {
        None => states_max,
        Some(_) => Some(states_max.map_or(BOUNDARY_STATES, |most| most.min(BOUNDARY_STATES))),
    };
    let options = Options { threads, is_symmetric, depth_max: None, states_max };
    let began = std::time::Instant::now();
    let report = explore(&model, &options, go_on);
    let broken = report.counterexample().map(|counterexample| {
        let broken = broken(counterexample);
        let mut log = log(setup, counterexample, E::describe());
        broken.tell(&mut log, &E::ABOUT);
        let (steps, text) = (counterexample.steps.len(), counterexample.to_string());
        Shortest { broken, steps, text, log }
    });
    Found {
        what,
        nodes: setup.nodes,
        states: report.states,
        depth: report.depth,
        is_exhausted: matches!(report.verdict, Verdict::Exhausted),
        awaited: (!report.awaited.is_empty() && broken.is_none())
            .then(|| (report.awaited.len(), report.awaited.iter().any(|it| it.cut > 0))),
        missed: if broken.is_none() { missed(&report) } else { Vec::new() },
        broken,
        breaks,
        took: began.elapsed(),
    }
}

/// The goals that no run reached; and all that is awaited, if none of it was still to come in any state. Some may be: what a
/// sequencer hears is in order at once.
fn missed<P: Explored>(report: &Report<P>) -> Vec<&'static str> {
    let is_asked = report.awaited.iter().any(|it| it.pending > 0);
    let unasked = report.awaited.iter().filter(|_| !is_asked).map(|it| it.name);
    report.missed().into_iter().chain(unasked).collect()
}

/// The claim that a counterexample breaks.
fn broken<P: Explored>(counterexample: &Counterexample<P>) -> Broken {
    let how = match counterexample.ending {
        Ending::Breaks => return Broken::read(&counterexample.broken),
        Ending::Stuck => "nothing is due any more, and this has not come about",
        Ending::Repeats { .. } => "a fair run goes in circles and never comes to this",
    };
    // What is awaited begins with the name of its claim, after the explorer's own words.
    let awaited = counterexample.broken.split_once(": ").map_or("", |(_, awaited)| awaited);
    let Broken { claim, what } = Broken::read(awaited);
    Broken::new(&claim, format!("{how}: {what}"))
}

/// A counterexample as a log.
fn log<P: Explored>(
    setup: &Setup,
    counterexample: &Counterexample<P>,
    describe: Describe<P>,
) -> StepLog {
    let log = StepLog::in_order(setup.ids());
    let mut drawing = Drawing { log, describe, under_way: BTreeMap::new() };
    for node in setup.ids() {
        drawing.log.boot(node, 0);
    }
    for step in counterexample.prelude.iter().chain(&counterexample.steps) {
        drawing.draw(step);
    }
    drawing.log
}

/// A log that is being drawn, with the messages under way, by what they say and whose they are.
struct Drawing<P: Protocol> {
    log: StepLog,
    describe: Describe<P>,
    under_way: BTreeMap<(NodeId, NodeId, String), Vec<MessageId>>,
}

impl<P: Explored> Drawing<P> {
    fn draw(&mut self, step: &Step<P>) {
        let node = step.node;
        match &step.action {
            Action::Deliver { from, message, is_repeated } => {
                let key = (*from, node, (self.describe.message)(message).text);
                let waiting = self.under_way.entry(key.clone()).or_default();
                // What was sent before the exploration began was sent by nobody that the log knows.
                let id = match waiting.pop() {
                    Some(id) => id,
                    None => self.log.send(*from, node, key.2.clone()),
                };
                if *is_repeated {
                    let copy = self.log.duplicate(id);
                    self.under_way.entry(key).or_default().push(copy);
                }
                self.log.deliver(id);
            }
            Action::Fire(timer) => self.log.fire(node, (self.describe.timer)(timer)),
            Action::Ask { id, request } => {
                self.log.ask(node, *id, (self.describe.request)(request))
            }
            Action::Lost { peer } => self.log.peer_lost(node, *peer),
            Action::Sync { records } => self.log.note(&format!("{node} syncs {records} records")),
            Action::Crash { kept, lost } => self.crash(node, *kept, *lost),
        }
        for Letter { from, to, message } in &step.sent {
            let text = (self.describe.message)(message).text;
            let id = self.log.send(*from, *to, text.clone());
            self.under_way.entry((*from, *to, text)).or_default().push(id);
        }
        for (id, response) in &step.answered {
            self.log.reply(node, *id, (self.describe.response)(response));
        }
        if let Some(Interruption { kept, lost }) = step.interruption {
            self.crash(node, kept, lost);
        }
        if let Some((_, view)) = step.views.iter().find(|(id, _)| *id == node) {
            self.log.view(node, view);
        }
    }

    fn crash(&mut self, node: NodeId, kept: usize, lost: usize) {
        self.log.crash(node, None, lost as u64);
        self.log.boot(node, kept as u64);
    }
}
