//! One simulated node: what stands around its host, and the world that the host sees.
//!
//! The event loop of production takes what has arrived, fires the timers that are due, those of no delay included,
//! and then syncs. So does a node here: inputs and timers gather, and a *turn* takes them in that order. A turn
//! usually follows its first input at once; a node that lingers, is paused, slow or busy syncing finds more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use quorate_core::{NodeId, Protocol, RequestId, Visible, World};
use quorate_trace::{MessageId, StepLog};

use crate::counters::Counters;
use crate::disk::SimDisk;
use crate::faults::{FaultMix, Scheduled};
use crate::network::Network;
use crate::queue::Queue;
use crate::rng::Rng;
use crate::time::{Time, nanos};
use crate::trace::{Digest, Trace};
use crate::wire::{Parcel, Version, Wire};

/// What can happen next. Nodes are places here, counted from zero. An event with a boot number is void after the
/// node's next crash.
pub(crate) enum Event<P: Protocol> {
    Arrive(Letter<P>),
    Hint { node: u32, peer: NodeId },
    Expire { node: u32, boot: u32, token: u64, timer: P::Timer },
    Turn { node: u32, boot: u32 },
    SyncEnds { node: u32, boot: u32 },
    Resume { node: u32, boot: u32 },
    Crash { node: u32, boot: u32, down: Duration },
    Boot { node: u32, boot: u32 },
    Strike { fault: u32 },
    Cease { fault: u32 },
    Flap { fault: u32, is_cut: bool, until: Time },
    Wake { token: u64 },
    Heal,
}

/// A message on its way.
pub(crate) struct Letter<P: Protocol> {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) connection: u32,
    /// Its name in the trace, if there is one.
    pub(crate) id: MessageId,
    pub(crate) message: P::Message,
    /// The message as bytes, if it travels so. Boxed, so that letters stay small.
    pub(crate) parcel: Option<Box<Parcel<P::Message>>>,
}

/// What waits for a node's next turn.
pub(crate) enum Waiting<P: Protocol> {
    Message { from: u32, id: MessageId, message: P::Message },
    Ask { id: RequestId, request: P::Request },
    Lost { peer: NodeId },
    Synced { upto: u64 },
}

/// What all nodes share.
pub(crate) struct Shared<P: Protocol> {
    pub(crate) now: Time,
    pub(crate) queue: Queue<Event<P>>,
    pub(crate) rng: Rng,
    pub(crate) workload_rng: Rng,
    pub(crate) network: Network,
    pub(crate) mix: FaultMix,
    pub(crate) counters: Counters,
    pub(crate) digest: Digest,
    pub(crate) trace: Option<Trace<P>>,
    /// None if messages are handed over as they are.
    pub(crate) wire: Option<Box<dyn Wire<P>>>,
    /// Answers that the workload has yet to see.
    pub(crate) replies: VecDeque<(NodeId, RequestId, P::Response)>,
    /// The faults of the schedule, and behind them those that the workload has inflicted.
    pub(crate) faults: Vec<Scheduled>,
    /// The number of faults that the workload has inflicted.
    pub(crate) inflicted: u32,
    pub(crate) requests: u64,
    pub(crate) tokens: u64,
    pub(crate) is_healed: bool,
    pub(crate) ruined: Ruined,
}

/// Whose disks were ruined: damage is spread, so that enough good copies remain.
#[derive(Default)]
pub(crate) struct Ruined {
    /// The one whose disk is being ruined, or who has lost its memory and is not whole again.
    pub(crate) now: Option<NodeId>,
    /// Whether it has lost its memory already.
    pub(crate) is_lost: bool,
    /// All who have lost their memory in this run.
    pub(crate) ever: BTreeSet<NodeId>,
    /// Whether the workload has said that it is whole again.
    pub(crate) is_to_mend: bool,
}

impl Ruined {
    /// Whether another disk may be ruined.
    pub(crate) fn may_strike(&self, node: NodeId, nodes: usize) -> bool {
        let minority = (nodes - 1) / 2;
        self.now.is_none() && (self.ever.contains(&node) || self.ever.len() < minority)
    }
}

