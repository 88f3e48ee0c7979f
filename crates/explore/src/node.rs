//! One node: its host, its disk, its timers; and what becomes of them in a turn.
//!
//! A turn is one input, then every timer that was armed with no delay: the end of the batch. Batches of several inputs
//! are not explored; every run that is found is one of production, but not the other way round.
//!
//! A node that crashes starts again at once, from the fold of the records that were durable.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use quorate_core::{Host, Input, NodeId, RequestId, Visible, World};

use crate::model::Explored;

/// How many timers with no delay may follow each other: more would follow for ever.
const BATCH_MAX: usize = 1_000;

/// Some of a model's timers: a bit for each.
pub(crate) type Timers = u32;

/// The timers that a model may name.
pub(crate) const TIMERS_MAX: usize = Timers::BITS as usize;

/// A node, as it is between two turns. Once made it doesn't change.
#[derive(Clone)]
pub(crate) struct Node<P: Explored> {
    host: Host<P>,
    durable: Arc<P::Durable>,
    /// Records that were written since the last sync.
    unsynced: Vec<P::Record>,
    /// Which of the model's timers are armed.
    armed: Timers,
    last_request: RequestId,
    /// Its print under each renaming; set by whoever made it.
    pub(crate) prints: Box<[u64]>,
}

/// A node as it is hashed; and whether it matters how many records it ever wrote.
pub(crate) struct Counted<'a, P: Explored>(pub(crate) &'a Node<P>, pub(crate) bool);

impl<P: Explored> Hash for Counted<'_, P> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Counted(Node { host, durable, unsynced, armed, last_request, prints: _ }, counts) =
            self;
        if *counts {
            host.hash(hasher);
        } else {
            host.hash_uncounted(hasher);
        }
        (durable, unsynced, armed, last_request).hash(hasher);
    }
}

impl<P: Explored> Node<P> {
    pub(crate) fn state(&self) -> &P {
        self.host.state()
    }

    pub(crate) fn is_armed(&self, timer: usize) -> bool {
        self.armed & 1 << timer != 0
    }

    /// The number of records that a crash would lose.
    pub(crate) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Has the first of the unsynced records survive. Returns the number of the last that does.
    fn make_durable(&mut self, count: usize) -> u64 {
        let durable = Arc::make_mut(&mut self.durable);
        let before = self.host.durable();
        for (record, number) in self.unsynced.drain(..count).zip(before + 1..) {
            P::fold(durable, number, record);
        }
        before + count as u64
    }

    /// The name that the next request gets.
    pub(crate) fn next_request(&self) -> RequestId {
        RequestId(self.last_request.0 + 1)
    }
}

/// What a node is to do.
#[derive(Clone)]
pub(crate) enum Task<P: Explored> {
    /// Of a node that has never run: onto what its records are folded.
    Start {
        blank: P::Durable,
    },
    Deliver {
        from: NodeId,
        message: P::Message,
    },
    Fire {
        timer: usize,
    },
    Ask {
        request: P::Request,
    },
    Lost {
        peer: NodeId,
    },
    /// All that was written.
    Sync,
    Crash {
        kept: usize,
    },
}

/// One way through a turn: how each question was decided that may be decided in several ways.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    /// Each with the number of answers there are.
    made: Vec<(u32, u32)>,
    next: usize,
}

impl Choices {
    fn choose(&mut self, bound: u32) -> u32 {
        if self.next == self.made.len() {
            self.made.push((0, bound));
        }
        let (choice, known_bound) = self.made[self.next];
        assert!(bound == known_bound, "the same choices led to another question");
        self.next += 1;
        choice
    }

    /// The next way to try, if there is one left.
    pub(crate) fn advance(mut self) -> Option<Self> {
        self.made.truncate(self.next);
        self.next = 0;
        while let Some((choice, bound)) = self.made.pop() {
            if choice + 1 < bound {
                self.made.push((choice + 1, bound));
                return Some(self);
            }
        }
        None
    }
}

