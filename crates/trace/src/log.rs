//! The step log: everything that happened in a run, typed, in order.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use quorate_core::{NodeId, RequestId};

use crate::label::{Label, printable};
use crate::steps::Steps;

/// One copy of a message on its way, which ties what becomes of it to its sending. Counted from zero in each log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u32);

/// How the events of a log are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// At the times that whoever ran it has set, in the simulation's virtual time.
    Virtual,
    /// There is no time, only order: each step comes one nanosecond, the unit of this clock, after the last.
    Order,
}

/// Why a message does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The link was cut when it was sent, or while it was on its way.
    Cut,
    /// The network lost it.
    Dropped,
    /// The receiver was down.
    Down,
    /// The receiver could not read it: its version doesn't know what it says.
    Unread,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Cut => "cut",
            Why::Dropped => "dropped",
            Why::Down => "down",
            Why::Unread => "unread",
        })
    }
}

/// A message that was sent, or a second copy of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its sender.
    pub from: NodeId,
    /// Its receiver.
    pub to: NodeId,
    /// What it says.
    pub label: Label,
    /// The message that the network has made this one a copy of.
    pub copy_of: Option<MessageId>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, since the run began. See [`Clock`].
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What can happen. A node's step begins with one of its inputs ([`What::is_input`]), goes on with its effects
/// ([`What::is_effect`]), and ends with its [`What::View`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "what a field is, its variant's line and its type say")]
pub enum What {
    /// Input: a node starts, with so many records on its disk.
    Boot { node: NodeId, records: u64 },
    /// Input: a message arrives.
    Deliver { node: NodeId, message: MessageId },
    /// Input: a timer runs out.
    Fire { node: NodeId, timer: Label },
    /// Input: a client asks.
    Ask { node: NodeId, id: RequestId, request: Label },
    /// Input: the node's records are durable up to that one.
    Synced { node: NodeId, upto: u64 },
    /// Input: the node is told that it lost its connection with a peer.
    PeerLost { node: NodeId, peer: NodeId },
    /// Effect: a message leaves.
    Send { node: NodeId, message: MessageId },
    /// Effect: an answer leaves.
    Reply { node: NodeId, id: RequestId, response: Label },
    /// Effect: a record goes to the disk, and is not durable yet. Records are counted as `Synced` counts them.
    Persist { node: NodeId, number: u64, record: Label },
    /// Effect: a timer is set, to fire at that time if the world knows it by now.
    Arm { node: NodeId, timer: Label, due: Option<Duration> },
    /// Effect: a timer is unset.
    Disarm { node: NodeId, timer: Label },
    /// Effect: the disk may forget the records before that one.
    Release { node: NodeId, before: u64 },
    /// Effect: the node draws a number.
    Choose { node: NodeId, chosen: u32, bound: u32 },
    /// The network makes a second copy of a message.
    Duplicate { message: MessageId, copy: MessageId },
    /// A message will not arrive.
    Lose { message: MessageId, why: Why },
    /// The end of a step: the node's state in one line.
    View { node: NodeId, view: String },
    /// A node stops. Its disk forgets the newest `lost` records, none of which was durable.
    Crash { node: NodeId, down: Option<Duration>, lost: u64 },
    /// A node stands still, for a time if that is known.
    Pause { node: NodeId, lasts: Option<Duration> },
    /// It goes on.
    Resume { node: NodeId },
    /// A fault begins.
    FaultBegins { fault: u32, what: String },
    /// A fault that lasts is over.
    FaultEnds { fault: u32 },
    /// Anything else that is worth a line.
    Note { what: String },
}

impl What {
    /// Whether a step begins with it.
    pub fn is_input(&self) -> bool {
        matches!(
            self,
            What::Boot { .. }
                | What::Deliver { .. }
                | What::Fire { .. }
                | What::Ask { .. }
                | What::Synced { .. }
                | What::PeerLost { .. }
        )
    }

    /// Whether it belongs to the step that has begun.
    pub fn is_effect(&self) -> bool {
        matches!(
            self,
            What::Send { .. }
                | What::Reply { .. }
                | What::Persist { .. }
                | What::Arm { .. }
                | What::Disarm { .. }
                | What::Release { .. }
                | What::Choose { .. }
                | What::Duplicate { .. }
                | What::Lose { .. }
                | What::View { .. }
        )
    }

