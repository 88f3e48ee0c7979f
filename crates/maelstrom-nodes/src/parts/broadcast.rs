//! The broadcasts, under `broadcast` and `g-set`: what is added is broadcast, and a read is answered with what was delivered here.

use std::time::Duration;

use bytes::Bytes;
use quorate_core::{Protocol, RequestId};
use quorate_maelstrom::Workload;
use quorate_maelstrom::message::{Body, body, error_body, type_of};
use quorate_protocols::broadcast::causal::{CausalBroadcast, Stamped, Vector};
use quorate_protocols::broadcast::fifo::FifoBroadcast;
use quorate_protocols::broadcast::reliable::{Config, Message, ReliableBroadcast};
use quorate_protocols::broadcast::total::{Item, TotalOrderBroadcast};
use quorate_protocols::broadcast::{Parcel, ParcelId};
use serde_json::{Value, json};

use crate::machine::field;
use crate::part::{Asked, Part, Seat, not_known};
use crate::wire::{Wire, wire_enum, wire_struct, wire_tuple};

/// What a set is asked, in the words of either workload.
pub(crate) enum SetRequest<'b> {
    Add(&'b Value),
    Read,
}

impl<'b> SetRequest<'b> {
    /// Reads a request; an answer instead says what is wrong with it.
    pub(crate) fn read<Q>(workload: Workload, request: &'b Body) -> Result<Self, Asked<Q>> {
        let (add, element) = match workload {
            Workload::Broadcast => ("broadcast", "message"),
            _ => ("add", "element"),
        };
        match type_of(request) {
            "read" => Ok(SetRequest::Read),
            kind if kind == add => field(request, element)
                .map(SetRequest::Add)
                .map_err(|(code, text)| Asked::Here(error_body(code, &text))),
            kind => Err(not_known(kind)),
        }
    }
}

/// The answer to a read.
pub(crate) fn read_ok(workload: Workload, elements: Value) -> Body {
    let name = if workload == Workload::Broadcast { "messages" } else { "value" };
    body("read_ok", json!({ name: elements }))
}

/// The answer to an adding.
pub(crate) fn added_ok(workload: Workload) -> Body {
    body(if workload == Workload::Broadcast { "broadcast_ok" } else { "add_ok" }, json!({}))
}

/// A broadcast of values in JSON.
pub(crate) trait Delivers:
    Protocol<Config = Config, Message: Wire, Record: Wire, Request = Value, Response = ParcelId>
{
    /// What was delivered here.
    fn delivered(&self) -> &[Parcel<Value>];
}

impl Delivers for ReliableBroadcast<Value> {
    fn delivered(&self) -> &[Parcel<Value>] {
        self.delivered()
    }
}

impl Delivers for FifoBroadcast<Value> {
    fn delivered(&self) -> &[Parcel<Value>] {
        self.delivered()
    }
}

impl Delivers for CausalBroadcast<Value> {
    fn delivered(&self) -> &[Parcel<Value>] {
        self.delivered()
    }
}

impl Delivers for TotalOrderBroadcast<Value> {
    fn delivered(&self) -> &[Parcel<Value>] {
        self.delivered()
    }
}

/// A node that broadcasts.
pub(crate) struct BroadcastPart<P> {
    workload: Workload,
    protocol: std::marker::PhantomData<P>,
}

impl<P: Delivers> Part for BroadcastPart<P> {
    type Protocol = P;

    fn config(seat: &Seat) -> Config {
        Config {
            me: seat.me,
            nodes: seat.nodes.clone(),
            patience: Duration::from_millis(100)..Duration::from_millis(200),
            mutants: seat.lab_mutants(),
        }
    }

    fn new(seat: &Seat) -> Self {
        BroadcastPart { workload: seat.workload, protocol: std::marker::PhantomData }
    }

    fn write_message(message: &P::Message) -> Value {
        message.to_json()
    }

    fn read_message(said: &Value) -> Option<P::Message> {
        Wire::of_json(said)
    }

    fn write_record(record: &P::Record) -> Vec<u8> {
        record.to_json().to_string().into_bytes()
    }

    fn read_record(record: Bytes) -> Option<P::Record> {
        Wire::of_json(&serde_json::from_slice(&record).ok()?)
    }

    fn ask(
        &mut self,
        _: RequestId,
        request: &Body,
        state: &P,
        _: &mut Vec<Vec<u8>>,
    ) -> Asked<Value> {
        match SetRequest::read(self.workload, request) {
            Ok(SetRequest::Add(element)) => Asked::Protocol(element.clone()),
            Ok(SetRequest::Read) => {
                let delivered = state.delivered().iter().map(|parcel| parcel.content.clone());
                Asked::Here(read_ok(self.workload, delivered.collect()))
            }
            Err(asked) => asked,
        }
    }

    fn answered(&mut self, _: ParcelId) -> Option<Body> {
        Some(added_ok(self.workload))
    }
}

wire_struct!(ParcelId { origin, number });
wire_struct!(Parcel<T> where T { id, content });
wire_enum!(Message<T> where T { Relay(parcel), Again(parcel), Have(id) });
wire_tuple!(Vector { counts });
wire_struct!(Stamped<T> where T { after, content });
wire_enum!(Item<T> where T { Content(content), Next(id) });
