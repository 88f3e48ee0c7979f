//! Protocols that agree on the order of commands which are no more than names, under every workload.
//!
//! A name is a node, one of its runs, and a number. What it stands for travels beside: whoever speaks of a command encloses
//! what it is, and whoever hears of one notes that down before it takes the message. So whatever a node's records speak of, its
//! journal says earlier what it is; and a command that a majority has accepted is known wherever its name is.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{Protocol, RequestId};
use quorate_maelstrom::message::Body;
use quorate_protocols::consensus::{multi_paxos, viewstamped_replication as vsr, zab};
use serde_json::Value;

use crate::machine::Machine;
use crate::part::{Asked, Part, Seat};
use crate::wire::{Wire, wire_enum, wire_struct, wire_tuple};

/// A protocol whose commands are names.
pub(crate) trait Names: Protocol<Message: Wire, Record: Wire> {
    fn config(seat: &Seat) -> Self::Config;

    fn request(name: u64) -> Self::Request;

    /// The commands that a message speaks of.
    fn spoken_of(message: &Self::Message) -> Vec<u64>;

    /// The command that was performed at that place here, if that is known; the first is at 0.
    fn performed(&self, place: usize) -> Option<u64>;
}

/// A node of such a protocol.
pub(crate) struct Named<P> {
    machine: Machine,
    applied: usize,
    /// The node and its run, where a name begins.
    mine: u64,
    contents: BTreeMap<u64, Value>,
    protocol: std::marker::PhantomData<P>,
}

/// Where in a name the node is, and where the run; the rest is the number.
const NODE_AT: u32 = 52;
const RUN_AT: u32 = 32;

impl<P: Names> Named<P> {
    fn note(&mut self, name: u64, content: &Value, notes: &mut Vec<Vec<u8>>) {
        self.contents.entry(name).or_insert_with(|| {
            notes.push((name, content.clone()).to_json().to_string().into_bytes());
            content.clone()
        });
    }
}

impl<P: Names> Part for Named<P> {
    type Protocol = P;

    fn config(seat: &Seat) -> P::Config {
        P::config(seat)
    }

    fn new(seat: &Seat) -> Self {
        Named {
            machine: Machine::new(seat.workload),
            applied: 0,
            mine: seat.me.0 << NODE_AT | seat.boot << RUN_AT,
            contents: BTreeMap::new(),
            protocol: std::marker::PhantomData,
        }
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
        id: RequestId,
        request: &Body,
        _: &P,
        notes: &mut Vec<Vec<u8>>,
    ) -> Asked<P::Request> {
        let name = self.mine | id.0;
        self.note(name, &Value::Object(request.clone()), notes);
        Asked::Protocol(P::request(name))
    }

    fn answered(&mut self, _: P::Response) -> Option<Body> {
        // The machine has the answer.
        None
    }

    fn look(&mut self, state: &P) -> Vec<(RequestId, Body)> {
        let mut answers = Vec::new();
        while let Some(name) = state.performed(self.applied)
            && let Some(Value::Object(request)) = self.contents.get(&name)
        {
            self.applied += 1;
            let answer = self.machine.apply(request);
            if name >> RUN_AT == self.mine >> RUN_AT {
                answers.push((RequestId(name & ((1 << RUN_AT) - 1)), answer));
            }
        }
        answers
    }

    fn enclose(&self, message: &P::Message) -> Option<Value> {
        let content = |name| Some((name, self.contents.get(&name)?.clone()));
        let enclosed: BTreeMap<u64, Value> =
            P::spoken_of(message).into_iter().filter_map(content).collect();
        (!enclosed.is_empty()).then(|| enclosed.to_json())
    }

    fn take_enclosed(&mut self, enclosed: &Value, notes: &mut Vec<Vec<u8>>) {
        for (name, content) in BTreeMap::<u64, Value>::of_json(enclosed).unwrap_or_default() {
            self.note(name, &content, notes);
        }
    }

    fn recall(&mut self, note: &[u8]) {
        let note = serde_json::from_slice(note).ok();
        self.contents.extend(note.as_ref().and_then(<(u64, Value)>::of_json));
    }
}

const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

impl Names for multi_paxos::MultiPaxos {
    fn config(seat: &Seat) -> multi_paxos::Config {
        multi_paxos::Config {
            me: seat.me,
            nodes: seat.nodes.clone(),
            leaders: seat.nodes.clone(),
            window: 20,
            patience: ms(150)..ms(400),
            curiosity: ms(100)..ms(150),
            mutants: seat.lab_mutants(),
        }
    }

    fn request(name: u64) -> multi_paxos::Command {
        multi_paxos::Command(name)
    }

