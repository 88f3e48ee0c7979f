//! TrueTime with commit wait: clocks that say how wrong they may be, and transactions whose timestamps follow real time
//! because each waits until its own is past everywhere.
//!
//! Source: Corbett et al., "Spanner: Google's globally-distributed database", 2012, sections 3 and 4.1.2.
//! Model: nodes don't fail; messages are lost, repeated and reordered. Each node has a clock that counts the ticks of its
//! oscillator and shows the true time give or take ε, at any moment. What happens between two ticks happens at the first.
//! Safety: external consistency, a transaction that begins after another has committed has the greater timestamp.
//! Liveness: every transaction commits. Needs: a majority that is reached in the end, and clocks that go on.
//! Departures: a transaction's writes are copied to a majority by its coordinator itself, where Spanner has Paxos; ε is the
//! same throughout, where Spanner's grows until clocks are set again.
//! Omitted: locks, transactions over several groups, reads at a timestamp.
//! Cost: 2 message delays and 2(n − 1) messages; and no less than 2ε, which passes while messages are under way.
//! Boundary: with a wait of less than 2ε, or an oscillator that is worse than ε allows, a transaction is stamped before
//! another that had committed already (the traces `commit_wait_left_out` and `one_bad_oscillator`).
//! Read next: `TrueTime::begin` and `TrueTime::commit_what_may`, then the trace `one_after_the_other`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::quorum::majority;
use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// A moment, in milliseconds: what a clock shows, a bound of the true time, or a timestamp.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What TT.now() returns: the true time is no earlier than one and no later than the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The true time is this or later.
    pub earliest: Moment,
    /// The true time is this or earlier.
    pub latest: Moment,
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// The others, who keep copies.
    pub others: Vec<NodeId>,
    /// What its clock shows when it starts.
    pub starts_at: Moment,
    /// What it shows at the most: there it stays.
    pub ends_at: Moment,
    /// How much more it shows after each tick.
    pub tick_ms: u64,
    /// How long its oscillator takes for a tick.
    pub tick: Range<Duration>,
    /// How wrong a clock may be.
    pub epsilon_ms: u64,
    /// How long a transaction waits: more than this must have passed on the clock since it got its timestamp. Twice ε.
    pub wait_ms: u64,
    /// How long a coordinator waits before it sends its writes again.
    pub patience: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// What nodes send each other, each about the transaction of that number of its coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Keep a copy of what is written, at that timestamp.
    Write(u64, Moment),
    /// A copy is kept.
    Written(u64),
}

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The oscillator has gone round.
    Tick,
    /// Writes that too few have a copy of are sent again.
    Retry,
}

/// A client wants a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Begin;

/// It has committed, at this timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Committed(pub Moment);

/// A transaction at its coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// Its timestamp.
    pub timestamp: Moment,
    /// How long it took to commit by the coordinator's clock, in milliseconds. None until it has.
    pub took_ms: Option<u64>,
    /// What the clock showed when it began.
    began: Moment,
    /// The others that have a copy.
    copies: BTreeSet<NodeId>,
    asked: RequestId,
}

/// A node with a clock that knows its uncertainty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrueTime {
    /// What the clock shows.
    clock: Moment,
    /// The transactions that this node coordinates, by number.
    transactions: BTreeMap<u64, Transaction>,
}

impl TrueTime {
    /// What the node's clock shows.
    pub fn clock(&self) -> Moment {
        self.clock
    }

    /// The transactions that began here, by number.
    pub fn transactions(&self) -> &BTreeMap<u64, Transaction> {
        &self.transactions
    }

    /// TT.now(), section 3.
    fn now(&self, config: &Config) -> Interval {
        let Moment(shown) = self.clock;
        Interval {
            earliest: Moment(shown.saturating_sub(config.epsilon_ms)),
            latest: Moment(shown + config.epsilon_ms),
        }
    }

    /// Section 4.1.2, Start: the timestamp is no less than TT.now().latest, taken after the request has arrived.
    fn begin(&mut self, config: &Config, asked: RequestId, out: &mut Out<'_, Self>) {
        let newest = self.transactions.values().map(|transaction| transaction.timestamp).max();
        let least = newest.map_or(Moment(0), |Moment(newest)| Moment(newest + 1));
        let now = self.now(config);
        let latest =
            if config.mutants.has("takes_the_earliest") { now.earliest } else { now.latest };
        let timestamp = latest.max(least);
        let number = self.transactions.len() as u64 + 1;
        let transaction = Transaction {
            timestamp,
            took_ms: None,
            began: self.clock,
            copies: BTreeSet::new(),
            asked,
        };
        self.transactions.insert(number, transaction);
        self.send_copies(config, out);
        out.arm(Timer::Retry, config.patience.clone());
    }

    fn send_copies(&self, config: &Config, out: &mut Out<'_, Self>) {
        for (number, transaction) in self.transactions.iter().filter(|(_, it)| it.took_ms.is_none())
        {
            for to in config.others.iter().filter(|to| !transaction.copies.contains(to)) {
                out.send(*to, Message::Write(*number, transaction.timestamp));
            }
        }
    }

    /// Section 4.1.2, Commit wait: nobody sees what was committed until TT.after(s), when s is certainly past. The wait begins
    /// with the timestamp, so that it passes while copies are made.
    fn commit_what_may(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let clock = self.clock;
        let needed = majority(config.others.len() + 1) - 1;
        for transaction in self.transactions.values_mut().filter(|it| it.took_ms.is_none()) {
            // With a wait of 2ε this is TT.now().earliest > s.
            let waited_from = transaction.timestamp.0.saturating_sub(config.epsilon_ms);
            let has_waited =
                clock.0 > waited_from + config.wait_ms || config.mutants.has("no_commit_wait");
            if has_waited && transaction.copies.len() >= needed {
                transaction.took_ms = Some(clock.0 - transaction.began.0);
                out.reply(transaction.asked, Committed(transaction.timestamp));
            }
        }
    }
}

impl Protocol for TrueTime {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = ();
    type Durable = ();
    type Request = Begin;
    type Response = Committed;

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover(config: &Config, (): (), out: &mut Out<'_, Self>) -> Self {
        out.arm(Timer::Tick, config.tick.clone());
        TrueTime { clock: config.starts_at, transactions: BTreeMap::new() }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: Begin } => self.begin(config, id, out),
            Input::Deliver { from, message: Message::Write(number, _) } => {
                out.send(from, Message::Written(number));
            }
            Input::Deliver { from, message: Message::Written(number) } => {
                if let Some(transaction) = self.transactions.get_mut(&number) {
                    transaction.copies.insert(from);
                }
            }
            Input::Fire(Timer::Tick) => {
                self.clock = Moment(self.clock.0 + config.tick_ms).min(config.ends_at);
                out.arm(Timer::Tick, config.tick.clone());
            }
            Input::Fire(Timer::Retry) => {
                let is_due = self.transactions.values().any(|it| it.took_ms.is_none());
                if is_due && !config.mutants.has("sends_once") {
                    self.send_copies(config, out);
                    out.arm(Timer::Retry, config.patience.clone());
                }
            }
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
        self.commit_what_may(config, out);
    }

    fn view(&self) -> String {
        let words = self.transactions.iter().map(|(number, transaction)| {
            let Transaction { timestamp, took_ms, .. } = transaction;
            match took_ms {
                None => format!("committing {number} at {timestamp:?}"),
                Some(took) => format!("done with {number} at {timestamp:?} after {took} ms"),
            }
        });
        let words: Vec<String> = words.collect();
        if words.is_empty() { "idle".to_owned() } else { words.join(", ") }
    }
}
