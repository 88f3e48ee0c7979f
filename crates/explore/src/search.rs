//! The search: level by level, so that the first counterexample is a shortest one.
//!
//! A level is the states that are as many steps away from the start. It is worked through in rounds of a few thousand
//! states. In a round, threads look for changes that lead to states not seen before; then one of them takes what was
//! found, in the order of the level, and strikes out what was found twice. So neither states nor their order depend on
//! the number of threads.
//!
//! Of a state that was explored only its print is kept, and by which change of which other state it came about: enough
//! to play a run again ([`crate::trace`]).

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasherDefault;

use crate::cluster::{Change, Explorer, State};
use crate::fingerprint::{OfPrints, Renaming};
use crate::live::{AWAITED_MAX, Graph, Noted, Run, Signs};
use crate::model::{Eventually, Goal, Model};
use crate::report::{Awaited, Progress, Reached, Report, Stop, Verdict};
use crate::trace::{Counterexample, Ending, Step};

/// How many states a thread works through in a round: a few hundredths of a second's work.
const ROUND_A_THREAD: usize = 4_096;

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// On so many threads. Nothing but the time it takes depends on it.
    pub threads: usize,
    /// Whether states that differ only in the names of nodes are taken for one. The model must treat all nodes alike: so
    /// must its protocol, its configurations, its requests and what it judges. Of no effect where a model awaits something
    /// ([`Model::eventually`]): there they count as two.
    pub is_symmetric: bool,
    /// No state further from the start than so many steps.
    pub depth_max: Option<u32>,
    /// No more states than about so many.
    pub states_max: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options { threads: 1, is_symmetric: true, depth_max: None, states_max: None }
    }
}

/// Explores everything that a model may do. `go_on` is told of the progress between rounds, and may end it.
pub fn explore<M: Model>(
    model: &M,
    options: &Options,
    go_on: impl FnMut(&Progress) -> bool,
) -> Report<M::Protocol> {
    let is_symmetric = options.is_symmetric && model.eventually().is_empty();
    let renamings = Renaming::all(model.nodes().len(), is_symmetric);
    Search::new(model, &renamings, options.threads.max(1)).run(options, go_on)
}

/// A state that waits to be explored.
struct Waiting<M: Model> {
    state: State<M>,
    number: u32,
}

/// What a thread found: a change that nobody else had found when it looked.
struct Found<M: Model> {
    print: u64,
    link: Link,
    outcome: Result<Option<State<M>>, String>,
}

/// A thread's explorer, and what it found in its share of a round.
struct Worker<'a, M: Model> {
    explorer: Explorer<'a, M>,
    changes: u64,
    found: Vec<Found<M>>,
    /// The prints of what it found, most of it several times.
    fresh: Seen,
    /// Of each state, if something is awaited.
    noted: Vec<Noted>,
}

/// A set of prints. Nobody walks through it, so it doesn't matter in which order they lie.
type Seen = HashSet<u64, BuildHasherDefault<OfPrints>>;

/// By which change of which state a state came about.
#[derive(Clone, Copy)]
struct Link {
    parent: u32,
    change: u32,
}