/// A timer that is set.
#[derive(Clone, Copy)]
pub(crate) struct Armed {
    /// Names this setting among all.
    pub(crate) token: u64,
    /// When it runs out; none if it was set with no delay, to fire at the end of the turn.
    pub(crate) due: Option<Time>,
}

impl<P: Protocol> Shared<P> {
    /// Adds something to the log of the run, if one is kept.
    #[inline]
    pub(crate) fn log(&mut self, tell: impl FnOnce(&mut StepLog)) {
        if let Some(trace) = &mut self.trace {
            tell(trace.at(self.now));
        }
    }
}

/// A node's process, its host and disk aside.
pub(crate) struct Process<P: Protocol> {
    pub(crate) place: u32,
    /// Which boot this is. Raised by each crash.
    pub(crate) boot: u32,
    pub(crate) is_up: bool,
    /// Which version it runs, or will when it boots.
    pub(crate) version: Version,
    /// How fast its clock runs: so many parts in a million of true time pass for a timer that waits for all.
    pub(crate) clock: u64,
    pub(crate) inbox: VecDeque<Waiting<P>>,
    /// The timers that are set.
    pub(crate) timers: BTreeMap<P::Timer, Armed>,
    /// Those that have run out, by deadline and token. Some may have been unset since.
    pub(crate) expired: BTreeMap<(Time, u64), P::Timer>,
    /// Those that were set with no delay, in that order, with their tokens. Some may have been unset since.
    pub(crate) at_end: VecDeque<(P::Timer, u64)>,
    pub(crate) outstanding: BTreeSet<RequestId>,
    pub(crate) has_turn: bool,
    /// The number of the last record that the sync under way covers.
    pub(crate) syncing: Option<u64>,
    /// Whether the node waits for its sync and takes nothing else.
    pub(crate) is_blocked: bool,
    pub(crate) paused_until: Time,
    pub(crate) slow_until: Time,
    pub(crate) slow_turn: Duration,
    pub(crate) stalled_until: Time,
    /// A crash that waits for the next write: until when it waits, and how long the node will be down.
    pub(crate) ambush: Option<(Time, Duration)>,
    /// How long the node will be down when a sync fails.
    pub(crate) down_after_failure: Duration,
}

