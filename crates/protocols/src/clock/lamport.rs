//! Lamport clock: a counter at each node, such that what happened before has the smaller stamp.
//!
//! Source: Lamport, "Time, clocks, and the ordering of events in a distributed system", 1978, rules IR1 and IR2.
//! Model: asynchronous; messages are lost, repeated and reordered; the counter survives a crash.
//! Safety: the clock condition, if a happened before b then the stamp of a is less; the order by stamp, then by node, is
//! total.
//! Omitted: what is built on it, such as mutual exclusion, which has rows of its own.
//! Cost: no message of its own; one number in each.
//! Read next: `Lamport::tick`, then the trace `transfers_in_order`.

use std::collections::BTreeMap;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol};

/// A moment of logical time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

/// What a node knows before it starts.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// How many events of each node are known to have happened: what the judges go by, and no part of the protocol, whose whole
/// point is to do with one number.
pub type Past = BTreeMap<NodeId, u64>;

/// A message, which is the event of its sending.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// When it was sent.
    pub stamp: Stamp,
    /// For the judges: all that happened before its arrival, its sending included.
    pub past: Past,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Something happens here.
    Happen,
    /// Something happens here, and another node is told.
    Tell(NodeId),
}

/// Something that happened at a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// When, by the node's clock.
    pub stamp: Stamp,
    /// For the judges: what happened before it, itself included.
    pub past: Past,
}

/// A node with a Lamport clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lamport {
    clock: Stamp,
    past: Past,
    events: Vec<Event>,
}

impl Lamport {
    /// All that has happened here since the node started.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// An event happens: IR1, the clock goes up between two events.
    fn tick(&mut self, config: &Config, out: &mut Out<'_, Self>) -> Stamp {
        if !config.mutants.has("keeps_its_stamp") {
            self.clock.0 += 1;
        }
        *self.past.entry(config.me).or_default() += 1;
        let event = Event { stamp: self.clock, past: self.past.clone() };
        self.events.push(event.clone());
        out.persist(event);
        self.clock
    }
}

impl Protocol for Lamport {
    type Config = Config;
    type Message = Message;
    type Timer = ();
    type Record = Event;
    type Durable = Vec<Event>;
    type Request = Request;
    type Response = Stamp;

    fn fold(durable: &mut Vec<Event>, _: u64, event: Event) {
        durable.push(event);
    }

    fn recover(_: &Config, events: Vec<Event>, _: &mut Out<'_, Self>) -> Self {
        let last = events.last();
        let clock = last.map_or(Stamp(0), |event| event.stamp);
        let past = last.map_or_else(Past::new, |event| event.past.clone());
        Lamport { clock, past, events }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request } => {
                let stamp = self.tick(config, out);
                if let Request::Tell(to) = request
                    && to != config.me
                {
                    out.send(to, Message { stamp, past: self.past.clone() });
                }
                out.reply(id, stamp);
            }
            Input::Deliver { message: Message { stamp, past }, .. } => {
                for (node, count) in past {
                    let known = self.past.entry(node).or_default();
                    *known = count.max(*known);
                }
                // IR2: what receives a message happens after its sending.
                if !config.mutants.has("ignores_what_it_hears") {
                    self.clock = self.clock.max(stamp);
                }
                self.tick(config, out);
            }
            Input::Fire(()) | Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        format!("clock={} events={}", self.clock.0, self.events.len())
    }
}

/// The clock condition and the total order, of some nodes: the sentence says what breaks which.
pub fn judge<'a>(
    nodes: impl Iterator<Item = (NodeId, &'a Lamport)> + Clone,
) -> Result<(), (&'static str, String)> {
    let all = || {
        nodes.clone().flat_map(|(node, state)| state.events.iter().map(move |event| (node, event)))
    };
    for (a_at, a) in all() {
        for (b_at, b) in all() {
            let is_same = a_at == b_at && a.past.get(&a_at) == b.past.get(&b_at);
            if !is_same && (a.stamp, a_at) == (b.stamp, b_at) {
                return Err(("total_order", format!("two events of {a_at} are at {}", a.stamp.0)));
            }
            let number = a.past.get(&a_at);
            let is_before = !is_same && b.past.get(&a_at) >= number;
            if is_before && a.stamp >= b.stamp {
                let (a, b) = (a.stamp.0, b.stamp.0);
                return Err((
                    "clock_condition",
                    format!("an event of {a_at} at {a} happened before one of {b_at} at {b}"),
                ));
            }
        }
    }
    Ok(())
}