/// What the outside sees of a turn.
pub(crate) struct Deeds<P: Explored> {
    pub(crate) sent: Vec<(NodeId, P::Message)>,
    pub(crate) answered: Vec<(RequestId, P::Response)>,
    /// The numbers that the protocol chose.
    pub(crate) chosen: Vec<u32>,
    /// The crash that cut it short.
    pub(crate) interruption: Option<Interruption>,
    /// The timers that were armed or disarmed, whatever they were before.
    pub(crate) touched: Timers,
    /// The states that the node passed through on the way to the last one. Promises hold for them as well.
    pub(crate) passed: Vec<P>,
}

/// A crash in the middle of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption {
    /// How many of the records that were being synced are on the disk all the same, from the front.
    pub kept: usize,
    /// How many are lost.
    pub lost: usize,
}

/// How a turn is to go.
pub(crate) struct Terms<'a, P: Explored> {
    pub(crate) config: &'a P::Config,
    pub(crate) timers: &'a [(P::Timer, u8)],
    /// Whether the turn ends with everything durable.
    pub(crate) is_synced: bool,
    /// Whether one of its syncs may be cut short by a crash.
    pub(crate) may_crash: bool,
    /// Whether it matters that what was sent is lost for good.
    pub(crate) is_fairness_asked: bool,
}

/// A turn that is under way.
struct Turn<'a, P: Explored> {
    terms: Terms<'a, P>,
    choices: Choices,
    deeds: Deeds<P>,
    due: Vec<P::Timer>,
}

/// Gives a node a task, to be done in one of the ways that there are. Returns the node as it is then, what is seen of
/// it, and the way that is to be tried after this one.
pub(crate) fn run<P: Explored>(
    node: Option<&Node<P>>,
    task: Task<P>,
    choices: Choices,
    terms: Terms<'_, P>,
) -> (Node<P>, Deeds<P>, Option<Choices>) {
    let deeds = Deeds {
        sent: Vec::new(),
        answered: Vec::new(),
        chosen: Vec::new(),
        interruption: None,
        touched: 0,
        passed: Vec::new(),
    };
    let mut turn = Turn { terms, choices, deeds, due: Vec::new() };
    let mut node = match (node, &task) {
        (None, Task::Start { blank }) => turn.boot(Arc::new(blank.clone()), 0),
        (node, _) => node.expect("only a start needs no node").clone(),
    };
    turn.take(&mut node, task);
    (node, turn.deeds, turn.choices.advance())
}