struct Search<'a, M: Model> {
    model: &'a M,
    /// One for each thread.
    workers: Vec<Worker<'a, M>>,
    /// The prints of the states found.
    seen: Seen,
    /// Of each state but the first, by its number.
    links: Vec<Link>,
    /// All states and changes, if something is awaited.
    graph: Option<Graph>,
    goals: Vec<Reached>,
    frontier: VecDeque<Waiting<M>>,
    next: VecDeque<Waiting<M>>,
    progress: Progress,
    frontier_max: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, renamings: &'a [Renaming], threads: usize) -> Self {
        let mut workers: Vec<_> = (0..threads).map(|_| Worker::new(model, renamings)).collect();
        let (state, print, _) = workers[0].explorer.begin();
        let awaited = model.eventually().len();
        assert!(awaited <= AWAITED_MAX, "a model awaits at most {AWAITED_MAX} things");
        let reached = |(name, _): &Goal<M>| Reached { goal: name, depth: None };
        let mut search = Search {
            model,
            workers,
            seen: HashSet::from_iter([print]),
            links: Vec::new(),
            graph: (awaited > 0).then(|| Graph::new(model.nodes().len())),
            goals: model.goals().iter().map(reached).collect(),
            frontier: VecDeque::new(),
            next: VecDeque::new(),
            progress: Progress { states: 1, ..Progress::default() },
            frontier_max: 1,
        };
        search.note(&state, print);
        search.frontier.push_back(Waiting { state, number: 0 });
        search
    }

    fn run(
        mut self,
        options: &Options,
        mut go_on: impl FnMut(&Progress) -> bool,
    ) -> Report<M::Protocol> {
        let stop = loop {
            if self.frontier.is_empty() {
                if self.next.is_empty() {
                    break None;
                }
                self.progress.depth += 1;
                self.frontier = std::mem::take(&mut self.next);
            }
            if options.depth_max.is_some_and(|depth_max| self.progress.depth >= depth_max) {
                break Some(Stop::Depth);
            }
            if options.states_max.is_some_and(|states_max| self.progress.states >= states_max) {
                break Some(Stop::States);
            }
            self.progress.waiting = (self.frontier.len() + self.next.len()) as u64;
            if !go_on(&self.progress) {
                break Some(Stop::Caller);
            }
            if let Some((link, broken)) = self.round() {
                let changes = self.changes_to(link);
                let counterexample = self.play(&changes, broken, Ending::Breaks);
                return self.report(Verdict::Broken(counterexample), Vec::new());
            }
        };
        let (awaited, never) = self.judge();
        let held = stop.map_or(Verdict::Exhausted, Verdict::Bounded);
        self.report(never.map_or(held, Verdict::Broken), awaited)
    }

    /// Whether all that is awaited comes, if no run breaks a promise; and a run in which something doesn't.
    fn judge(&mut self) -> (Vec<Awaited>, Option<Counterexample<M::Protocol>>) {
        let mut awaited = Vec::new();
        let Some(graph) = self.graph.take() else { return (awaited, None) };
        let mut never = None;
        for (at, Eventually { name, .. }) in self.model.eventually().iter().enumerate() {
            let outcome = graph.judge(at);
            awaited.push(Awaited { name, pending: outcome.pending, cut: outcome.cut });
            if let Some(Run { from, changes, cycle }) = outcome.run.filter(|_| never.is_none()) {
                let begin = from.checked_sub(1).map(|at| self.changes_to(self.links[at as usize]));
                let mut all = begin.unwrap_or_default();
                let ending =
                    cycle.map_or(Ending::Stuck, |at| Ending::Repeats { from: all.len() + at });
                all.extend(changes);
                never = Some(self.play(
                    &all,
                    format!("a fair run never comes to this: {name}"),
                    ending,
                ));
            }
        }
        self.graph = Some(graph);
        (awaited, never)
    }

    /// Works through some states of the level. Returns the first change that breaks a promise.
    fn round(&mut self) -> Option<(Link, String)> {
        let threads = self.workers.len();
        let count = self.frontier.len().min(ROUND_A_THREAD * threads);
        let states = &self.frontier.make_contiguous()[..count];
        let share = count.div_ceil(threads);
        let (model, seen) = (self.model, &self.seen);
        let shares = states.chunks(share).zip(&mut self.workers);
        if threads == 1 {
            shares.for_each(|(share, worker)| worker.look(model, seen, share));
        } else {
            std::thread::scope(|scope| {
                shares.for_each(|(share, worker)| {
                    scope.spawn(|| worker.look(model, seen, share));
                });
            });
        }
        self.frontier_max = self.frontier_max.max(self.frontier.len() + self.next.len());
        for (waiting, at) in self.frontier.drain(..count).zip((0..threads).cycle()) {
            self.workers[at].explorer.recycle(waiting.state);
        }
        for at in 0..threads {
            self.progress.changes += std::mem::take(&mut self.workers[at].changes);
            let mut found = std::mem::take(&mut self.workers[at].found);
            let broken = found.drain(..).find_map(|found| self.take(found));
            if broken.is_some() {
                return broken;
            }
            self.workers[at].found = found;
        }
        if let Some(graph) = &mut self.graph {
            let noted = self.workers.iter_mut().flat_map(|worker| worker.noted.drain(..));
            noted.for_each(|noted| graph.explored(noted));
        }
        None
    }

    /// Takes what a thread found. Returns it if it breaks a promise.
    fn take(&mut self, found: Found<M>) -> Option<(Link, String)> {
        let Found { print, link, outcome } = found;
        match outcome {
            Err(broken) => return Some((link, broken)),
            Ok(_) if !self.seen.insert(print) => {}
            // Outside, but not twice.
            Ok(None) => self.progress.outside += 1,
            Ok(Some(state)) => {
                self.links.push(link);
                self.progress.states += 1;
                self.note(&state, print);
                let number = u32::try_from(self.links.len()).expect("at most 2³² states");
                self.next.push_back(Waiting { state, number });
            }
        }
        None
    }

    fn note(&mut self, state: &State<M>, print: u64) {
        if let Some(graph) = &mut self.graph {
            let snapshot = state.snapshot();
            let is_start = self.links.is_empty();
            let sign = |eventually: &Eventually<M>| {
                let begins = eventually.after.map_or(is_start, |begins| begins(&snapshot));
                (begins, (eventually.comes)(&snapshot))
            };
            graph.found(print, Signs::new(self.model.eventually().iter().map(sign)));
        }
        let depth = if self.links.is_empty() { 0 } else { self.progress.depth + 1 };
        for ((_, is_reached), reached) in self.model.goals().iter().zip(&mut self.goals) {
            if reached.depth.is_none() && is_reached(&state.snapshot()) {
                reached.depth = Some(depth);
            }
        }
    }

    /// The changes of the run that ends with one.
    fn changes_to(&self, last: Link) -> Vec<u32> {
        let mut changes = vec![last.change];
        let mut state = last.parent;
        while let Some(at) = state.checked_sub(1) {
            let Link { parent, change } = self.links[at as usize];
            changes.push(change);
            state = parent;
        }
        changes.reverse();
        changes
    }

    /// Plays a run again.
    fn play(
        &mut self,
        changes: &[u32],
        broken: String,
        ending: Ending,
    ) -> Counterexample<M::Protocol> {
        let explorer = &mut self.workers[0].explorer;
        let (mut state, _, prelude) = explorer.begin();
        let mut steps: Vec<Step<M::Protocol>> = Vec::new();
        for wanted in changes.iter().copied() {
            let mut number = 0;
            let mut taken = None;
            explorer.each_change(&state, |_, change| {
                let is_wanted = number == wanted;
                number += 1;
                taken = is_wanted.then_some(change);
                !is_wanted
            });
            let change = taken.expect("a state has the same changes whenever it is looked at");
            steps.push(explorer.step(&state, &change));
            state = explorer.after(&state, change);
        }
        Counterexample { broken, prelude, steps, ending }
    }

    fn report(self, verdict: Verdict<M::Protocol>, awaited: Vec<Awaited>) -> Report<M::Protocol> {
        let Progress { states, changes, outside, depth, .. } = self.progress;
        let seen = self.seen.capacity() * (size_of::<u64>() + 1);
        let links = self.links.capacity() * size_of::<Link>();
        Report {
            verdict,
            states,
            changes,
            outside,
            depth,
            goals: self.goals,
            awaited,
            frontier_max: self.frontier_max as u64,
            table_bytes: (seen + links + self.graph.map_or(0, |graph| graph.bytes())) as u64,
        }
    }
}