impl<P: Protocol> Process<P> {
    pub(crate) fn new(place: u32, clock: u64) -> Self {
        Process {
            place,
            boot: 0,
            is_up: false,
            version: Version::default(),
            clock,
            inbox: VecDeque::new(),
            timers: BTreeMap::new(),
            expired: BTreeMap::new(),
            at_end: VecDeque::new(),
            outstanding: BTreeSet::new(),
            has_turn: false,
            syncing: None,
            is_blocked: false,
            paused_until: Time::ZERO,
            slow_until: Time::ZERO,
            slow_turn: Duration::ZERO,
            stalled_until: Time::ZERO,
            ambush: None,
            down_after_failure: Duration::ZERO,
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        NodeId(u64::from(self.place) + 1)
    }

    /// Forgets everything but the node's name, version and clock. Returns the requests that were not answered.
    pub(crate) fn crash(&mut self) -> BTreeSet<RequestId> {
        let orphans = std::mem::take(&mut self.outstanding);
        let (boot, version) = (self.boot + 1, self.version);
        *self = Process { boot, version, ..Process::new(self.place, self.clock) };
        orphans
    }

    /// Whether there is something for a turn to take.
    pub(crate) fn has_work(&self) -> bool {
        !self.inbox.is_empty() || !self.expired.is_empty() || !self.at_end.is_empty()
    }

    /// Unsets a timer that has run out, if it is still the setting of that token.
    pub(crate) fn runs_out(&mut self, timer: &P::Timer, token: u64) -> bool {
        let is_set = self.timers.get(timer).is_some_and(|armed| armed.token == token);
        if is_set {
            self.timers.remove(timer);
        }
        is_set
    }

    /// Sets a timer to run out at that time.
    fn set(&mut self, timer: P::Timer, due: Time, shared: &mut Shared<P>) {
        shared.tokens += 1;
        let token = shared.tokens;
        self.timers.insert(timer.clone(), Armed { token, due: Some(due) });
        if due == shared.now {
            self.expired.insert((due, token), timer);
        } else {
            let (node, boot) = (self.place, self.boot);
            shared.queue.schedule(due, Event::Expire { node, boot, token, timer });
        }
    }

    /// The node's clock jumps: what it waits for comes nearer, and is due at once if it was to come sooner than the
    /// clock has jumped; or it recedes.
    pub(crate) fn jump(&mut self, is_ahead: bool, by: Duration, shared: &mut Shared<P>) {
        let now = shared.now;
        let waiting = self.timers.iter().filter_map(|(timer, armed)| {
            armed.due.filter(|due| *due > now).map(|due| (due, armed.token, timer.clone()))
        });
        let mut waiting: Vec<_> = waiting.collect();
        // Those that are due at once fire in the order of the deadlines that they had.
        waiting.sort_unstable_by_key(|(due, token, _)| (*due, *token));
        for (due, _, timer) in waiting {
            let due = if is_ahead { now + (due - now).saturating_sub(by) } else { due + by };
            self.set(timer, due, shared);
        }
        if !self.expired.is_empty() {
            self.rouse(shared);
        }
    }

    /// Whether the node can take a turn, and has none coming.
    fn is_idle(&self, now: Time) -> bool {
        self.is_up && !self.has_turn && !self.is_blocked && self.paused_until <= now
    }

    fn turn_after(&mut self, delay: Duration, shared: &mut Shared<P>) {
        self.has_turn = true;
        let turn = Event::Turn { node: self.place, boot: self.boot };
        shared.queue.schedule(shared.now + delay, turn);
    }

    /// How long the node waits before it takes what has arrived.
    fn lingers(&self, shared: &mut Shared<P>) -> Duration {
        if shared.now < self.slow_until {
            shared.rng.duration(&(Duration::ZERO..self.slow_turn))
        } else if shared.rng.happens(shared.mix.linger) {
            shared.rng.duration(&(Duration::ZERO..shared.mix.linger_max))
        } else {
            Duration::ZERO
        }
    }

    /// Sees to it that what has arrived gets its turn.
    pub(crate) fn rouse(&mut self, shared: &mut Shared<P>) {
        if self.is_idle(shared.now) {
            let delay = self.lingers(shared);
            self.turn_after(delay, shared);
        }
    }

    /// As [`Process::rouse`], but returns true if the turn is to be taken at once by the caller: when nothing else
    /// is due at this instant, a detour over the queue would change nothing but the speed.
    #[inline]
    pub(crate) fn rouse_now(&mut self, shared: &mut Shared<P>) -> bool {
        if !self.is_idle(shared.now) {
            return false;
        }
        let delay = self.lingers(shared);
        if delay.is_zero() && shared.queue.next_time() != Some(shared.now) {
            return true;
        }
        self.turn_after(delay, shared);
        false
    }
}

/// What a host acts on.
pub(crate) struct NodeWorld<'a, P: Protocol, D: SimDisk<P>> {
    pub(crate) process: &'a mut Process<P>,
    pub(crate) disk: &'a mut D,
    pub(crate) shared: &'a mut Shared<P>,
    /// Why the disk refused a record, if it did.
    pub(crate) refused: Option<D::Error>,
}