    /// The node that it happens at, if it happens at one.
    pub fn node(&self) -> Option<NodeId> {
        match self {
            What::Boot { node, .. }
            | What::Deliver { node, .. }
            | What::Fire { node, .. }
            | What::Ask { node, .. }
            | What::Synced { node, .. }
            | What::PeerLost { node, .. }
            | What::Send { node, .. }
            | What::Reply { node, .. }
            | What::Persist { node, .. }
            | What::Arm { node, .. }
            | What::Disarm { node, .. }
            | What::Release { node, .. }
            | What::Choose { node, .. }
            | What::View { node, .. }
            | What::Crash { node, .. }
            | What::Pause { node, .. }
            | What::Resume { node } => Some(*node),
            What::Duplicate { .. }
            | What::Lose { .. }
            | What::FaultBegins { .. }
            | What::FaultEnds { .. }
            | What::Note { .. } => None,
        }
    }
}

/// The rule that a run broke, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The last event before it was noticed. None if nothing had happened.
    pub event: Option<usize>,
    /// The rule.
    pub rule: String,
    /// What the rule promises, in a sentence, if it is a claim of what was run.
    pub promise: Option<String>,
    /// How it was broken. May have several lines.
    pub what: String,
}

impl Failing {
    /// What to put above how it was broken.
    pub(crate) fn headline(&self) -> String {
        match &self.promise {
            Some(promise) => format!("{} was broken: {promise}", self.rule.replace('_', " ")),
            None => format!("The {} rule broke.", self.rule),
        }
    }
}

/// Everything that happened in a run.
///
/// Whoever runs it calls a method for each thing that happens: the simulator, a script, an explorer with a
/// counterexample in its hands. Nothing here is checked against the protocol: a log tells what it was told.
///
/// ```
/// use quorate_core::NodeId;
/// use quorate_trace::{StepLog, Why};
///
/// let (n1, n2) = (NodeId(1), NodeId(2));
/// let mut log = StepLog::in_order([n1, n2]);
/// log.boot(n1, 0);
/// let ping = log.send(n1, n2, "Ping term=1");
/// log.view(n1, "waiting");
/// log.lose(ping, Why::Dropped);
/// log.fail("liveness", "n1 waits for ever");
/// assert_eq!(log.steps().count(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepLog {
    clock: Clock,
    nodes: Vec<NodeId>,
    now: Duration,
    events: Vec<Event>,
    messages: Vec<Message>,
    /// The number of the newest record of each node.
    records: BTreeMap<NodeId, u64>,
    failing: Option<Failing>,
}

impl StepLog {
    /// An empty log of a run in virtual time, which [`StepLog::set_time`] tells.
    pub fn timed(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        StepLog::new(Clock::Virtual, nodes)
    }

    /// An empty log of a run that has no time, only an order.
    pub fn in_order(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        StepLog::new(Clock::Order, nodes)
    }

    fn new(clock: Clock, nodes: impl IntoIterator<Item = NodeId>) -> Self {
        StepLog {
            clock,
            nodes: nodes.into_iter().collect(),
            now: Duration::ZERO,
            events: Vec::new(),
            messages: Vec::new(),
            records: BTreeMap::new(),
            failing: None,
        }
    }

    /// How its events are spaced.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The nodes, in the order in which they are to be drawn.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// All events, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// A message by its name.
    pub fn message(&self, id: MessageId) -> &Message {
        &self.messages[id.0 as usize]
    }

    /// The number of messages, copies included.
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    /// The rule that the run broke, if it did.
    pub fn failing(&self) -> Option<&Failing> {
        self.failing.as_ref()
    }

