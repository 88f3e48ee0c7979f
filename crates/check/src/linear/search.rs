//! The search for an order, depth first, with every shortcut argued for.
//!
//! A *position* is three things: the set of completed operations placed so far, the set of unknown
//! ones placed so far, and the model's state. From a position the next operation may be any that
//! is not placed, that no unplaced completed operation precedes, and whose answer the model allows.
//! The search is over when every completed operation is placed. What keeps it short:
//!
//! 1. **A list with lift and unlift** (Lowe): the completed operations not placed yet, in a doubly
//!    linked list by invocation. Which of them may be next is read off its front: walk while the
//!    invocations lie no later than the earliest completion walked past.
//! 2. **Reads go at once.** A read that is allowed here and may be next is placed without
//!    trying anything else first: an order that places it later stays an order with the read moved
//!    here, since it changes no state, and nothing has to come before it.
//! 3. **Earliest completion first**, since that one runs out of time first.
//! 4. **Unknown ones last, fewest first.** They are optional, so an order needs one only to let
//!    some completed operation follow. At each position the runs of unknown operations are tried
//!    by length, the empty run first; a run ends with a completed operation.
//! 5. **A memory of positions, by dominance.** A position is not entered if one with the same
//!    completed operations placed, the same state, and *no unknown operation placed that this one
//!    has not placed* was entered before: whatever can follow here could follow there. So an
//!    unknown operation whose effect nobody could tell (a write that is written over unseen) costs
//!    nothing, and dozens of them do not multiply. Nor does it take the same state, only one that no
//!    answer in the history can tell from it ([`Model::essence`]).
//! 6. **Twins.** Of unknown operations that come to the same the earliest invoked is used first;
//!    they stay available for ever, so which of them it was makes no difference. So of each *kind*
//!    it is enough to know how many are placed.
//! 7. **Plenty.** Where the model knows how many more changes of unknown outcome there can be, a
//!    kind of which at least so many are still at hand can't run out: how many of it are placed
//!    makes no difference either, and the memory forgets it.
//!
//! The memory holds positions themselves, not fingerprints, so no collision can bend a verdict.
//! That is affordable because the set of placed operations is small to write down: the highest
//! placed index in order of invocation, and those still waiting below it. The latter all overlap
//! with the invocation of the former, so there are at most as many as were ever open at once.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::Part;
use crate::history::{OpId, Operation};
use crate::model::{Model, Transition};

/// The rules that make the search right. Tests break them one at a time, to see that a test
/// notices; everything else searches by [`Rules::SOUND`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// An operation is never placed before one that had completed before it was invoked.
    pub(super) respects_real_time: bool,
    /// A completion and an invocation at the same instant are concurrent.
    pub(super) ties_are_concurrent: bool,
    /// The memory tells states apart.
    pub(super) memory_knows_the_state: bool,
    /// The memory tells apart which completed operations are placed.
    pub(super) memory_knows_the_placed: bool,
    /// The memory lets a position dominate another only if it has used up no more.
    pub(super) memory_knows_the_unknown: bool,
    /// The memory counts on no more unknown operations than there are at the time.
    pub(super) memory_counts_what_is_left: bool,
    /// An operation of unknown outcome may have taken effect.
    pub(super) unknown_may_happen: bool,
    /// An operation of unknown outcome may never take effect.
    pub(super) unknown_may_not_happen: bool,
    /// An operation of unknown outcome takes no effect before its invocation.
    pub(super) unknown_waits_for_its_invocation: bool,
    /// Only reads are placed without trying anything else.
    pub(super) only_reads_are_forced: bool,
}

impl Rules {
    pub(super) const SOUND: Self = Self {
        respects_real_time: true,
        ties_are_concurrent: true,
        memory_knows_the_state: true,
        memory_knows_the_placed: true,
        memory_knows_the_unknown: true,
        memory_counts_what_is_left: true,
        unknown_may_happen: true,
        unknown_may_not_happen: true,
        unknown_waits_for_its_invocation: true,
        only_reads_are_forced: true,
    };
}

/// How a search ended.
pub(super) enum Found {
    /// All completed operations can be placed, in this order.
    Order(Vec<OpId>),
    /// They cannot; the furthest that any order came.
    DeadEnd {
        /// The longest order of some of them that was found.
        prefix: Vec<OpId>,
        /// The completed ones of which one would have to come next.
        blocked: Vec<OpId>,
    },
    /// The bound was reached first.
    OutOfSteps,
}

/// An operation that completed.
struct Call<'h, M: Model> {
    op: OpId,
    operation: &'h Operation<M::Input, M::Output>,
    completed_ns: u64,
    is_read: bool,
}

