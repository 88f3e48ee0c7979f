//! Hybrid logical clock: stamps that respect what happened before what, as Lamport's, and stay as near to physical time as the
//! clocks of the nodes are to each other.
//!
//! Source: Kulkarni, Demirbas, Madappa, Avva and Leone, "Logical physical clocks and consistent snapshots in globally
//! distributed databases", 2014, figure 5.
//! Model: asynchronous; messages are lost, repeated and reordered; the stamp survives a crash. Each node has a physical clock
//! that counts the ticks of its oscillator: what happens between two ticks happens at the first of them. Clocks may be set
//! back; a crash sets a clock back to where it started.
//! Safety: the clock condition; stamps of a node go up, whatever its clock does; the physical part of a stamp is a reading
//! that some clock has shown before, and no less than what the node's own shows. So it is ahead of the node's clock by no
//! more than the clocks are apart.
//! Omitted: a bound on how far ahead a message may be before it is refused; the packing into 64 bits.
//! Cost: no message of its own; two numbers in each.
//! Boundary: counting within the physical part, as the paper's first attempt does (its figure 3), runs ahead of all clocks
//! when events come faster than ticks.
//! Read next: `Hybrid::hear`, then the trace `the_clock_jumps_back`.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol};

use super::vector::Vector;

/// What a physical clock shows, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Physical(pub u64);

/// A moment: the newest reading that is known, and a counter of what happened since.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The physical part, which the paper calls l.
    pub physical: Physical,
    /// The logical part, which the paper calls c.
    pub counter: u64,
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.physical.0, self.counter)
    }
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// The others, who are told of what happens here.
    pub others: Vec<NodeId>,
    /// What its physical clock shows when it starts.
    pub starts_at: Physical,
    /// How much more it shows after each tick.
    pub tick_ms: u64,
    /// How long its oscillator takes for a tick.
    pub tick: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// A message, which is the event of its sending.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// When it was sent.
    pub stamp: Stamp,
    /// For the judges: all that happened before its arrival, its sending included.
    pub past: Vector,
    /// For the judges: the newest reading that any of those events had.
    pub newest: Physical,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sent at {:?}", self.stamp)
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Something happens here, and all the others are told.
    Tell,
    /// The physical clock is set back by so many milliseconds.
    SetBack(u64),
}

/// Something that happened at a node.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// When, by the hybrid clock.
    pub stamp: Stamp,
    /// When, by the node's physical clock.
    pub reading: Physical,
    /// For the judges: what happened before it, itself included.
    pub past: Vector,
    /// For the judges: the newest reading among those.
    pub newest: Physical,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} where the clock shows {}", self.stamp, self.reading.0)
    }
}

/// A node with a hybrid logical clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hybrid {
    reading: Physical,
    clock: Stamp,
    past: Vector,
    newest: Physical,
    events: Vec<Event>,
}

impl Hybrid {
    /// All that has happened here.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Something happens here.
    fn happen(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let physical = self.clock.physical.max(self.reading);
        let counter = if physical == self.clock.physical { self.clock.counter + 1 } else { 0 };
        self.note(config, Stamp { physical, counter }, out);
    }

    /// A message arrives.
    fn hear(&mut self, config: &Config, message: Message, out: &mut Out<'_, Self>) {
        let Message { stamp, past, newest } = message;
        self.past.merge(&past);
        self.newest = self.newest.max(newest);
        if config.mutants.has("ignores_what_it_hears") {
            return self.happen(config, out);
        }
        let own = self.clock;
        let physical = own.physical.max(stamp.physical).max(self.reading);
        // The counter starts anew only when the physical part has passed both of those that it must be after.
        let after = [own, stamp].into_iter().filter(|it| it.physical == physical);
        let counter = after.map(|it| it.counter + 1).max().unwrap_or(0);
        self.note(config, Stamp { physical, counter }, out);
    }

    fn note(&mut self, config: &Config, stamp: Stamp, out: &mut Out<'_, Self>) {
        let stamp = if config.mutants.has("physical_part_only") {
            Stamp { physical: self.reading, counter: 0 }
        } else if config.mutants.has("counts_in_the_physical_part") {
            Stamp { physical: Physical(stamp.physical.0 + stamp.counter.min(1)), counter: 0 }
        } else {
            stamp
        };
        self.clock = stamp;
        self.past.count_up(config.me);
        self.newest = self.newest.max(self.reading);
        let (reading, past, newest) = (self.reading, self.past.clone(), self.newest);
        let event = Event { stamp, reading, past, newest };
        self.events.push(event.clone());
        out.persist(event);
    }
}

/// The oscillator has gone round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick;

impl Protocol for Hybrid {
    type Config = Config;
    type Message = Message;
    type Timer = Tick;
    type Record = Event;
    type Durable = Vec<Event>;
    type Request = Request;
    type Response = Stamp;

    fn fold(durable: &mut Vec<Event>, _: u64, event: Event) {
        durable.push(event);
    }

    fn recover(config: &Config, events: Vec<Event>, out: &mut Out<'_, Self>) -> Self {
        out.arm(Tick, config.tick.clone());
        let last = events.last();
        let is_forgetful = config.mutants.has("forgets_its_stamp");
        Hybrid {
            reading: config.starts_at,
            clock: last.filter(|_| !is_forgetful).map(|event| event.stamp).unwrap_or_default(),
            past: last.map(|event| event.past.clone()).unwrap_or_default(),
            newest: last.map(|event| event.newest).unwrap_or_default(),
            events,
        }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: Request::Tell } => {
                self.happen(config, out);
                for to in &config.others {
                    let (past, newest) = (self.past.clone(), self.newest);
                    out.send(*to, Message { stamp: self.clock, past, newest });
                }
                out.reply(id, self.clock);
            }
            Input::Ask { id, request: Request::SetBack(by_ms) } => {
                self.reading = Physical(self.reading.0.saturating_sub(by_ms));
                out.reply(id, self.clock);
            }
            Input::Deliver { message, .. } => self.hear(config, message, out),
            Input::Fire(Tick) => {
                self.reading.0 += config.tick_ms;
                out.arm(Tick, config.tick.clone());
            }
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        match self.events.last() {
            Some(event) => format!("at {event:?}"),
            None => "at the start".to_owned(),
        }
    }
}
