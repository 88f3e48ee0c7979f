//! Raft, the code of production, under every workload: requests are entries of the log, reads included, and each node applies
//! them to its machine.
//!
//! A follower passes what it was asked on to the leader; what Raft refuses did not happen, and the client is told so; what
//! Raft doesn't know the outcome of is in doubt. Messages and records are written in production's encoding, in base 16.

use std::time::Duration;

use bytes::Bytes;
use quorate_core::{GroupId, Mutants, RequestId};
use quorate_kv::node::wire::{decode_envelope, decode_record, encode_envelope, encode_record};
use quorate_kv::node::{self, Envelope};
use quorate_maelstrom::message::{Body, ErrorCode, error_body};
use quorate_protocols::consensus::raft::{Config, Index, Message, Raft, Record, Request, Response};
use serde_json::{Value, json};

use crate::machine::Machine;
use crate::part::{Asked, Part, Seat};

/// The group that all nodes are in: there is only one.
const GROUP: GroupId = GroupId(0);

/// A node of a replicated log.
pub(crate) struct RaftPart {
    machine: Machine,
    applied: Index,
    /// Whose requests these are: this node's, in this run.
    mine: [u64; 2],
}

impl Part for RaftPart {
    type Protocol = Raft;

    fn config(seat: &Seat) -> Config {
        Config {
            // Below what clients usually wait, so that they learn that nothing has happened.
            request_timeout: Duration::from_millis(1_500),
            mutants: mutants(seat),
            ..Config::new(seat.me, seat.nodes.clone())
        }
    }

    fn new(seat: &Seat) -> Self {
        RaftPart {
            machine: Machine::new(seat.workload),
            applied: Index(0),
            mine: [seat.me.0, seat.boot],
        }
    }

    fn write_message(message: &Message) -> Value {
        let envelope = Envelope { messages: vec![(GROUP, message.clone())], unread: 0 };
        let mut bytes = Vec::new();
        encode_envelope(&envelope, &mut bytes);
        hex(&bytes).into()
    }

    fn read_message(said: &Value) -> Option<Message> {
        let envelope = decode_envelope(unhex(said.as_str()?)?.into()).ok()?;
        let [(GROUP, message)] = <[_; 1]>::try_from(envelope.messages).ok()? else { return None };
        Some(message)
    }

    fn write_record(record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_record(&node::Record { group: GROUP, record: record.clone() }, &mut bytes);
        bytes
    }

    fn read_record(record: Bytes) -> Option<Record> {
        decode_record(record).ok().map(|record| record.record)
    }

    fn ask(
        &mut self,
        id: RequestId,
        request: &Body,
        _: &Raft,
        _: &mut Vec<Vec<u8>>,
    ) -> Asked<Request> {
        let [node, boot] = self.mine;
        let entry = json!({ "of": [node, boot, id.0], "do": request });
        Asked::Protocol(Request::Propose(entry.to_string().into()))
    }

    fn answered(&mut self, response: Response) -> Option<Body> {
        match response {
            // The machine has the answer.
            Response::Committed(_) => None,
            Response::Refused(why) => {
                let text = format!("nothing has happened: {why:?}");
                Some(error_body(ErrorCode::TemporarilyUnavailable, &text))
            }
            _ => Some(error_body(ErrorCode::Timeout, "nobody knows yet whether it will happen")),
        }
    }

    fn look(&mut self, raft: &Raft) -> Vec<(RequestId, Body)> {
        let mut answers = Vec::new();
        while self.applied < raft.commit() {
            self.applied = self.applied.next();
            let entry = raft.log().get(self.applied);
            // What opens a term carries nothing.
            let Some(entry) = entry.filter(|entry| !entry.payload.is_empty()) else { continue };
            let Ok(entry) = serde_json::from_slice::<Value>(&entry.payload) else { continue };
            let Some(request) = entry["do"].as_object() else { continue };
            let answer = self.machine.apply(request);
            let [node, boot] = self.mine;
            if let [of, run, number] = [0, 1, 2].map(|field| entry["of"][field].as_u64())
                && (of, run) == (Some(node), Some(boot))
            {
                answers.extend(number.map(|number| (RequestId(number), answer)));
            }
        }
        answers
    }
}

#[cfg(feature = "mutants")]
fn mutants(seat: &Seat) -> Mutants {
    seat.mutant.map_or(Mutants::NONE, Mutants::only)
}

/// The deliberate bugs of what production runs are not built in.
#[cfg(not(feature = "mutants"))]
fn mutants(_: &Seat) -> Mutants {
    Mutants::NONE
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("it is below 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<u32>>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_they_were_written_and_half_a_byte_is_none() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        assert_eq!((unhex("abc"), unhex("ag")), (None, None));
    }
}
