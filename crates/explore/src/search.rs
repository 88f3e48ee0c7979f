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
use std::thread::ScopedJoinHandle;

use crate::cluster::{Change, Explorer, State};
use crate::fingerprint::{OfPrints, Renaming};
use crate::model::{Goal, Model};
use crate::report::{Progress, Reached, Report, Stop, Verdict};
use crate::trace::{Counterexample, Step};

/// How many states a thread works through in a round: a few hundredths of a second's work.
const ROUND_A_THREAD: usize = 4_096;

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// On so many threads. Nothing but the time it takes depends on it.
    pub threads: usize,
    /// Whether states that differ only in the names of nodes are taken for one. The model must treat all nodes alike: so
    /// must its protocol, its configurations, its requests and what it judges.
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
    let renamings = Renaming::all(model.nodes().len(), options.is_symmetric);
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
    explorers: Vec<Explorer<'a, M>>,
    /// The prints of the states found.
    seen: Seen,
    /// Of each state but the first, by its number.
    links: Vec<Link>,
    goals: Vec<Reached>,
    frontier: VecDeque<Waiting<M>>,
    next: VecDeque<Waiting<M>>,
    progress: Progress,
    frontier_max: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, renamings: &'a [Renaming], threads: usize) -> Self {
        let mut explorers: Vec<_> = (0..threads).map(|_| Explorer::new(model, renamings)).collect();
        let (state, print, _) = explorers[0].begin();
        let reached = |(name, _): &Goal<M>| Reached { goal: name, depth: None };
        let mut search = Search {
            model,
            explorers,
            seen: HashSet::from_iter([print]),
            links: Vec::new(),
            goals: model.goals().iter().map(reached).collect(),
            frontier: VecDeque::new(),
            next: VecDeque::new(),
            progress: Progress { states: 1, ..Progress::default() },
            frontier_max: 1,
        };
        search.note_goals(&state);
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
                let counterexample = self.play(link, broken);
                return self.report(Verdict::Broken(counterexample));
            }
        };
        self.report(stop.map_or(Verdict::Exhausted, Verdict::Bounded))
    }

    /// Works through some states of the level. Returns the first change that breaks a promise.
    fn round(&mut self) -> Option<(Link, String)> {
        let threads = self.explorers.len();
        let count = self.frontier.len().min(ROUND_A_THREAD * threads);
        let states: Vec<Waiting<M>> = self.frontier.drain(..count).collect();
        let share = count.div_ceil(threads);
        let (model, seen) = (self.model, &self.seen);
        let found: Vec<(u64, Vec<Found<M>>)> = std::thread::scope(|scope| {
            let shares = states.chunks(share).zip(&mut self.explorers);
            let threads: Vec<_> = shares
                .map(|(share, explorer)| scope.spawn(|| look(model, explorer, seen, share)))
                .collect();
            let join = |thread: ScopedJoinHandle<'_, _>| match thread.join() {
                Ok(found) => found,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            threads.into_iter().map(join).collect()
        });
        for (changes, found) in found {
            self.progress.changes += changes;
            for Found { print, link, outcome } in found {
                match outcome {
                    Err(broken) => return Some((link, broken)),
                    Ok(_) if !self.seen.insert(print) => {}
                    // Outside, but not twice.
                    Ok(None) => self.progress.outside += 1,
                    Ok(Some(state)) => {
                        self.links.push(link);
                        self.progress.states += 1;
                        self.note_goals(&state);
                        let number = u32::try_from(self.links.len()).expect("at most 2³² states");
                        self.next.push_back(Waiting { state, number });
                    }
                }
            }
        }
        self.frontier_max = self.frontier_max.max(self.frontier.len() + self.next.len() + count);
        None
    }

    fn note_goals(&mut self, state: &State<M>) {
        let depth = if self.links.is_empty() { 0 } else { self.progress.depth + 1 };
        for ((_, is_reached), reached) in self.model.goals().iter().zip(&mut self.goals) {
            if reached.depth.is_none() && is_reached(&state.snapshot()) {
                reached.depth = Some(depth);
            }
        }
    }

    /// Plays the run again that ends with a change.
    fn play(&mut self, last: Link, broken: String) -> Counterexample<M::Protocol> {
        let mut changes = vec![last.change];
        let mut state = last.parent;
        while let Some(at) = state.checked_sub(1) {
            let Link { parent, change } = self.links[at as usize];
            changes.push(change);
            state = parent;
        }
        let explorer = &mut self.explorers[0];
        let (mut state, _, prelude) = explorer.begin();
        let mut steps: Vec<Step<M::Protocol>> = Vec::new();
        for wanted in changes.into_iter().rev() {
            let mut number = 0;
            let mut taken = None;
            explorer.each_change(&state, |change| {
                let is_wanted = number == wanted;
                number += 1;
                taken = is_wanted.then_some(change);
                !is_wanted
            });
            let change = taken.expect("a state has the same changes whenever it is looked at");
            steps.push(explorer.step(&state, &change));
            state = state.after(change);
        }
        Counterexample { broken, prelude, steps }
    }

    fn report(self, verdict: Verdict<M::Protocol>) -> Report<M::Protocol> {
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
            frontier_max: self.frontier_max as u64,
            table_bytes: (seen + links) as u64,
        }
    }
}

/// Every change of these states that leads to one not seen before, up to the first that breaks a promise; and how many
/// changes there were.
fn look<M: Model>(
    model: &M,
    explorer: &mut Explorer<'_, M>,
    seen: &Seen,
    states: &[Waiting<M>],
) -> (u64, Vec<Found<M>>) {
    let mut found = Vec::new();
    let mut changes = 0;
    for Waiting { state, number } in states {
        let mut link = Link { parent: *number, change: 0 };
        let mut is_broken = false;
        explorer.each_change(state, |mut change: Change<M>| {
            changes += 1;
            let print = change.print;
            if let Some(broken) = change.broken.take() {
                is_broken = true;
                found.push(Found { print, link, outcome: Err(broken) });
            } else if !seen.contains(&print) {
                let next = state.after(change);
                let is_within = model.is_within(&next.snapshot());
                found.push(Found { print, link, outcome: Ok(is_within.then_some(next)) });
            }
            link.change += 1;
            !is_broken
        });
        if is_broken {
            break;
        }
    }
    (changes, found)
}