impl<'a, M: Model> Worker<'a, M> {
    fn new(model: &'a M, renamings: &'a [Renaming]) -> Self {
        Worker {
            explorer: Explorer::new(model, renamings),
            changes: 0,
            found: Vec::new(),
            fresh: Seen::default(),
            noted: Vec::new(),
        }
    }

    /// Looks for every change of these states that leads to one not seen before, up to the first that breaks a promise.
    fn look(&mut self, model: &M, seen: &Seen, states: &[Waiting<M>]) {
        let Worker { explorer, changes, found, fresh, noted } = self;
        let is_awaited = !model.eventually().is_empty();
        fresh.clear();
        for Waiting { state, number } in states {
            let mut link = Link { parent: *number, change: 0 };
            let mut is_broken = false;
            let mut note = is_awaited.then(|| explorer.note(state));
            explorer.each_change(state, |explorer, mut change: Change<M>| {
                *changes += 1;
                if let Some(note) = &mut note {
                    note.changes.push((change.print, change.doer(state)));
                }
                let print = change.print;
                if let Some(broken) = change.broken.take() {
                    is_broken = true;
                    found.push(Found { print, link, outcome: Err(broken) });
                } else if !seen.contains(&print) && fresh.insert(print) {
                    let next = explorer.after(state, change);
                    let is_within = model.is_within(&next.snapshot());
                    found.push(Found { print, link, outcome: Ok(is_within.then_some(next)) });
                }
                link.change += 1;
                !is_broken
            });
            noted.extend(note);
            if is_broken {
                break;
            }
        }
    }
}
