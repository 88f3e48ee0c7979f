//! Double barrier: nobody goes in before all have come, and nobody goes out before all are done; or all are told that some
//! did not come in time.
//!
//! Source: Hunt, Konar, Junqueira and Reed, "ZooKeeper: wait-free coordination for internet-scale systems", 2010, section
//! 2.4 (double barriers).
//! Model: asynchronous; messages are lost, repeated and reordered; nodes crash and come back.
//! Safety: a door opens only for those who have all come to it, each counted once; it is open for all or broken for all.
//! Liveness: whoever comes to a door is told. Needs: messages that arrive, and a time after which the door breaks.
//! Departures: one counter in the place of ZooKeeper; each round has a number and two doors. The first door alone is a
//! barrier; with its timeout it is a rendezvous.
//! Omitted: members that join and leave.
//! Cost: 2 message delays for each door, from the last to come; 2 messages for each member.
//! Boundary: without a timeout a member that dies inside keeps all others there (the trace `without_a_timeout`). With one, who
//! is slow is taken for dead, and what is broken stays so.
//! Read next: `Barrier::on_arrive`, then the trace `all_come`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// One of the two doors of a round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Door {
    /// The round.
    pub round: u64,
    /// Whether it is the door by which one leaves.
    pub is_exit: bool,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_exit { "exit" } else { "entry" }, self.round)
    }
}

/// What is decided of a door, for all members and for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// All have come.
    Open,
    /// Some did not come in time.
    Broken,
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// Who counts. No member.
    pub counter: NodeId,
    /// The members.
    pub members: Vec<NodeId>,
    /// How long the first to come to a door waits for the last. None if for ever.
    pub timeout: Option<Range<Duration>>,
    /// How long members work inside.
    pub works: Range<Duration>,
    /// After how long a member that was told nothing says again that it has come.
    pub retry: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// What members and the counter send each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// To the counter: I have come to this door.
    Arrive(Door),
    /// From the counter: what is decided of it.
    Decided(Door, Verdict),
}

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Of the counter: who has not come to the door will not.
    GiveUp,
    /// Of a member: it has been told nothing.
    Retry,
    /// Of a member: its work is done.
    Done,
}

/// What must survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// What the counter has decided.
    Decided(Door, Verdict),
    /// Of a member: this round has begun.
    Round(u64),
}

/// What a node knows after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    decided: BTreeMap<Door, Verdict>,
    round: u64,
}

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Outside.
    Outside,
    /// At a door.
    At(Door),
    /// Inside, in this round.
    Inside(u64),
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Barrier {
    durable: Durable,
    /// Of the counter: who has come to each door that is not decided. Who comes twice is there once.
    arrived: BTreeMap<Door, Vec<NodeId>>,
    place: Place,
    /// Of a member: the last that it was told.
    told: Option<(Door, Verdict)>,
    wanted: VecDeque<RequestId>,
}

impl Barrier {
    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The last that it was told.
    pub fn told(&self) -> Option<(Door, Verdict)> {
        self.told
    }

    // The counter.

    fn on_arrive(&mut self, config: &Config, from: NodeId, door: Door, out: &mut Out<'_, Self>) {
        if let Some(verdict) = self.durable.decided.get(&door) {
            if !config.mutants.has("tells_once") {
                out.send(from, Message::Decided(door, *verdict));
            }
            return;
        }
        if !config.members.contains(&from) {
            return;
        }
        let waits_already = !self.arrived.is_empty();
        let arrived = self.arrived.entry(door).or_default();
        if !arrived.contains(&from) || config.mutants.has("counts_a_member_twice") {
            arrived.push(from);
        }
        if arrived.len() >= config.members.len() {
            self.decide(config, door, Verdict::Open, out);
        } else if let (false, Some(timeout)) = (waits_already, &config.timeout) {
            out.arm(Timer::GiveUp, timeout.clone());
        }
    }

