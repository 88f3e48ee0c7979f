//! Vector clock: a counter of every node at every node, such that stamps say what happened before what, and what did not.
//!
//! Source: Mattern, "Virtual time and global states of distributed systems", 1989; Fidge, "Timestamps in message-passing
//! systems that preserve the partial ordering", 1988. Fewer entries than nodes: Torres-Rojas and Ahamad, "Plausible clocks:
//! constant size logical clocks for distributed systems", 1999.
//! Model: asynchronous; messages are lost, repeated and reordered; the vector survives a crash.
//! Safety: a happened before b if and only if the vector of a is less than that of b. One way this is Lamport's clock
//! condition; the other way says of two events that neither had to do with the other: that they are concurrent.
//! Departures: nodes may share an entry. With one entry for all, this is Lamport's clock.
//! Omitted: delivery in causal order, which is built on it and has a row of its own; nodes that come and go.
//! Cost: no message of its own; a number for each node in each message. It can't be had for fewer (Charron-Bost,
//! "Concerning the size of logical clocks in distributed systems", 1991).
//! Boundary: with fewer entries than nodes the clock condition stays, and some concurrent events look ordered.
//! Read next: `VectorClock::tick`, then the traces `chat_with_concurrent_lines` and `a_number_cannot_tell`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol};

/// How many events of each node are known; none of those that are not named. One vector is less than another if it is in no
/// entry greater and in some entry less.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Vector(BTreeMap<NodeId, u64>);

impl Vector {
    /// The number in an entry.
    pub fn get(&self, entry: NodeId) -> u64 {
        self.0.get(&entry).copied().unwrap_or(0)
    }

    /// Puts a number into an entry.
    pub fn set(&mut self, entry: NodeId, count: u64) {
        self.0.insert(entry, count);
    }

    /// Counts one up, and returns the new number.
    pub fn count_up(&mut self, entry: NodeId) -> u64 {
        let count = self.0.entry(entry).or_default();
        *count += 1;
        *count
    }

    /// Takes from each entry the greater: the least vector that is no less than either.
    pub fn merge(&mut self, other: &Vector) {
        for (entry, count) in &other.0 {
            let known = self.0.entry(*entry).or_default();
            *known = (*known).max(*count);
        }
    }

    /// The number of entries that are not zero.
    pub fn entries(&self) -> usize {
        self.0.len()
    }

    /// Whether neither had to do with the other.
    pub fn is_concurrent_with(&self, other: &Vector) -> bool {
        self.partial_cmp(other).is_none()
    }

    fn is_within(&self, other: &Vector) -> bool {
        self.0.iter().all(|(entry, count)| *count <= other.get(*entry))
    }
}

impl PartialOrd for Vector {
    fn partial_cmp(&self, other: &Vector) -> Option<Ordering> {
        match (self.is_within(other), other.is_within(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) => None,
        }
    }
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> =
            self.0.iter().map(|(entry, count)| format!("{entry}:{count}")).collect();
        write!(f, "⟨{}⟩", words.join(" "))
    }
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// The others in the chat.
    pub others: Vec<NodeId>,
    /// The entry in which this node counts: its own, unless nodes share.
    pub entry: NodeId,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// A line of the chat: whose, and the how manieth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// Who said it.
    pub by: NodeId,
    /// Their first is 1.
    pub number: u64,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.by, self.number)
    }
}

/// A line on its way to the others.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// What is said.
    pub line: Line,
    /// When it was said.
    pub vector: Vector,
    /// For the judges: all that happened before its arrival, its saying included. They count events of their own, for the
    /// vector is what they judge.
    pub past: Vector,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}", self.line, self.vector)
    }
}

/// A client says something, and all the others are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Say;

/// Something that happened at a node: a line was said or heard.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// The line.
    pub line: Line,
    /// When that line was said.
    pub said: Vector,
    /// When this happened: the same, if the line is this node's own.
    pub vector: Vector,
    /// For the judges: what happened before, itself included.
    pub past: Vector,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}, at {:?}", self.line, self.said, self.vector)
    }
}

