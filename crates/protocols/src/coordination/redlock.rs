//! Redlock: a lock that lives on some servers, each of which lets it run out by its own clock; a majority of them is the lock.
//!
//! Source: Sanfilippo, "Distributed locks with Redis" (the documentation of Redis); Kleppmann, "How to do distributed
//! locking", 2016, on its bounds.
//! Model: synchronous: clocks that run evenly, nodes that don't stand still while they hold the lock, and servers that don't
//! forget. Messages are lost, repeated and reordered.
//! Safety: exclusion, no two clients are inside.
//! Liveness: whoever asks enters. Needs: a majority of servers that is reached, and waits that are random. It is
//! judged by seeds, as attempts are numbered without end.
//! Departures: an attempt has a number in the place of a random value.
//! Omitted: extension of a lock; servers that stay away after a crash until every lock has run out.
//! Cost: 2 message delays to enter, 3 messages for each server with the release.
//! Boundary: all of it. A client that stands still (the trace `a_client_stands_still`), a server's clock that jumps (the trace
//! `a_clock_jumps`), or a server that forgets (the trace `a_server_forgets`), one of them once, and there are two inside. The
//! exploration has it that one early expiry is enough. What doesn't depend on time is in `lease_lock`.
//! Read next: `Redlock::on_locked`, then the trace `a_client_stands_still`.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::quorum::majority;
use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// An attempt to get the lock, of which no two are the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// Whose it is.
    pub of: NodeId,
    /// Its number among that node's.
    pub number: u64,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.of, self.number)
    }
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node: a server or a client.
    pub me: NodeId,
    /// The servers.
    pub servers: Vec<NodeId>,
    /// After how long a server lets a lock run out.
    pub expires: Duration,
    /// How long a client counts on it, from the moment before it asks: less, for clocks that don't run quite alike.
    pub is_valid: Duration,
    /// How long a client waits for servers to answer.
    pub patience: Range<Duration>,
    /// How long it waits before it tries again.
    pub backoff: Range<Duration>,
    /// How long a client stays inside.
    pub stays: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// What clients and servers send each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// To a server: lock this, unless it is locked.
    Lock(Attempt),
    /// From a server: it is locked for you.
    Locked(Attempt),
    /// To a server: unlock this, if it is still locked for me.
    Unlock(Attempt),
}

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Of a server: the lock runs out.
    Expire,
    /// Of a client: the lock may run out, and it leaves whatever it is at.
    Invalid,
    /// Of a client: too few servers have answered.
    GiveUp,
    /// Of a client: it tries again.
    Again,
    /// Of a client: it leaves.
    Leave,
}

/// What a client is at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    /// Servers are asked; these have locked for it.
    Asks(BTreeSet<NodeId>),
    /// It waits before it tries again.
    Waits,
    Inside,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redlock {
    /// Of a server: for which attempt it is locked.
    locked: Option<Attempt>,
    /// Of a client.
    phase: Phase,
    /// Of a client: the number of its last attempt.
    attempts: u64,
    /// Of a client: the requests that it has been put.
    wanted: VecDeque<RequestId>,
}

impl Redlock {
    /// For which attempt a server is locked.
    pub fn locked(&self) -> Option<Attempt> {
        self.locked
    }

    /// Whether a client is inside.
    pub fn is_inside(&self) -> bool {
        self.phase == Phase::Inside
    }

    /// Whether a client wants to enter, or is inside.
    pub fn wants(&self) -> bool {
        !self.wanted.is_empty()
    }

    // A server.

    fn on_lock(
        &mut self,
        config: &Config,
        from: NodeId,
        attempt: Attempt,
        out: &mut Out<'_, Self>,
    ) {
        if self.locked.is_none() {
            self.locked = Some(attempt);
            out.send(from, Message::Locked(attempt));
            if !config.mutants.has("locks_for_ever") {
                out.arm(Timer::Expire, config.expires..config.expires);
            }
        }
    }