    /// What is decided is so for all, and durable before the first of them hears of it.
    fn decide(&mut self, config: &Config, door: Door, verdict: Verdict, out: &mut Out<'_, Self>) {
        self.arrived.remove(&door);
        self.durable.decided.insert(door, verdict);
        out.persist(Record::Decided(door, verdict));
        for to in &config.members {
            out.send(*to, Message::Decided(door, verdict));
        }
        match (&config.timeout, self.arrived.is_empty()) {
            (Some(timeout), false) => out.arm(Timer::GiveUp, timeout.clone()),
            _ => out.disarm(Timer::GiveUp),
        }
    }

    fn give_up(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Some((door, arrived)) = self.arrived.first_key_value() else { return };
        if config.mutants.has("forgets_what_it_tells") {
            for to in arrived {
                out.send(*to, Message::Decided(*door, Verdict::Broken));
            }
            return;
        }
        self.decide(config, *door, Verdict::Broken, out);
    }

    // A member.

    fn come(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if self.wanted.is_empty() {
            return;
        }
        self.durable.round += 1;
        out.persist(Record::Round(self.durable.round));
        self.wait_at(config, Door { round: self.durable.round, is_exit: false }, out);
    }

    fn wait_at(&mut self, config: &Config, door: Door, out: &mut Out<'_, Self>) {
        self.place = Place::At(door);
        out.send(config.counter, Message::Arrive(door));
        out.arm(Timer::Retry, config.retry.clone());
    }

    fn on_decided(
        &mut self,
        config: &Config,
        door: Door,
        verdict: Verdict,
        out: &mut Out<'_, Self>,
    ) {
        if self.place != Place::At(door) {
            return;
        }
        self.told = Some((door, verdict));
        out.disarm(Timer::Retry);
        if verdict == Verdict::Open && !door.is_exit {
            self.place = Place::Inside(door.round);
            out.arm(Timer::Done, config.works.clone());
            return;
        }
        self.place = Place::Outside;
        if let Some(id) = self.wanted.pop_front() {
            out.reply(id, verdict);
        }
        self.come(config, out);
    }

    fn on_timer(&mut self, config: &Config, timer: Timer, out: &mut Out<'_, Self>) {
        match (timer, self.place) {
            (Timer::GiveUp, _) => self.give_up(config, out),
            (Timer::Retry, Place::At(door)) => self.wait_at(config, door, out),
            (Timer::Done, Place::Inside(round)) => {
                self.wait_at(config, Door { round, is_exit: true }, out);
            }
            _ => {}
        }
    }
}

impl Protocol for Barrier {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;
    type Durable = Durable;
    /// Meet the others: go in with them, and out with them. The answer is what the last door was.
    type Request = ();
    type Response = Verdict;

    fn fold(durable: &mut Durable, _: u64, record: Record) {
        match record {
            Record::Decided(door, verdict) => {
                durable.decided.insert(door, verdict);
            }
            Record::Round(round) => durable.round = round,
        }
    }

    fn recover(_: &Config, durable: Durable, _: &mut Out<'_, Self>) -> Self {
        Barrier {
            durable,
            arrived: BTreeMap::new(),
            place: Place::Outside,
            told: None,
            wanted: VecDeque::new(),
        }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: () } => {
                self.wanted.push_back(id);
                if self.place == Place::Outside {
                    self.come(config, out);
                }
            }
            Input::Fire(timer) => self.on_timer(config, timer, out),
            Input::Deliver { from, message: Message::Arrive(door) } => {
                self.on_arrive(config, from, door, out);
            }
            Input::Deliver { message: Message::Decided(door, verdict), .. } => {
                self.on_decided(config, door, verdict, out);
            }
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        let words =
            |(door, by): (&Door, &Vec<NodeId>)| format!("counting {} at {door:?}", by.len());
        let arrived: Vec<String> = self.arrived.iter().map(words).collect();
        match (self.place, self.durable.decided.last_key_value()) {
            _ if !arrived.is_empty() => arrived.join(", "),
            (_, Some((door, verdict))) => format!("decided, {door:?} {verdict:?}"),
            (Place::Outside, None) => "outside".to_owned(),
            (Place::At(door), None) => format!("at {door:?}"),
            (Place::Inside(round), None) => format!("inside, round {round}"),
        }
    }
}