impl<P: Explored> Turn<'_, P> {
    fn take(&mut self, node: &mut Node<P>, task: Task<P>) {
        let input = match task {
            Task::Start { .. } => return self.settle(node),
            Task::Sync => {
                self.sync(node);
                return self.settle(node);
            }
            Task::Crash { kept } => {
                self.crash(node, kept);
                return self.settle(node);
            }
            Task::Deliver { from, message } => Input::Deliver { from, message },
            Task::Fire { timer } => {
                node.armed &= !(1 << timer);
                Input::Fire(self.terms.timers[timer].0.clone())
            }
            Task::Ask { request } => {
                node.last_request = node.next_request();
                Input::Ask { id: node.last_request, request }
            }
            Task::Lost { peer } => Input::Lost { peer },
        };
        self.step(node, input);
        self.settle(node);
    }

    /// The end of a turn: the timers that were armed with no delay, and the syncs, until neither is left.
    fn settle(&mut self, node: &mut Node<P>) {
        for _ in 0..BATCH_MAX {
            if !self.due.is_empty() {
                self.deeds.passed.push(node.state().clone());
                let timer = self.due.remove(0);
                self.step(node, Input::Fire(timer));
            } else if self.terms.is_synced && !node.unsynced.is_empty() {
                self.deeds.passed.push(node.state().clone());
                self.end_with_sync(node);
            } else {
                return;
            }
        }
        panic!("a node arms timers with no delay for ever");
    }

    /// Syncs all there is, or crashes before that is done. If all records were on the disk by then, a crash after the
    /// sync does the same, as what the sync lets go may stay under way for ever; but not to whoever asks what is fair.
    fn end_with_sync(&mut self, node: &mut Node<P>) {
        let count = node.unsynced.len();
        let may_crash = self.terms.may_crash && self.deeds.interruption.is_none();
        let cuts = count as u32 + u32::from(self.terms.is_fairness_asked);
        let outcome = if may_crash { self.choices.choose(cuts + 1) } else { 0 };
        match (outcome as usize).checked_sub(1) {
            None => self.sync(node),
            Some(kept) => {
                self.deeds.interruption = Some(Interruption { kept, lost: count - kept });
                self.crash(node, kept);
            }
        }
    }

    fn boot(&mut self, durable: Arc<P::Durable>, last: u64) -> Node<P> {
        let (mut unsynced, mut armed) = (Vec::new(), 0);
        let config = self.terms.config;
        let mut hands = self.hands(&mut unsynced, &mut armed);
        let host = Host::boot(config, P::Durable::clone(&durable), last, &mut hands);
        Node { host, durable, unsynced, armed, last_request: RequestId(0), prints: [].into() }
    }

    fn step(&mut self, node: &mut Node<P>, input: Input<P>) {
        let config = self.terms.config;
        let mut hands = self.hands(&mut node.unsynced, &mut node.armed);
        node.host.step(config, input, &mut hands);
    }

    fn sync(&mut self, node: &mut Node<P>) {
        let upto = node.make_durable(node.unsynced.len());
        let config = self.terms.config;
        let mut hands = self.hands(&mut node.unsynced, &mut node.armed);
        node.host.synced(config, upto, &mut hands);
    }

    fn crash(&mut self, node: &mut Node<P>, kept: usize) {
        let last = node.make_durable(kept);
        self.due.clear();
        *node = self.boot(node.durable.clone(), last);
    }

    fn hands<'n>(
        &'n mut self,
        written: &'n mut Vec<P::Record>,
        armed: &'n mut Timers,
    ) -> Hands<'n, P> {
        let Turn { terms, choices, deeds, due } = self;
        Hands { timers: terms.timers, choices, deeds, due, written, armed }
    }
}

/// The world of a host, for one step.
struct Hands<'a, P: Explored> {
    timers: &'a [(P::Timer, u8)],
    choices: &'a mut Choices,
    deeds: &'a mut Deeds<P>,
    due: &'a mut Vec<P::Timer>,
    written: &'a mut Vec<P::Record>,
    armed: &'a mut Timers,
}

impl<P: Explored> Hands<'_, P> {
    fn bit(&self, timer: &P::Timer) -> Timers {
        self.timers.iter().position(|(known, _)| known == timer).map_or(0, |at| 1 << at)
    }
}

impl<P: Explored> World<P> for Hands<'_, P> {
    fn persist(&mut self, record: P::Record) {
        self.written.push(record);
    }

    fn release(&mut self, _: u64) {
        // Records are forgotten when the world likes. This one keeps only what they come to, and forgets none.
    }

    fn emit(&mut self, visible: Visible<P>) {
        match visible {
            Visible::Send { to, message } => self.deeds.sent.push((to, message)),
            Visible::Reply { id, response } => self.deeds.answered.push((id, response)),
        }
    }

    fn arm(&mut self, timer: P::Timer, after: Range<Duration>) {
        self.disarm(timer.clone());
        if after == (Duration::ZERO..Duration::ZERO) {
            self.due.push(timer);
        } else {
            *self.armed |= self.bit(&timer);
        }
    }

    fn disarm(&mut self, timer: P::Timer) {
        let bit = self.bit(&timer);
        *self.armed &= !bit;
        self.deeds.touched |= bit;
        self.due.retain(|due| *due != timer);
    }

    fn choose(&mut self, bound: u32) -> u32 {
        let choice = self.choices.choose(bound);
        self.deeds.chosen.push(choice);
        choice
    }
}
