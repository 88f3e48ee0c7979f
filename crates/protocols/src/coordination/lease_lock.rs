//! Lease lock with fencing: a lock that is held for a time, and a store that knows whose time is over.
//!
//! Source: Burrows, "The Chubby lock service for loosely-coupled distributed systems", 2006, section 2.4 (sequencers);
//! Gray and Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed file cache consistency", 1989.
//! Model: asynchronous; messages are lost, repeated and reordered; nodes crash and come back, stand still, and have clocks that
//! are wrong.
//! Safety: no two leases have the same token; once a write under a later lease is accepted, none under an earlier one is.
//! Liveness: every write is accepted in the end. Needs: messages that arrive, and leases longer than a write takes.
//! Explored without asking again, as tokens would have no end.
//! Departures: one server stands for Chubby's five; the store compares tokens by itself, rather than ask the lock service.
//! Omitted: sessions that are kept alive, lock delay, locks that are shared.
//! Cost: 4 message delays to a write that is accepted, 5 messages with the release.
//! Boundary: that no two believe to hold the lock is not to be had, and is not claimed: see a goal of the exploration. It
//! takes the store to know better (the trace `a_store_without_fencing`).
//! Read next: `LeaseLock::on_write`, then the trace `paused_beyond_its_lease`.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// The number of a lease. Later leases have higher ones.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What is written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Value(pub u64);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node: the lock service, the store, or one of the holders to be.
    pub me: NodeId,
    /// Who grants leases.
    pub service: NodeId,
    /// Who takes writes.
    pub store: NodeId,
    /// How long a lease lasts, at the service.
    pub lease: Duration,
    /// How long its holder counts on it: less, as it hears of it later.
    pub counts_on: Duration,
    /// How long a holder works before it writes.
    pub works: Range<Duration>,
    /// After how long what was not answered is asked again.
    pub retry: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// What nodes send each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// To the service: let me have the lock.
    Acquire,
    /// From the service: you have it, by this lease.
    Granted(Token),
    /// To the service: this lease is not needed any more.
    Release(Token),
    /// To the store: write this, under this lease.
    Write(Token, Value),
    /// From the store: what came under this lease is written.
    Accepted(Token),
    /// From the store: something was written under a later lease.
    Refused(Token),
}

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Of the service: the lease is over.
    Expire,
    /// Of a holder: its lease is over, as far as it knows.
    Lapse,
    /// Of a holder: its work is done, and it writes.
    Work,
    /// Of a holder: there was no answer.
    Retry,
}

/// What must survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The service has given this token out.
    Issued(Token),
    /// The store has accepted a write.
    Stored(Stored),
}

/// What the store has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stored {
    /// How many writes it has accepted.
    pub version: u64,
    /// Under which lease the last of them came.
    pub token: Token,
    /// What that was.
    pub value: Value,
}

/// What a node knows after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    issued: Token,
    stored: Stored,
}

/// A lease, as the service has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Lease {
    /// Whose it is. None if a crash has had the service forget it.
    of: Option<NodeId>,
    token: Token,
}

/// What a holder is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    /// It waits for a lease.
    Asks,
    /// It has one, and works.
    Works(Token),
    /// It waits for the store.
    Writes(Token),
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseLock {
    durable: Durable,
    /// Of the service.
    lease: Option<Lease>,
    /// Of the service: who waits.
    queue: VecDeque<NodeId>,
    /// Of a holder.
    phase: Phase,
    /// Of a holder: what its clients want written.
    wanted: VecDeque<(RequestId, Value)>,
}

impl LeaseLock {
    /// What the store has.
    pub fn stored(&self) -> Stored {
        self.durable.stored
    }

    /// The lease that a holder believes to have.
    pub fn holds(&self) -> Option<Token> {
        match self.phase {
            Phase::Works(token) | Phase::Writes(token) => Some(token),
            Phase::Idle | Phase::Asks => None,
        }
    }

    /// Whether its clients want something written.
    pub fn wants(&self) -> bool {
        !self.wanted.is_empty()
    }

    // The service.

    fn on_acquire(&mut self, config: &Config, from: NodeId, out: &mut Out<'_, Self>) {
        match self.lease {
            Some(Lease { of: Some(of), token }) if of == from => {
                out.send(from, Message::Granted(token))
            }
            _ if self.queue.contains(&from) => {}
            _ => {
                self.queue.push_back(from);
                self.grant(config, out);
            }
        }
    }

    fn grant(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if self.lease.is_some() {
            return;
        }
        let Some(of) = self.queue.pop_front() else { return };
        let token = Token(self.durable.issued.0 + 1);
        self.durable.issued = token;
        // The token is worth something only if none is ever given out twice, whatever crashes.
        if !config.mutants.has("forgets_its_tokens") {
            out.persist(Record::Issued(token));
        }
        self.lease = Some(Lease { of: Some(of), token });
        out.send(of, Message::Granted(token));
        if !config.mutants.has("never_expires") {
            out.arm(Timer::Expire, config.lease..config.lease);
        }
    }

    fn end_lease(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.lease = None;
        out.disarm(Timer::Expire);
        self.grant(config, out);
    }

    // The store.

