//! Gossip, under `broadcast` and `g-set`: each element is a rumour of its own, and each rumour an instance of the protocol.
//!
//! A node learns of an instance by its first message, so that rumours are pushed: nobody can ask for what it has not heard of.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{Effect, Gate, Input, Out, Protocol, RequestId};
use quorate_maelstrom::Workload;
use quorate_maelstrom::message::{Body, error_body};
use quorate_protocols::broadcast::gossip::{Config, Gossip, Message, Round, Rumour, Way};
use serde_json::Value;

use super::broadcast::{SetRequest, added_ok, read_ok};
use crate::machine::malformed;
use crate::part::{Asked, Part, Seat};
use crate::wire::{Wire, wire_enum, wire_tuple};

/// All rumours that a node knows.
pub(crate) struct Rumours(BTreeMap<u64, Gossip>);

impl Rumours {
    /// Gives an input to the instance of a rumour, which begins if need be.
    fn step_one(
        &mut self,
        config: &Config,
        name: u64,
        input: Input<Gossip>,
        out: &mut Out<'_, Self>,
    ) {
        out.nest(lift(name), |out| {
            let gossip = self.0.entry(name).or_insert_with(|| Gossip::recover(config, None, out));
            gossip.step(config, input, out);
        });
    }
}

/// The effects of one instance among many.
fn lift(name: u64) -> impl FnMut(Effect<Gossip>, &mut Out<'_, Rumours>) {
    move |effect, out| match effect {
        Effect::Persist(rumour) => drop(out.persist(rumour)),
        Effect::Send { to, message, gate: Gate::Durable } => out.send(to, (name, message)),
        // It is as early for the instance as for all of them.
        Effect::Send { to, message, gate: Gate::Early } => out.send_early(to, (name, message)),
        Effect::Reply { id, response } => out.reply(id, response),
        Effect::Arm { timer: Round, after } => out.arm(name, after),
        Effect::Disarm(Round) => out.disarm(name),
        // The records of all instances are in one log.
        Effect::Release { .. } => {}
    }
}

impl Protocol for Rumours {
    type Config = Config;
    type Message = (u64, Message);
    type Timer = u64;
    type Record = Rumour;
    type Durable = Vec<Rumour>;
    type Request = Rumour;
    type Response = ();

    fn fold(durable: &mut Vec<Rumour>, _: u64, rumour: Rumour) {
        durable.push(rumour);
    }

    fn recover(config: &Config, durable: Vec<Rumour>, out: &mut Out<'_, Self>) -> Self {
        let begin = |rumour: Rumour| {
            let known = Some(rumour);
            (rumour.0, out.nest(lift(rumour.0), |out| Gossip::recover(config, known, out)))
        };
        Rumours(durable.into_iter().map(begin).collect())
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        let (name, input) = match input {
            Input::Deliver { from, message: (name, message) } => {
                (name, Input::Deliver { from, message })
            }
            Input::Fire(name) => (name, Input::Fire(Round)),
            Input::Ask { id, request } => (request.0, Input::Ask { id, request }),
            Input::Synced { .. } | Input::Lost { .. } => return,
        };
        self.step_one(config, name, input, out);
    }

    fn view(&self) -> String {
        format!("{} rumours", self.0.len())
    }
}

/// A node that gossips.
pub(crate) struct GossipPart {
    workload: Workload,
}

impl Part for GossipPart {
    type Protocol = Rumours;

    fn config(seat: &Seat) -> Config {
        Config {
            me: seat.me,
            nodes: seat.nodes.len() as u64,
            way: Way::Push,
            fan_out: 1,
            round: Duration::from_millis(200),
            mutants: seat.lab_mutants(),
        }
    }

    fn new(seat: &Seat) -> Self {
        GossipPart { workload: seat.workload }
    }

    fn write_message(message: &(u64, Message)) -> Value {
        message.to_json()
    }

    fn read_message(said: &Value) -> Option<(u64, Message)> {
        Wire::of_json(said)
    }

    fn write_record(rumour: &Rumour) -> Vec<u8> {
        rumour.to_json().to_string().into_bytes()
    }

    fn read_record(record: Bytes) -> Option<Rumour> {
        Wire::of_json(&serde_json::from_slice(&record).ok()?)
    }

    fn ask(
        &mut self,
        _: RequestId,
        request: &Body,
        state: &Rumours,
        _: &mut Vec<Vec<u8>>,
    ) -> Asked<Rumour> {
        match SetRequest::read(self.workload, request) {
            Ok(SetRequest::Add(element)) => match element.as_u64() {
                Some(number) => Asked::Protocol(Rumour(number)),
                None => {
                    let (code, text) = malformed("rumours are numbers");
                    Asked::Here(error_body(code, &text))
                }
            },
            Ok(SetRequest::Read) => {
                let known = state.0.values().filter_map(Gossip::rumour);
                Asked::Here(read_ok(self.workload, known.map(|rumour| rumour.0).collect()))
            }
            Err(asked) => asked,
        }
    }

    fn answered(&mut self, (): ()) -> Option<Body> {
        Some(added_ok(self.workload))
    }
}

wire_tuple!(Rumour { number });
wire_enum!(Message { Tell(rumour), Ask });