impl<P: Protocol, D: SimDisk<P>> NodeWorld<'_, P, D>
where
    P::Message: Clone,
{
    fn send(&mut self, to: NodeId, message: P::Message) {
        let shared = &mut *self.shared;
        let from = self.process.place;
        let place = to.0.wrapping_sub(1);
        assert!(
            place < shared.network.nodes() as u64 && place != u64::from(from),
            "{} sends to {to}, which is not another node of the simulation",
            self.process.id()
        );
        let link = (from as usize, place as usize);
        shared.counters.sent += 1;
        let carried = shared.network.carry(link, shared.now, &mut shared.rng, &mut shared.counters);
        let again = carried.is_ok() && shared.network.duplicates(&mut shared.rng);
        let node = self.process.id();
        let id = shared.trace.as_mut().map(|trace| trace.send(node, to, &message));
        let id = id.unwrap_or_default();
        let passage = match carried {
            Ok(passage) => passage,
            Err(dropped) => {
                shared.digest.add(place);
                if let Some(trace) = &mut shared.trace {
                    trace.drop_message(id, dropped);
                }
                return;
            }
        };
        let by = self.process.version;
        let wire = shared.wire.as_mut();
        let parcel = wire.map(|wire| Box::new(Parcel { by, encoded: wire.encode(by, &message) }));
        if again {
            shared.counters.duplicated += 1;
            let second =
                shared.network.carry(link, shared.now, &mut shared.rng, &mut shared.counters);
            let id = shared.trace.as_mut().map(|trace| trace.log.duplicate(id)).unwrap_or_default();
            match second {
                Ok(second) => {
                    let (to, connection) = (place as u32, second.connection);
                    let (message, parcel) = (message.clone(), parcel.clone());
                    let copy = Letter { from, to, connection, id, message, parcel };
                    shared.queue.schedule(second.at, Event::Arrive(copy));
                }
                Err(dropped) => {
                    if let Some(trace) = &mut shared.trace {
                        trace.drop_message(id, dropped);
                    }
                }
            }
        }
        shared.digest.add(passage.at.0 ^ place.rotate_right(16));
        let (to, connection) = (place as u32, passage.connection);
        let letter = Letter { from, to, connection, id, message, parcel };
        shared.queue.schedule(passage.at, Event::Arrive(letter));
    }
}

impl<P: Protocol, D: SimDisk<P>> World<P> for NodeWorld<'_, P, D>
where
    P::Message: Clone,
{
    fn persist(&mut self, record: P::Record) {
        self.shared.counters.persisted += 1;
        self.shared.digest.add(1);
        if let Some(trace) = &mut self.shared.trace {
            trace.persist(self.process.id(), &record);
        }
        if let Err(refused) = self.disk.persist(record) {
            self.refused.get_or_insert(refused);
        }
    }

    fn emit(&mut self, visible: Visible<P>) {
        match visible {
            Visible::Send { to, message } => self.send(to, message),
            Visible::Reply { id, response } => {
                self.shared.digest.add(id.0);
                if let Some(trace) = &mut self.shared.trace {
                    trace.reply(self.process.id(), id, &response);
                }
                self.shared.replies.push_back((self.process.id(), id, response));
            }
        }
    }

    fn arm(&mut self, timer: P::Timer, after: Range<Duration>) {
        let process = &mut *self.process;
        let shared = &mut *self.shared;
        let true_time = nanos(shared.rng.duration(&after));
        let waits = (u128::from(true_time) * u128::from(process.clock) / 1_000_000) as u64;
        let due = shared.now + Duration::from_nanos(waits);
        shared.digest.add(due.0);
        if let Some(trace) = &mut shared.trace {
            trace.arm(process.id(), &timer, due);
        }
        if after.end.is_zero() {
            shared.tokens += 1;
            let token = shared.tokens;
            process.timers.insert(timer.clone(), Armed { token, due: None });
            process.at_end.push_back((timer, token));
        } else {
            process.set(timer, due, shared);
        }
    }

    fn release(&mut self, before: u64) {
        self.shared.digest.add(before);
        if let Some(trace) = &mut self.shared.trace {
            trace.log.release(self.process.id(), before);
        }
        if let Err(refused) = self.disk.release(before) {
            self.refused.get_or_insert(refused);
        }
    }

    fn disarm(&mut self, timer: P::Timer) {
        self.shared.digest.add(2);
        if let Some(trace) = &mut self.shared.trace {
            trace.disarm(self.process.id(), &timer);
        }
        self.process.timers.remove(&timer);
    }

    fn choose(&mut self, bound: u32) -> u32 {
        let chosen = self.shared.rng.below(u64::from(bound)) as u32;
        self.shared.digest.add(u64::from(chosen));
        if let Some(trace) = &mut self.shared.trace {
            trace.log.choose(self.process.id(), chosen, bound);
        }
        chosen
    }
}
