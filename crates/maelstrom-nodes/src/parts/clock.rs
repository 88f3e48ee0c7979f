//! A Lamport clock, under `unique-ids`: an id is the stamp of an event and the node at which it happened.

use bytes::Bytes;
use quorate_core::{NodeId, RequestId};
use quorate_maelstrom::message::{Body, body, type_of};
use quorate_protocols::clock::lamport::{Config, Event, Lamport, Message, Request, Stamp};
use serde_json::{Value, json};

use crate::part::{Asked, Part, Seat, not_known};
use crate::wire::{Wire, wire_struct, wire_tuple};

/// A node with a clock.
pub(crate) struct LamportPart {
    me: NodeId,
    /// Who is told of what happens here, so that no clock falls far behind.
    next: NodeId,
}

impl Part for LamportPart {
    type Protocol = Lamport;

    fn config(seat: &Seat) -> Config {
        Config { me: seat.me, mutants: seat.lab_mutants() }
    }

    fn new(seat: &Seat) -> Self {
        let later = seat.others().find(|node| *node > seat.me);
        let next = later.or(seat.others().next()).unwrap_or(seat.me);
        LamportPart { me: seat.me, next }
    }

    fn write_message(message: &Message) -> Value {
        message.to_json()
    }

    fn read_message(said: &Value) -> Option<Message> {
        Wire::of_json(said)
    }

    fn write_record(event: &Event) -> Vec<u8> {
        event.to_json().to_string().into_bytes()
    }

    fn read_record(record: Bytes) -> Option<Event> {
        Wire::of_json(&serde_json::from_slice(&record).ok()?)
    }

    fn ask(
        &mut self,
        _: RequestId,
        request: &Body,
        _: &Lamport,
        _: &mut Vec<Vec<u8>>,
    ) -> Asked<Request> {
        match type_of(request) {
            "generate" => Asked::Protocol(Request::Tell(self.next)),
            kind => not_known(kind),
        }
    }

    fn answered(&mut self, stamp: Stamp) -> Option<Body> {
        Some(body("generate_ok", json!({ "id": format!("{}-{}", stamp.0, self.me) })))
    }
}

wire_tuple!(Stamp { number });
wire_struct!(Message { stamp, past });
wire_struct!(Event { stamp, past });