/// An operation of unknown outcome that could change something.
struct Open {
    op: OpId,
    invoked_ns: u64,
    /// Its kind.
    kind: usize,
}

/// Operations of unknown outcome that come to the same.
struct Kind<'h, M: Model> {
    input: Cow<'h, M::Input>,
    /// Those of this kind, by invocation.
    opens: Vec<usize>,
}

/// The completed operations not placed yet, by invocation: a doubly linked ring through a sentinel
/// whose index is the number of calls. Calls are unlifted in the reverse order of lifting.
struct Waiting {
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl Waiting {
    fn new(count: usize) -> Self {
        let ring = count + 1;
        Self {
            next: (0..ring).map(|index| (index + 1) % ring).collect(),
            previous: (0..ring).map(|index| (index + count) % ring).collect(),
        }
    }

    fn sentinel(&self) -> usize {
        self.next.len() - 1
    }

    fn is_empty(&self) -> bool {
        self.next[self.sentinel()] == self.sentinel()
    }

    fn lift(&mut self, call: usize) {
        let (previous, next) = (self.previous[call], self.next[call]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn unlift(&mut self, call: usize) {
        let (previous, next) = (self.previous[call], self.next[call]);
        self.next[previous] = call;
        self.previous[next] = call;
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let sentinel = self.sentinel();
        std::iter::successors(Some(self.next[sentinel]), |&call| Some(self.next[call]))
            .take_while(move |&call| call != sentinel)
    }
}

/// How many unknown operations of each kind are placed.
type Used = Box<[u32]>;

fn uses_no_more(one: &Used, other: &Used) -> bool {
    one.iter().zip(other.iter()).all(|(one, other)| one <= other)
}

/// Which completed operations are placed, and in which state.
#[derive(PartialEq, Eq, Hash)]
struct Place<S> {
    /// One more than the highest call that is placed.
    frontier: usize,
    /// The calls below the frontier that are not placed.
    waiting: Box<[usize]>,
    state: Option<Rc<S>>,
}

/// Unknown operations placed one after another, and the state after them.
struct Run<S> {
    opens: Vec<usize>,
    state: Rc<S>,
}

/// A completed operation just placed (or the start), and what is left to try after it.
struct Frame<S> {
    entered_by: Option<usize>,
    frontier: usize,
    /// The calls that may be next, by completion.
    candidates: Vec<usize>,
    /// The earliest completion among the waiting: nothing invoked after it may be next.
    deadline_ns: u64,
    /// The run that stands now, followed by the candidates from `next` on.
    run: Run<S>,
    next: usize,
    is_fresh: bool,
    is_forced: bool,
    /// Longer runs, still to be tried.
    runs: VecDeque<Run<S>>,
}

enum Move<S> {
    Place(usize, Rc<S>),
    DeadEnd,
    OutOfSteps,
}

/// One search over one part of a history.
pub(super) struct Search<'h, M: Model> {
    model: &'h M,
    rules: Rules,
    steps: u64,
    steps_max: u64,
    /// By invocation.
    calls: Vec<Call<'h, M>>,
    /// By invocation.
    opens: Vec<Open>,
    kinds: Vec<Kind<'h, M>>,
    waiting: Waiting,
    used: Used,
    memory: HashMap<Place<M::State>, Vec<Used>>,
    frames: Vec<Frame<M::State>>,
    /// The longest prefix that led nowhere, how many calls are in it, and what was to be next.
    furthest: Option<(usize, Vec<OpId>, Vec<OpId>)>,
}

impl<'h, M: Model> Search<'h, M> {
    pub(super) fn new(model: &'h M, part: &Part<'h, M>, steps_max: u64, rules: Rules) -> Self {
        let mut calls = Vec::new();
        let mut opens: Vec<Open> = Vec::new();
        let mut kinds: Vec<Kind<'h, M>> = Vec::new();
        let mut by_invocation = part.clone();
        by_invocation.sort_by_key(|(_, operation)| operation.invoked_ns);
        for (op, operation) in by_invocation {
            let is_read = model.is_read(&operation.input, operation.output());
            match operation.completed_ns() {
                Some(completed_ns) => calls.push(Call { op, operation, completed_ns, is_read }),
                // A read that nobody saw the answer of says nothing.
                None if is_read => {}
                None => {
                    let input = model.unseen(&operation.input);
                    let known = kinds.iter().position(|kind| *kind.input == *input);
                    let kind = known.unwrap_or(kinds.len());
                    if known.is_none() {
                        kinds.push(Kind { input, opens: Vec::new() });
                    }
                    kinds[kind].opens.push(opens.len());
                    opens.push(Open { op, invoked_ns: operation.invoked_ns, kind });
                }
            }
        }
        Self {
            model,
            rules,
            steps: 0,
            steps_max,
            waiting: Waiting::new(calls.len()),
            used: vec![0; kinds.len()].into_boxed_slice(),
            calls,
            opens,
            kinds,
            memory: HashMap::default(),
            frames: Vec::new(),
            furthest: None,
        }
    }

    /// How many steps of the model were tried so far.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn run(&mut self) -> Found {
        self.enter(None, Rc::new(self.model.initial()));
        while !self.frames.is_empty() {
            if self.is_complete() {
                return Found::Order(self.order());
            }
            match self.next_move() {
                Move::Place(call, state) => self.enter(Some(call), state),
                Move::DeadEnd => self.leave(),
                Move::OutOfSteps => return Found::OutOfSteps,
            }
        }
        let (_, prefix, blocked) = self.furthest.take().expect("a dead end left no prefix behind");
        Found::DeadEnd { prefix, blocked }
    }

    fn is_complete(&self) -> bool {
        self.waiting.is_empty()
            && (self.rules.unknown_may_not_happen
                || self
                    .kinds
                    .iter()
                    .zip(&self.used)
                    .all(|(kind, used)| kind.opens.len() == *used as usize))
    }

    /// Places a call, unless that leads to a position that has been entered before.
    fn enter(&mut self, entered_by: Option<usize>, state: Rc<M::State>) {
        let mut frontier = self.frames.last().map_or(0, |frame| frame.frontier);
        if let Some(call) = entered_by {
            self.waiting.lift(call);
            frontier = frontier.max(call + 1);
        }
        let (candidates, deadline_ns) = self.candidates();
        if !self.remember(frontier, deadline_ns, &state) {
            let call = entered_by.expect("the start is entered once");
            self.waiting.unlift(call);
            return;
        }
        self.frames.push(Frame {
            entered_by,
            frontier,
            candidates,
            deadline_ns,
            run: Run { opens: Vec::new(), state },
            next: 0,
            is_fresh: true,
            is_forced: false,
            runs: VecDeque::new(),
        });
    }

    /// Takes back the last call placed, noting how far it came.
    fn leave(&mut self) {
        let depth = self.frames.len();
        let is_furthest = self.furthest.as_ref().is_none_or(|(best, ..)| depth > *best);
        let top = self.frames.last_mut().expect("only a frame that stands is left");
        for open in top.run.opens.drain(..) {
            self.used[self.opens[open].kind] -= 1;
        }
        if is_furthest {
            let top = &self.frames[depth - 1];
            let blocked = top.candidates.iter().map(|&call| self.calls[call].op).collect();
            self.furthest = Some((depth, self.order(), blocked));
        }
        if let Some(call) = self.frames.pop().and_then(|frame| frame.entered_by) {
            self.waiting.unlift(call);
        }
    }

    /// Everything placed, in order.
    fn order(&self) -> Vec<OpId> {
        let mut order = Vec::new();
        for frame in &self.frames {
            order.extend(frame.entered_by.map(|call| self.calls[call].op));
            order.extend(frame.run.opens.iter().map(|&open| self.opens[open].op));
        }
        order
    }

    /// The calls that may be next, by completion, and the earliest completion of all waiting.
    ///
    /// The walk may stop at the first invocation after the earliest completion *walked past*: the
    /// call that completes earliest of all was invoked before that, so it is never cut off.
    fn candidates(&self) -> (Vec<usize>, u64) {
        let mut candidates = Vec::new();
        let mut deadline_ns = u64::MAX;
        for index in self.waiting.iter() {
            let call = &self.calls[index];
            let invoked_ns = call.operation.invoked_ns;
            let is_late = if self.rules.ties_are_concurrent {
                invoked_ns > deadline_ns
            } else {
                invoked_ns >= deadline_ns
            };
            if is_late && self.rules.respects_real_time {
                break;
            }
            deadline_ns = deadline_ns.min(call.completed_ns);
            candidates.push(index);
        }
        candidates.sort_by_key(|&index| self.calls[index].completed_ns);
        (candidates, deadline_ns)
    }

    /// What to try next at the last frame.
    fn next_move(&mut self) -> Move<M::State> {
        loop {
            if self.steps >= self.steps_max {
                return Move::OutOfSteps;
            }
            if let Some((call, state)) = self.next_call() {
                return Move::Place(call, state);
            }
            self.lengthen_run();
            let frame = self.frames.last_mut().expect("moves are made from a frame");
            let Some(run) = frame.runs.pop_front() else {
                return Move::DeadEnd;
            };
            for open in &frame.run.opens {
                self.used[self.opens[*open].kind] -= 1;
            }
            for open in &run.opens {
                self.used[self.opens[*open].kind] += 1;
            }
            (frame.run, frame.next, frame.is_fresh, frame.is_forced) = (run, 0, true, false);
        }
    }

    /// The next candidate that may follow the run that stands.
    fn next_call(&mut self) -> Option<(usize, Rc<M::State>)> {
        let frame = self.frames.last_mut().expect("moves are made from a frame");
        let state = &frame.run.state;
        let mut step = |index: usize| {
            let Operation { input, .. } = &self.calls[index].operation;
            self.steps += 1;
            match self.model.step(state, input, self.calls[index].operation.output()) {
                Transition::Impossible => None,
                Transition::Unchanged => Some(Rc::clone(state)),
                Transition::To(next) => Some(Rc::new(next)),
            }
        };
        let may_force =
            |index: &usize| self.calls[*index].is_read || !self.rules.only_reads_are_forced;
        if std::mem::take(&mut frame.is_fresh) {
            for index in frame.candidates.iter().copied().filter(may_force) {
                if let Some(next) = step(index) {
                    frame.is_forced = true;
                    frame.next = frame.candidates.len();
                    return Some((index, next));
                }
            }
        }
        while let Some(&index) = frame.candidates.get(frame.next) {
            frame.next += 1;
            // No read was allowed here when the run was fresh.
            if self.calls[index].is_read {
                continue;
            }
            if let Some(next) = step(index) {
                return Some((index, next));
            }
        }
        None
    }

    /// Puts each unknown operation that could follow the run that stands in line behind it.
    fn lengthen_run(&mut self) {
        let frame = self.frames.last().expect("moves are made from a frame");
        if frame.is_forced || !self.rules.unknown_may_happen {
            return;
        }
        let (deadline_ns, frontier) = (frame.deadline_ns, frame.frontier);
        let state = Rc::clone(&frame.run.state);
        let placed = frame.run.opens.clone();
        for kind in 0..self.kinds.len() {
            let Some(&open) = self.kinds[kind].opens.get(self.used[kind] as usize) else {
                continue;
            };
            if self.opens[open].invoked_ns > deadline_ns
                && self.rules.unknown_waits_for_its_invocation
            {
                continue;
            }
            self.steps += 1;
            let next = match self.model.step(&state, &self.kinds[kind].input, None) {
                Transition::To(next) => Rc::new(next),
                Transition::Unchanged if !self.rules.unknown_may_not_happen => Rc::clone(&state),
                Transition::Impossible | Transition::Unchanged => continue,
            };
            self.used[kind] += 1;
            if self.remember(frontier, deadline_ns, &next) {
                let opens = placed.iter().copied().chain([open]).collect();
                let frame = self.frames.last_mut().expect("the frame stands");
                frame.runs.push_back(Run { opens, state: next });
            }
            self.used[kind] -= 1;
        }
    }

    /// Notes the present position with `state`; `false` if one that dominates it was noted before.
    /// Nothing invoked by `deadline_ns` has to wait any more, neither here nor later.
    fn remember(&mut self, frontier: usize, deadline_ns: u64, state: &Rc<M::State>) -> bool {
        let place = Place {
            frontier: if self.rules.memory_knows_the_placed { frontier } else { 0 },
            waiting: self.waiting.iter().take_while(|&call| call < frontier).collect(),
            state: self.rules.memory_knows_the_state.then(|| self.model.essence(state)),
        };
        let entered = self.memory.entry(place).or_default();
        let is_dominated = entered
            .iter()
            .any(|used| uses_no_more(used, &self.used) || !self.rules.memory_knows_the_unknown);
        if is_dominated {
            return false;
        }
        let mut used = self.used.clone();
        if let Some(left) = self.model.unknown_changes_left(state) {
            for (kind, used) in self.kinds.iter().zip(&mut used) {
                let last = (u64::from(*used) + left).checked_sub(1);
                let is_plenty = last.is_none_or(|last| {
                    let last = usize::try_from(last).ok().and_then(|last| kind.opens.get(last));
                    last.is_some_and(|open| self.opens[*open].invoked_ns <= deadline_ns)
                });
                if is_plenty || !self.rules.memory_counts_what_is_left {
                    *used = 0;
                }
            }
        }
        entered.retain(|other| !uses_no_more(&used, other));
        entered.push(used);
        true
    }
}