    /// A write is accepted unless one under a later lease was: section 2.4. The store needs no clock for that.
    fn on_write(
        &mut self,
        config: &Config,
        from: NodeId,
        token: Token,
        value: Value,
        out: &mut Out<'_, Self>,
    ) {
        let Stored { version, token: newest, value: known } = self.durable.stored;
        if token < newest && !config.mutants.has("ignores_the_token") {
            return out.send(from, Message::Refused(token));
        }
        if (token, value) != (newest, known) {
            self.durable.stored = Stored { version: version + 1, token, value };
            out.persist(Record::Stored(self.durable.stored));
        }
        out.send(from, Message::Accepted(token));
    }

    // A holder.

    fn acquire(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.phase = Phase::Asks;
        out.disarm(Timer::Work);
        out.disarm(Timer::Lapse);
        out.send(config.service, Message::Acquire);
        out.arm(Timer::Retry, config.retry.clone());
    }

    fn on_granted(&mut self, config: &Config, token: Token, out: &mut Out<'_, Self>) {
        if self.phase == Phase::Asks {
            self.phase = Phase::Works(token);
            out.disarm(Timer::Retry);
            out.arm(Timer::Work, config.works.clone());
            out.arm(Timer::Lapse, config.counts_on..config.counts_on);
        } else if self.holds() != Some(token) {
            out.send(config.service, Message::Release(token));
        }
    }

    fn write(&mut self, config: &Config, token: Token, out: &mut Out<'_, Self>) {
        if let Some((_, value)) = self.wanted.front() {
            self.phase = Phase::Writes(token);
            out.send(config.store, Message::Write(token, *value));
            out.arm(Timer::Retry, config.retry.clone());
        }
    }

    fn on_accepted(&mut self, config: &Config, token: Token, out: &mut Out<'_, Self>) {
        if self.phase != Phase::Writes(token) {
            return;
        }
        if let Some((id, _)) = self.wanted.pop_front() {
            out.reply(id, token);
        }
        out.send(config.service, Message::Release(token));
        out.disarm(Timer::Retry);
        out.disarm(Timer::Lapse);
        match self.wanted.is_empty() {
            true => self.phase = Phase::Idle,
            false => self.acquire(config, out),
        }
    }

    fn on_refused(&mut self, config: &Config, token: Token, out: &mut Out<'_, Self>) {
        if self.phase == Phase::Writes(token) {
            self.acquire(config, out);
        }
    }

    fn on_timer(&mut self, config: &Config, timer: Timer, out: &mut Out<'_, Self>) {
        match (timer, self.phase) {
            (Timer::Expire, _) => self.end_lease(config, out),
            (Timer::Work, Phase::Works(token)) => self.write(config, token, out),
            (Timer::Retry, Phase::Writes(token)) => self.write(config, token, out),
            (Timer::Retry, Phase::Asks) => self.acquire(config, out),
            (Timer::Lapse, Phase::Works(_) | Phase::Writes(_)) => self.acquire(config, out),
            _ => {}
        }
    }
}

impl Protocol for LeaseLock {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;
    type Durable = Durable;
    /// Write this under the lock. Put to holders to be; the answer is the lease under which it was accepted.
    type Request = Value;
    type Response = Token;

    fn fold(durable: &mut Durable, _: u64, record: Record) {
        match record {
            Record::Issued(token) => durable.issued = token,
            Record::Stored(stored) => durable.stored = stored,
        }
    }

    fn recover(config: &Config, durable: Durable, out: &mut Out<'_, Self>) -> Self {
        // A service that has crashed doesn't know who holds the last lease, nor whether anybody does, and waits until it
        // must be over.
        let last = Lease { of: None, token: durable.issued };
        let lease = (durable.issued > Token(0)).then_some(last);
        if lease.is_some() {
            out.arm(Timer::Expire, config.lease..config.lease);
        }
        let (queue, wanted) = (VecDeque::new(), VecDeque::new());
        LeaseLock { durable, lease, queue, phase: Phase::Idle, wanted }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request } => {
                self.wanted.push_back((id, request));
                if self.phase == Phase::Idle {
                    self.acquire(config, out);
                }
            }
            Input::Fire(timer) => self.on_timer(config, timer, out),
            Input::Deliver { from, message } => match message {
                Message::Acquire => self.on_acquire(config, from, out),
                Message::Granted(token) => self.on_granted(config, token, out),
                Message::Release(token) => {
                    if self.lease.is_some_and(|lease| lease.token == token) {
                        self.end_lease(config, out);
                    }
                }
                Message::Write(token, value) => self.on_write(config, from, token, value, out),
                Message::Accepted(token) => self.on_accepted(config, token, out),
                Message::Refused(token) => self.on_refused(config, token, out),
            },
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.lease.map(|Lease { of, token }| match of {
            Some(of) => format!("lent to {of} by {token:?}"),
            None => format!("lent to somebody by {token:?}"),
        }));
        if !self.queue.is_empty() {
            let queue: Vec<String> = self.queue.iter().map(NodeId::to_string).collect();
            words.push(format!("putting off {}", queue.join(" ")));
        }
        let Stored { version, token, value } = self.durable.stored;
        if version > 0 {
            words.push(format!("storing {value:?} of {token:?}"));
        }
        match self.phase {
            Phase::Idle => {}
            Phase::Asks => words.push("asking".to_owned()),
            Phase::Works(token) => words.push(format!("working under {token:?}")),
            Phase::Writes(token) => words.push(format!("writing under {token:?}")),
        }
        if words.is_empty() { "idle".to_owned() } else { words.join(", ") }
    }
}