    fn spoken_of(message: &multi_paxos::Message) -> Vec<u64> {
        use multi_paxos::Message;
        match message {
            Message::Propose(_, command)
            | Message::P2a(_, _, command)
            | Message::Decision(_, command) => vec![command.0],
            Message::P1b(_, accepted) => accepted.values().map(|(_, command)| command.0).collect(),
            Message::P1a(_) | Message::P2b(..) | Message::Learn(_) => Vec::new(),
        }
    }

    fn performed(&self, place: usize) -> Option<u64> {
        self.replica().performed().get(place).map(|command| command.0)
    }
}

wire_tuple!(multi_paxos::Command { number });
wire_tuple!(multi_paxos::Slot { number });
wire_struct!(multi_paxos::Ballot { round, of });
wire_enum!(multi_paxos::Message {
    Propose(slot, command),
    P1a(ballot),
    P1b(ballot, accepted),
    P2a(ballot, slot, command),
    P2b(ballot, slot),
    Decision(slot, command),
    Learn(from),
});
wire_enum!(multi_paxos::Record {
    Adopted(ballot),
    Accepted(ballot, slot, command),
    Decided(slot, command),
});

impl Names for vsr::Replica {
    fn config(seat: &Seat) -> vsr::Config {
        vsr::Config {
            me: seat.me,
            nodes: seat.nodes.clone(),
            heartbeat: ms(40)..ms(50),
            patience: ms(300)..ms(600),
            again: ms(100)..ms(150),
            is_view_on_disk: true,
            mutants: seat.lab_mutants(),
        }
    }

    /// Each request is the first of a client of its own: only so do clients that are given up leave no gap.
    fn request(name: u64) -> vsr::Operation {
        vsr::Operation { client: name, request: 1 }
    }

    fn spoken_of(message: &vsr::Message) -> Vec<u64> {
        use vsr::Message;
        let operations = match message {
            Message::Request(operation) => std::slice::from_ref(operation),
            Message::Prepare(_, prepared) => std::slice::from_ref(&prepared.operation),
            Message::DoViewChange(_, vote) => &vote.known.log,
            Message::StartView(_, known)
            | Message::RecoveryResponse(_, _, Some(known))
            | Message::NewState(_, _, known) => &known.log,
            _ => &[],
        };
        operations.iter().map(|operation| operation.client).collect()
    }

    fn performed(&self, place: usize) -> Option<u64> {
        self.executed().get(place).map(|operation| operation.client)
    }
}

wire_tuple!(vsr::View { number });
wire_tuple!(vsr::OpNumber { number });
wire_tuple!(vsr::Nonce { number });
wire_struct!(vsr::Operation { client, request });
wire_struct!(vsr::Known { log, commit });
wire_struct!(vsr::Prepared { operation, number, commit });
wire_struct!(vsr::Vote { last_normal, known });
wire_enum!(vsr::Message {
    Request(operation),
    Prepare(view, prepared),
    PrepareOk(view, number),
    Commit(view, number),
    StartViewChange(view),
    DoViewChange(view, vote),
    StartView(view, known),
    Recovery(view, nonce),
    RecoveryResponse(view, nonce, known),
    GetState(view, number),
    NewState(view, number, known),
});
wire_enum!(vsr::Record { Boot, View(view) });

impl Names for zab::Zab {
    fn config(seat: &Seat) -> zab::Config {
        zab::Config {
            me: seat.me,
            nodes: seat.nodes.clone(),
            patience: ms(400)..ms(800),
            beat: ms(80)..ms(100),
            mutants: seat.lab_mutants(),
        }
    }

    fn request(name: u64) -> zab::Change {
        zab::Change(name)
    }

    fn spoken_of(message: &zab::Message) -> Vec<u64> {
        use zab::Message;
        let transactions = match message {
            Message::Forward(change) => return vec![change.0],
            Message::AckEpoch(_, _, history) | Message::NewLeader(_, history) => &history[..],
            Message::Propose(_, transaction) => std::slice::from_ref(transaction),
            _ => &[],
        };
        transactions.iter().map(|transaction| transaction.1.0).collect()
    }

    fn performed(&self, place: usize) -> Option<u64> {
        self.delivered().get(place).map(|transaction| transaction.1.0)
    }
}

wire_tuple!(zab::Epoch { number });
wire_tuple!(zab::Change { number });
wire_tuple!(zab::Zxid { epoch, place });
wire_tuple!(zab::Transaction { zxid, change });
wire_enum!(zab::Message {
    Stand(promised),
    Cepoch(promised),
    NewEpoch(epoch),
    AckEpoch(epoch, acknowledged, history),
    NewLeader(epoch, history),
    Ack(epoch, upto),
    Propose(epoch, transaction),
    Commit(epoch, upto),
    Forward(change),
});
wire_enum!(zab::Record { Promised(epoch), Acknowledged(epoch, history), Accepted(transaction) });