    fn on_unlock(&mut self, config: &Config, attempt: Attempt, out: &mut Out<'_, Self>) {
        // It may have run out, and be locked for another.
        if self.locked == Some(attempt) || config.mutants.has("unlocks_for_anyone") {
            self.locked = None;
            out.disarm(Timer::Expire);
        }
    }

    // A client.

    fn attempt(&self, config: &Config) -> Attempt {
        Attempt { of: config.me, number: self.attempts }
    }

    fn try_to_lock(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.attempts += 1;
        self.phase = Phase::Asks(BTreeSet::new());
        // Counted from before the first server can have counted, so that it is over here before it is there.
        out.arm(Timer::Invalid, config.is_valid..config.is_valid);
        out.arm(Timer::GiveUp, config.patience.clone());
        for to in &config.servers {
            out.send(*to, Message::Lock(self.attempt(config)));
        }
    }

    fn on_locked(
        &mut self,
        config: &Config,
        from: NodeId,
        attempt: Attempt,
        out: &mut Out<'_, Self>,
    ) {
        let is_current = attempt == self.attempt(config);
        let Phase::Asks(locked) = &mut self.phase else { return };
        if !is_current {
            return;
        }
        locked.insert(from);
        let needed = majority(config.servers.len());
        let needed = if config.mutants.has("takes_one_for_all") { 1 } else { needed };
        if locked.len() >= needed {
            self.phase = Phase::Inside;
            out.disarm(Timer::GiveUp);
            out.arm(Timer::Leave, config.stays.clone());
        }
    }

    fn unlock(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        for timer in [Timer::Invalid, Timer::GiveUp, Timer::Leave] {
            out.disarm(timer);
        }
        // All of them: one whose answer was lost is locked as well.
        for to in &config.servers {
            out.send(*to, Message::Unlock(self.attempt(config)));
        }
    }

    fn give_up(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.unlock(config, out);
        self.phase = Phase::Waits;
        out.arm(Timer::Again, config.backoff.clone());
    }

    fn leave(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.unlock(config, out);
        self.phase = Phase::Idle;
        if let Some(id) = self.wanted.pop_front() {
            out.reply(id, ());
        }
        if !self.wanted.is_empty() {
            self.phase = Phase::Waits;
            out.arm(Timer::Again, config.backoff.clone());
        }
    }
}

impl Protocol for Redlock {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = ();
    type Durable = ();
    /// Enter, and leave again. Put to clients.
    type Request = ();
    type Response = ();

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover(_: &Config, (): (), _: &mut Out<'_, Self>) -> Self {
        Redlock { locked: None, phase: Phase::Idle, attempts: 0, wanted: VecDeque::new() }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: () } => {
                self.wanted.push_back(id);
                if self.phase == Phase::Idle {
                    self.try_to_lock(config, out);
                }
            }
            Input::Fire(Timer::Expire) => self.locked = None,
            Input::Fire(Timer::Invalid | Timer::GiveUp) => self.give_up(config, out),
            Input::Fire(Timer::Again) => self.try_to_lock(config, out),
            Input::Fire(Timer::Leave) => self.leave(config, out),
            Input::Deliver { from, message } => match message {
                Message::Lock(attempt) => self.on_lock(config, from, attempt, out),
                Message::Locked(attempt) => self.on_locked(config, from, attempt, out),
                Message::Unlock(attempt) => self.on_unlock(config, attempt, out),
            },
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        match (&self.phase, self.locked) {
            (Phase::Idle, Some(attempt)) => format!("locked for {attempt:?}"),
            (Phase::Idle, None) => "idle".to_owned(),
            (Phase::Asks(locked), _) => format!("asking, has {}", locked.len()),
            (Phase::Waits, _) => "waiting".to_owned(),
            (Phase::Inside, _) => "inside".to_owned(),
        }
    }
}