/// A node with a vector clock, in a chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VectorClock {
    clock: Vector,
    past: Vector,
    events: Vec<Event>,
}

impl VectorClock {
    /// All that has happened here.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The lines that are known here, each with when it was said.
    pub fn lines(&self) -> BTreeMap<Line, &Vector> {
        self.events.iter().map(|event| (event.line, &event.said)).collect()
    }

    /// An event happens, and this node's entry goes up.
    fn tick(&mut self, config: &Config) {
        if !config.mutants.has("skips_own_tick") {
            self.clock.count_up(config.entry);
        }
        self.past.count_up(config.me);
    }

    fn note(&mut self, line: Line, said: Vector, out: &mut Out<'_, Self>) {
        let (vector, past) = (self.clock.clone(), self.past.clone());
        let event = Event { line, said, vector, past };
        self.events.push(event.clone());
        out.persist(event);
    }

    fn say(&mut self, config: &Config, out: &mut Out<'_, Self>) -> Vector {
        self.tick(config);
        let own = self.events.iter().filter(|event| event.line.by == config.me).count() as u64;
        let line = Line { by: config.me, number: own + 1 };
        self.note(line, self.clock.clone(), out);
        for to in &config.others {
            let (vector, past) = (self.clock.clone(), self.past.clone());
            out.send(*to, Message { line, vector, past });
        }
        self.clock.clone()
    }

    fn hear(&mut self, config: &Config, message: Message, out: &mut Out<'_, Self>) {
        let Message { line, vector, past } = message;
        self.past.merge(&past);
        if config.mutants.has("merge_takes_the_sum") {
            for (entry, count) in &vector.0 {
                self.clock.set(*entry, self.clock.get(*entry) + count);
            }
        } else if !config.mutants.has("ignores_what_it_hears") {
            // All that the sender knew of is known here from now on, and no more.
            self.clock.merge(&vector);
        }
        self.tick(config);
        self.note(line, vector, out);
    }
}

impl Protocol for VectorClock {
    type Config = Config;
    type Message = Message;
    type Timer = ();
    type Record = Event;
    type Durable = Vec<Event>;
    type Request = Say;
    type Response = Vector;

    fn fold(durable: &mut Vec<Event>, _: u64, event: Event) {
        durable.push(event);
    }

    fn recover(_: &Config, events: Vec<Event>, _: &mut Out<'_, Self>) -> Self {
        let last = events.last();
        let clock = last.map(|event| event.vector.clone()).unwrap_or_default();
        let past = last.map(|event| event.past.clone()).unwrap_or_default();
        VectorClock { clock, past, events }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: Say } => {
                let vector = self.say(config, out);
                out.reply(id, vector);
            }
            Input::Deliver { message, .. } => self.hear(config, message, out),
            Input::Fire(()) | Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        let lines: Vec<_> = self.lines().into_iter().collect();
        let mut words = vec![format!("{:?}", self.clock)];
        for (place, (line, said)) in lines.iter().enumerate() {
            for (other, other_said) in &lines[place + 1..] {
                if said.is_concurrent_with(other_said) {
                    words.push(format!("{line:?} ∥ {other:?}"));
                }
            }
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(entries: [u64; 3]) -> Vector {
        let mut vector = Vector::default();
        for (entry, count) in (1..).map(NodeId).zip(entries).filter(|(_, count)| *count > 0) {
            vector.set(entry, count);
        }
        vector
    }

    #[test]
    fn one_vector_is_less_only_if_it_is_greater_nowhere() {
        assert!(vector([1, 0, 2]) < vector([1, 1, 2]));
        assert!(vector([1, 0, 2]).is_concurrent_with(&vector([0, 1, 2])));
        assert!(!vector([1, 0, 0]).is_concurrent_with(&vector([1, 0, 0])));
    }

    #[test]
    fn a_merge_is_the_least_that_is_no_less_than_either() {
        let mut merged = vector([1, 0, 2]);
        merged.merge(&vector([0, 3, 1]));
        assert_eq!(merged, vector([1, 3, 2]));
    }
}
