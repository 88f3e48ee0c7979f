//! What nodes tell each other, and write into the log.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{GroupId, NodeId, RequestId};
use quorate_kv::node::wire::{decode_envelope, decode_record, encode_envelope, encode_record};
use quorate_kv::node::{Envelope, Record};
use quorate_kv::request::{Command, CompactRequest, LeaseGrantRequest, LeaseId, Revision};
use quorate_kv::wire;
use quorate_protocols::consensus::raft::{
    self, Append, Entry, Greeting, Index, InstallSnapshot, Membership, Message, Origin, Outcome,
    Snapshot, Term,
};

fn entry(payload: Bytes) -> Entry {
    let origin = Some(Origin { node: NodeId(7), boot: 2, request: RequestId(9) });
    let membership = Some(Membership::of_voters([NodeId(7), NodeId(8)]).into());
    Entry { term: Term(3), origin, payload, membership }
}

fn snapshot() -> Snapshot {
    let membership = Membership::of_voters([NodeId(1), NodeId(2)]).into();
    Snapshot { index: Index(300), term: Term(2), membership }
}

fn messages() -> Vec<Message> {
    let greeting = Greeting { life: 1, boot: 2, met: 3 };
    vec![
        Message::Append(Append {
            term: Term(3),
            previous_index: Index(70_000),
            previous_term: Term(2),
            entries: vec![entry(commands().remove(0).into()), entry(Bytes::new())],
            commit: Index(9),
            round: 12,
            greeting,
        }),
        Message::Appended {
            term: Term(3),
            round: 12,
            outcome: Outcome::Conflict { rejected: Index(9), term: Some(Term(1)), first: Index(3) },
            greeting,
        },
        Message::InstallSnapshot(InstallSnapshot {
            term: Term(3),
            transfer: 4,
            snapshot: snapshot(),
            number: 5,
            bytes: Bytes::from_static(b"a chunk"),
            is_last: true,
            greeting,
        }),
        Message::Hello { greeting },
    ]
}

pub(crate) fn envelopes() -> Vec<Vec<u8>> {
    let all = messages();
    let each = all.iter().map(|message| vec![message.clone()]).chain([all.clone()]);
    let envelope = |messages: Vec<Message>| {
        let messages = messages.into_iter().map(|message| (GroupId(1), message)).collect();
        let mut bytes = Vec::new();
        encode_envelope(&Envelope { messages, unread: 0 }, &mut bytes);
        bytes
    };
    each.map(envelope).collect()
}

pub(crate) fn envelope(bytes: &[u8]) {
    // An error, or another one.
    let _ = decode_envelope(Bytes::copy_from_slice(bytes));
}

pub(crate) fn records() -> Vec<Vec<u8>> {
    let kinds = [
        raft::Record::Booted { boot: 3, born: 1 },
        raft::Record::Voted { term: Term(9), vote: Some(NodeId(2)) },
        raft::Record::Appended {
            after: Index(300),
            entries: vec![entry(Bytes::from_static(b"payload"))],
            commit: Index(299),
        },
    ];
    let encoded = |record| {
        let mut bytes = Vec::new();
        encode_record(&Record { group: GroupId(1), record }, &mut bytes);
        bytes
    };
    kinds.into_iter().map(encoded).collect()
}

pub(crate) fn record(bytes: &[u8]) {
    // An error, or another one.
    let _ = decode_record(Bytes::copy_from_slice(bytes));
}

pub(crate) fn commands() -> Vec<Vec<u8>> {
    let commands = [
        Command::Compact(CompactRequest { revision: Revision(70_000), physical: true }),
        Command::LeaseGrant(LeaseGrantRequest { id: LeaseId(-1), ttl_seconds: 60 }),
    ];
    commands.iter().map(|command| wire::encode(command).to_vec()).collect()
}

pub(crate) fn command(bytes: &[u8]) {
    // An error, or another one.
    let _ = wire::decode_with_asker(Bytes::copy_from_slice(bytes));
}

/// A frame as a peer answers an enquiry.
fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(&[5, 1, 0, 0]);
    frame.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    frame.extend_from_slice(body);
    frame
}

pub(crate) fn bodies() -> Vec<Vec<u8>> {
    vec![vec![], vec![0x08, 7, 0x10, 3, 0x1a, 2, 0x08, 9], b"an answer".to_vec()]
}

pub(crate) fn answers() -> Vec<Vec<u8>> {
    bodies().iter().map(|body| framed(body)).collect()
}

/// A frame that is right, whatever is in it.
pub(crate) fn body(bytes: &[u8]) {
    answer(&framed(bytes));
}

/// What whoever asks a node is told.
pub(crate) fn answer(bytes: &[u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            // Whoever asks may hang up before it has heard everything.
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(bytes);
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let asked = quorate_runtime::enquire(&address, None, b"?", Duration::from_secs(10));
        // An error, or some answer.
        let _ = runtime.expect("there is room for a runtime").block_on(asked);
    });
}