    /// The events, a step at a time.
    pub fn steps(&self) -> Steps<'_> {
        self.steps_from(0)
    }

    /// The events from that one on, a step at a time.
    pub fn steps_from(&self, event: usize) -> Steps<'_> {
        Steps::new(&self.events, event)
    }

    /// What follows happens at that time. Time never runs backwards.
    pub fn set_time(&mut self, now: Duration) {
        assert!(self.clock == Clock::Virtual, "a log without time is told one");
        assert!(now >= self.now, "time runs forwards");
        self.now = now;
    }

    /// A node starts, with so many records on its disk; those it adds are numbered from there.
    pub fn boot(&mut self, node: NodeId, records: u64) {
        self.records.insert(node, records);
        self.push(What::Boot { node, records });
    }

    /// A message arrives at its receiver.
    pub fn deliver(&mut self, message: MessageId) {
        let node = self.message(message).to;
        self.push(What::Deliver { node, message });
    }

    /// A timer runs out.
    pub fn fire(&mut self, node: NodeId, timer: impl Into<Label>) {
        self.push(What::Fire { node, timer: timer.into() });
    }

    /// A client asks a node.
    pub fn ask(&mut self, node: NodeId, id: RequestId, request: impl Into<Label>) {
        self.push(What::Ask { node, id, request: request.into() });
    }

    /// A node's records are durable up to that one.
    pub fn synced(&mut self, node: NodeId, upto: u64) {
        self.push(What::Synced { node, upto });
    }

    /// A node is told that it lost its connection with a peer.
    pub fn peer_lost(&mut self, node: NodeId, peer: NodeId) {
        self.push(What::PeerLost { node, peer });
    }

    /// A message leaves. The name that comes back tells later what becomes of it.
    pub fn send(&mut self, node: NodeId, to: NodeId, label: impl Into<Label>) -> MessageId {
        let label = label.into();
        let message = self.add_message(Message { from: node, to, label, copy_of: None });
        self.push(What::Send { node, message });
        message
    }

    /// The network makes a second copy of a message, which has a name and a fate of its own.
    pub fn duplicate(&mut self, message: MessageId) -> MessageId {
        let copy = Message { copy_of: Some(message), ..self.message(message).clone() };
        let copy = self.add_message(copy);
        self.push(What::Duplicate { message, copy });
        copy
    }

    /// A message will not arrive.
    pub fn lose(&mut self, message: MessageId, why: Why) {
        self.push(What::Lose { message, why });
    }

    /// An answer leaves.
    pub fn reply(&mut self, node: NodeId, id: RequestId, response: impl Into<Label>) {
        self.push(What::Reply { node, id, response: response.into() });
    }

    /// A record goes to the disk.
    pub fn persist(&mut self, node: NodeId, record: impl Into<Label>) {
        let newest = self.records.entry(node).or_default();
        *newest += 1;
        let number = *newest;
        self.push(What::Persist { node, number, record: record.into() });
    }

    /// A timer is set, to fire at `due` if the world knows that by now.
    pub fn arm(&mut self, node: NodeId, timer: impl Into<Label>, due: Option<Duration>) {
        self.push(What::Arm { node, timer: timer.into(), due });
    }

    /// A timer is unset.
    pub fn disarm(&mut self, node: NodeId, timer: impl Into<Label>) {
        self.push(What::Disarm { node, timer: timer.into() });
    }

    /// A node's disk may forget the records before that one.
    pub fn release(&mut self, node: NodeId, before: u64) {
        self.push(What::Release { node, before });
    }

    /// A node draws a number below `bound`.
    pub fn choose(&mut self, node: NodeId, chosen: u32, bound: u32) {
        self.push(What::Choose { node, chosen, bound });
    }

    /// A node's step is over, and this is its state in one line. Words without `=` tell what the node is, and words with
    /// `=` tell details: `leader@3 commit=7`.
    pub fn view(&mut self, node: NodeId, view: &str) {
        self.push(What::View { node, view: printable(view) });
    }

    /// A node stops, for a time if that is known. Its disk forgets the newest `lost` records.
    pub fn crash(&mut self, node: NodeId, down: Option<Duration>, lost: u64) {
        self.push(What::Crash { node, down, lost });
    }

    /// A node stands still, for a time if that is known.
    pub fn pause(&mut self, node: NodeId, lasts: Option<Duration>) {
        self.push(What::Pause { node, lasts });
    }

    /// A node that stood still goes on.
    pub fn resume(&mut self, node: NodeId) {
        self.push(What::Resume { node });
    }

    /// A fault begins, which is known by that number.
    pub fn fault_begins(&mut self, fault: u32, what: &str) {
        self.push(What::FaultBegins { fault, what: printable(what) });
    }

    /// A fault that lasts is over.
    pub fn fault_ends(&mut self, fault: u32) {
        self.push(What::FaultEnds { fault });
    }

    /// Anything else that is worth a line.
    pub fn note(&mut self, what: &str) {
        self.push(What::Note { what: printable(what) });
    }

    /// The last thing that happened broke a rule. A log has one such thing: the first that is told.
    pub fn fail(&mut self, rule: &str, what: &str) {
        let failing = self.failing_now(rule, None, what);
        self.failing.get_or_insert(failing);
    }

    /// What broke is a claim of what was run, which promises that. Whoever runs something may know less of it and have told
    /// of a broken rule; that is told anew, and stays where it was.
    pub fn fail_claim(&mut self, claim: &str, promise: &str, what: &str) {
        let failing = self.failing_now(claim, Some(promise), what);
        let event = self.failing.as_ref().map_or(failing.event, |told| told.event);
        self.failing = Some(Failing { event, ..failing });
    }

    fn failing_now(&self, rule: &str, promise: Option<&str>, what: &str) -> Failing {
        Failing {
            event: self.events.len().checked_sub(1),
            rule: printable(rule),
            promise: promise.map(printable),
            what: what.lines().map(printable).collect::<Vec<_>>().join("\n"),
        }
    }

    fn add_message(&mut self, message: Message) -> MessageId {
        let id = u32::try_from(self.messages.len()).expect("a log has less than 2³² messages");
        self.messages.push(message);
        MessageId(id)
    }

    fn push(&mut self, what: What) {
        if self.clock == Clock::Order && !what.is_effect() {
            self.now += Duration::from_nanos(1);
        }
        self.events.push(Event { at: self.now, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId(1);
    const N2: NodeId = NodeId(2);

    fn lengths(log: &StepLog) -> Vec<usize> {
        log.steps().map(|step| step.events.len()).collect()
    }

    #[test]
    fn a_step_is_an_input_with_its_effects_up_to_the_view() {
        let mut log = StepLog::timed([N1, N2]);
        log.boot(N1, 0);
        log.persist(N1, "boot=1");
        let ping = log.send(N1, N2, "Ping");
        log.view(N1, "up");
        log.lose(ping, Why::Down);
        log.fire(N1, "Retry");
        log.view(N1, "up");
        log.crash(N1, None, 1);
        assert_eq!(lengths(&log), [4, 1, 2, 1]);
    }

    #[test]
    fn a_step_that_never_ended_is_a_step() {
        let mut log = StepLog::timed([N1]);
        log.fire(N1, "Election");
        log.persist(N1, "term=2");
        log.fail("assertion", "commit beyond the log");
        assert_eq!(lengths(&log), [2]);
        assert_eq!(log.failing().and_then(|failing| failing.event), Some(1));
    }

    #[test]
    fn records_are_numbered_from_what_the_disk_had_at_the_boot() {
        let mut log = StepLog::in_order([N1]);
        log.boot(N1, 0);
        log.persist(N1, "a");
        log.crash(N1, None, 0);
        log.boot(N1, 1);
        log.persist(N1, "b");
        let number = log.events().iter().rev().find_map(|event| match event.what {
            What::Persist { number, .. } => Some(number),
            _ => None,
        });
        assert_eq!(number, Some(2));
    }

    #[test]
    fn the_first_rule_that_broke_is_the_one() {
        let mut log = StepLog::in_order([N1]);
        log.fail("first", "");
        log.fail("second", "");
        assert_eq!(log.failing().map(|failing| failing.rule.as_str()), Some("first"));
    }

    #[test]
    fn a_claim_is_told_in_the_place_of_the_rule_and_of_its_step() {
        let mut log = StepLog::in_order([N1]);
        log.boot(N1, 0);
        log.fail("verdict", "");
        log.note("later");
        log.fail_claim("no_usurper", "One leads.", "two do");
        let failing = log.failing().expect("it failed");
        assert_eq!((failing.event, &*failing.what), (Some(0), "two do"));
        assert_eq!(failing.headline(), "no usurper was broken: One leads.");
    }

    #[test]
    fn without_time_each_step_comes_after_the_last() {
        let mut log = StepLog::in_order([N1]);
        log.boot(N1, 0);
        log.view(N1, "up");
        log.note("later");
        let times: Vec<u128> = log.events().iter().map(|event| event.at.as_nanos()).collect();
        assert_eq!(times, [1, 1, 2]);
    }
}
