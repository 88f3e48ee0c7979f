//! How nodes' messages and records look on the wire and on the disk.
//!
//! Protocol buffers, by derive: fields may be added under new numbers, and a version that doesn't know them skips
//! them; a number is never used again.
//!
//! What a version makes of a *kind* that it doesn't know depends on what it would lose:
//!
//! - **A message** may get lost at any time, and nobody minds. The part of an envelope that can't be read is skipped and
//!   counted, and the rest is taken: else the first node of a new version would find that all others are deaf to
//!   whatever leaves together with its new kind of message.
//! - **A record** is durable state. It is refused by name, and the node doesn't start.
//! - **A command** (`crate::wire`) would part the replicas. The node stops at it.
//!
//! So a new kind of message may be sent at once by whoever can do without an answer, and a new kind of record or command
//! must wait until every member knows it; so must a new field in what is passed on or kept, since whoever doesn't know it
//! passes it on without.

mod membership;
mod memory;
pub mod newer;
mod snapshot;

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use prost::{Message as _, Oneof};
use quorate_core::{GroupId, NodeId, RequestId};
use quorate_protocols::consensus::raft::{self, Entry, Index, Origin, Outcome, Term, Ticket};
use thiserror::Error;

use super::{Envelope, Record};
use membership::WireMembership;
use memory::{WireGreeting, WireMet, born_in, greeting, met, wire_greeting, wire_met};
use snapshot::{WireChunksTaken, WireCompacted, WireInstallSnapshot, WireSnapshot};

/// Bytes that hold no message or record of this version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// They are not even well formed.
    #[error("not well formed: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// They are of a kind, or hold a value, that this version doesn't know.
    #[error("unknown {0}")]
    Unknown(&'static str),
}

/// Adds an envelope to `buffer`.
pub fn encode_envelope(envelope: &Envelope, buffer: &mut impl BufMut) {
    let parts = envelope
        .messages
        .iter()
        .map(|(group, message)| WirePart { group: group.0, message: Some(message.into()) })
        .collect();
    WireEnvelope { parts }.encode_raw(buffer);
}

/// Reads an envelope; payloads share the memory of `bytes`. Parts of a kind that this version doesn't know are counted.
pub fn decode_envelope(bytes: Bytes) -> Result<Envelope, WireError> {
    let parts = WireEnvelope::decode(bytes)?.parts;
    let mut envelope = Envelope { messages: Vec::with_capacity(parts.len()), unread: 0 };
    for part in parts {
        match part.message.and_then(|message| raft::Message::try_from(message).ok()) {
            Some(message) => envelope.messages.push((GroupId(part.group), message)),
            None => envelope.unread += 1,
        }
    }
    Ok(envelope)
}

/// Adds a record to `buffer`.
pub fn encode_record(record: &Record, buffer: &mut impl BufMut) {
    let born = match &record.record {
        raft::Record::Booted { born, .. } => Some(*born),
        _ => None,
    };
    let kind = match &record.record {
        raft::Record::Booted { boot, .. } => WireRecordKind::Booted(*boot),
        raft::Record::Reborn { life, boot } => {
            WireRecordKind::Reborn(WireMet { life: *life, boot: *boot, ..WireMet::default() })
        }
        raft::Record::Met { peer, met } => WireRecordKind::Met(wire_met(*peer, *met)),
        raft::Record::Voted { term, vote } => {
            WireRecordKind::Voted(WireVoted { term: term.0, vote: vote.map(|node| node.0) })
        }
        raft::Record::Appended { after, entries, commit } => {
            WireRecordKind::Appended(WireAppended {
                after: after.0,
                entries: entries.iter().map(Into::into).collect(),
                commit: commit.0,
            })
        }
        raft::Record::Compacted {
            snapshot,
            keeps_tail,
            life,
            born,
            boot,
            met,
            term,
            vote,
            commit,
        } => WireRecordKind::Compacted(WireCompacted {
            snapshot: Some(snapshot.into()),
            keeps_tail: *keeps_tail,
            boot: *boot,
            term: term.0,
            vote: vote.map(|node| node.0),
            commit: commit.0,
            life: *life,
            met: met.iter().map(|(peer, met)| wire_met(*peer, *met)).collect(),
            born: Some(*born),
        }),
    };
    WireRecord { group: record.group.0, kind: Some(kind), born }.encode_raw(buffer);
}

/// What a state stands for, as its store keeps it.
pub(crate) fn encode_snapshot(snapshot: &raft::Snapshot) -> Vec<u8> {
    WireSnapshot::from(snapshot).encode_to_vec()
}

/// Reads what a store keeps of what its state stands for.
pub(super) fn decode_snapshot(bytes: Bytes) -> Result<raft::Snapshot, WireError> {
    snapshot::required(Some(WireSnapshot::decode(bytes)?))
}

/// Reads a record; payloads share the memory of `bytes`.
pub fn decode_record(bytes: Bytes) -> Result<Record, WireError> {
    let WireRecord { group, kind, born } = WireRecord::decode(bytes)?;
    let record = match kind.ok_or(WireError::Unknown("kind of record"))? {
        WireRecordKind::Booted(boot) => raft::Record::Booted { boot, born: born_in(born, boot) },
        WireRecordKind::Reborn(WireMet { life, boot, .. }) => raft::Record::Reborn { life, boot },
        WireRecordKind::Met(said) => {
            let (peer, met) = met(said);
            raft::Record::Met { peer, met }
        }
        WireRecordKind::Voted(WireVoted { term, vote }) => {
            raft::Record::Voted { term: Term(term), vote: vote.map(NodeId) }
        }
        WireRecordKind::Appended(WireAppended { after, entries, commit }) => {
            raft::Record::Appended {
                after: Index(after),
                entries: entries.into_iter().map(Into::into).collect(),
                commit: Index(commit),
            }
        }
        WireRecordKind::Compacted(compacted) => compacted.try_into()?,
    };
    Ok(Record { group: GroupId(group), record })
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireEnvelope {
    #[prost(message, repeated, tag = "1")]
    parts: Vec<WirePart>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WirePart {
    #[prost(uint32, tag = "1")]
    group: u32,
    #[prost(oneof = "WireMessage", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    message: Option<WireMessage>,
}

#[derive(Clone, PartialEq, Oneof)]
enum WireMessage {
    #[prost(message, tag = "2")]
    RequestVote(WireRequestVote),
    #[prost(message, tag = "3")]
    Vote(WireVote),
    #[prost(message, tag = "4")]
    Append(WireAppend),
    #[prost(message, tag = "5")]
    Answer(WireAnswer),
    #[prost(uint64, tag = "6")]
    TimeoutNow(u64),
    #[prost(message, tag = "7")]
    Submit(WireSubmission),
    #[prost(message, tag = "8")]
    ReadIndex(WireTicket),
    #[prost(message, tag = "9")]
    ReadIndexAnswer(WireTicket),
    #[prost(message, tag = "10")]
    InstallSnapshot(WireInstallSnapshot),
    #[prost(message, tag = "11")]
    Hello(WireGreeting),
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRequestVote {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    last_term: u64,
    #[prost(uint64, tag = "3")]
    last_index: u64,
    #[prost(uint32, tag = "4")]
    kind: u32,
    #[prost(message, optional, tag = "5")]
    greeting: Option<WireGreeting>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireVote {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(bool, tag = "2")]
    is_pre: bool,
    #[prost(bool, tag = "3")]
    is_granted: bool,
    #[prost(message, optional, tag = "4")]
    greeting: Option<WireGreeting>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireAppend {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    previous_index: u64,
    #[prost(uint64, tag = "3")]
    previous_term: u64,
    #[prost(message, repeated, tag = "4")]
    entries: Vec<WireEntry>,
    #[prost(uint64, tag = "5")]
    commit: u64,
    #[prost(uint64, tag = "6")]
    round: u64,
    #[prost(message, optional, tag = "7")]
    greeting: Option<WireGreeting>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireEntry {
    #[prost(uint64, tag = "1")]
    term: u64,
    /// None for the entry that opens a term.
    #[prost(uint64, optional, tag = "2")]
    origin_node: Option<u64>,
    #[prost(uint64, tag = "3")]
    origin_boot: u64,
    #[prost(uint64, tag = "4")]
    origin_request: u64,
    #[prost(bytes = "bytes", tag = "5")]
    payload: Bytes,
    #[prost(message, optional, tag = "6")]
    membership: Option<WireMembership>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireAnswer {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    round: u64,
    #[prost(oneof = "WireOutcome", tags = "3, 4, 5, 6, 7")]
    outcome: Option<WireOutcome>,
    #[prost(message, optional, tag = "8")]
    greeting: Option<WireGreeting>,
}

#[derive(Clone, PartialEq, Oneof)]
enum WireOutcome {
    #[prost(uint64, tag = "3")]
    Matched(u64),
    #[prost(message, tag = "4")]
    Conflict(WireConflict),
    #[prost(bool, tag = "5")]
    Stale(bool),
    #[prost(uint64, tag = "6")]
    NeedsSnapshot(u64),
    #[prost(message, tag = "7")]
    ChunksTaken(WireChunksTaken),
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireConflict {
    #[prost(uint64, tag = "1")]
    rejected: u64,
    #[prost(uint64, optional, tag = "2")]
    term: Option<u64>,
    #[prost(uint64, tag = "3")]
    first: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireSubmission {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    boot: u64,
    #[prost(uint64, tag = "3")]
    settled_below: u64,
    #[prost(message, repeated, tag = "4")]
    proposals: Vec<WireProposal>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireProposal {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(bytes = "bytes", tag = "2")]
    payload: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireTicket {
    #[prost(uint64, tag = "1")]
    boot: u64,
    #[prost(uint64, tag = "2")]
    number: u64,
    #[prost(uint64, tag = "3")]
    index: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRecord {
    #[prost(uint32, tag = "1")]
    group: u32,
    #[prost(oneof = "WireRecordKind", tags = "2, 3, 4, 5, 6, 7")]
    kind: Option<WireRecordKind>,
    /// Of a member that booted: the run in which its life began.
    #[prost(uint64, optional, tag = "8")]
    born: Option<u64>,
}

#[derive(Clone, PartialEq, Oneof)]
enum WireRecordKind {
    #[prost(uint64, tag = "2")]
    Booted(u64),
    #[prost(message, tag = "3")]
    Voted(WireVoted),
    #[prost(message, tag = "4")]
    Appended(WireAppended),
    #[prost(message, tag = "5")]
    Compacted(WireCompacted),
    #[prost(message, tag = "6")]
    Reborn(WireMet),
    #[prost(message, tag = "7")]
    Met(WireMet),
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireVoted {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, optional, tag = "2")]
    vote: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireAppended {
    #[prost(uint64, tag = "1")]
    after: u64,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<WireEntry>,
    #[prost(uint64, tag = "3")]
    commit: u64,
}

impl From<&Entry> for WireEntry {
    fn from(entry: &Entry) -> Self {
        let origin = entry.origin;
        WireEntry {
            term: entry.term.0,
            origin_node: origin.map(|origin| origin.node.0),
            origin_boot: origin.map_or(0, |origin| origin.boot),
            origin_request: origin.map_or(0, |origin| origin.request.0),
            payload: entry.payload.clone(),
            membership: entry.membership.as_deref().map(Into::into),
        }
    }
}

impl From<WireEntry> for Entry {
    fn from(entry: WireEntry) -> Self {
        Entry {
            term: Term(entry.term),
            origin: entry.origin_node.map(|node| Origin {
                node: NodeId(node),
                boot: entry.origin_boot,
                request: RequestId(entry.origin_request),
            }),
            payload: entry.payload,
            membership: entry.membership.map(|membership| Arc::new(membership.into())),
        }
    }
}

impl From<&raft::Message> for WireMessage {
    fn from(message: &raft::Message) -> Self {
        use raft::Message;
        match message {
            Message::RequestVote { term, last_term, last_index, kind, greeting } => {
                WireMessage::RequestVote(WireRequestVote {
                    term: term.0,
                    last_term: last_term.0,
                    last_index: last_index.0,
                    kind: match kind {
                        raft::VoteKind::Pre => 1,
                        raft::VoteKind::Real => 2,
                        raft::VoteKind::Handover => 3,
                    },
                    greeting: wire_greeting(*greeting),
                })
            }
            Message::Vote { term, is_pre, is_granted, greeting } => WireMessage::Vote(WireVote {
                term: term.0,
                is_pre: *is_pre,
                is_granted: *is_granted,
                greeting: wire_greeting(*greeting),
            }),
            Message::Append(append) => WireMessage::Append(WireAppend {
                term: append.term.0,
                previous_index: append.previous_index.0,
                previous_term: append.previous_term.0,
                entries: append.entries.iter().map(Into::into).collect(),
                commit: append.commit.0,
                round: append.round,
                greeting: wire_greeting(append.greeting),
            }),
            Message::Appended { term, round, outcome, greeting } => {
                WireMessage::Answer(WireAnswer {
                    term: term.0,
                    round: *round,
                    outcome: Some(outcome.into()),
                    greeting: wire_greeting(*greeting),
                })
            }
            Message::InstallSnapshot(install) => WireMessage::InstallSnapshot(install.into()),
            Message::Hello { greeting } => {
                WireMessage::Hello(wire_greeting(*greeting).unwrap_or_default())
            }
            Message::TimeoutNow { term } => WireMessage::TimeoutNow(term.0),
            Message::Submit(submission) => WireMessage::Submit(WireSubmission {
                term: submission.term.0,
                boot: submission.boot,
                settled_below: submission.settled_below.0,
                proposals: submission
                    .proposals
                    .iter()
                    .map(|(id, payload)| WireProposal { id: id.0, payload: payload.clone() })
                    .collect(),
            }),
            Message::ReadIndex { ticket } => WireMessage::ReadIndex(WireTicket {
                boot: ticket.boot,
                number: ticket.number,
                index: 0,
            }),
            Message::ReadIndexAnswer { ticket, index } => {
                WireMessage::ReadIndexAnswer(WireTicket {
                    boot: ticket.boot,
                    number: ticket.number,
                    index: index.0,
                })
            }
        }
    }
}

impl TryFrom<WireMessage> for raft::Message {
    type Error = WireError;

    fn try_from(message: WireMessage) -> Result<Self, WireError> {
        use raft::Message;
        Ok(match message {
            WireMessage::RequestVote(asked) => Message::RequestVote {
                term: Term(asked.term),
                last_term: Term(asked.last_term),
                last_index: Index(asked.last_index),
                kind: match asked.kind {
                    1 => raft::VoteKind::Pre,
                    2 => raft::VoteKind::Real,
                    3 => raft::VoteKind::Handover,
                    _ => return Err(WireError::Unknown("kind of vote")),
                },
                greeting: greeting(asked.greeting),
            },
            WireMessage::Vote(vote) => Message::Vote {
                term: Term(vote.term),
                is_pre: vote.is_pre,
                is_granted: vote.is_granted,
                greeting: greeting(vote.greeting),
            },
            WireMessage::Append(append) => Message::Append(raft::Append {
                term: Term(append.term),
                previous_index: Index(append.previous_index),
                previous_term: Term(append.previous_term),
                entries: append.entries.into_iter().map(Into::into).collect(),
                commit: Index(append.commit),
                round: append.round,
                greeting: greeting(append.greeting),
            }),
            WireMessage::Answer(answer) => Message::Appended {
                term: Term(answer.term),
                round: answer.round,
                outcome: answer.outcome.ok_or(WireError::Unknown("outcome"))?.into(),
                greeting: greeting(answer.greeting),
            },
            WireMessage::InstallSnapshot(install) => Message::InstallSnapshot(install.try_into()?),
            WireMessage::Hello(hello) => Message::Hello { greeting: greeting(Some(hello)) },
            WireMessage::TimeoutNow(term) => Message::TimeoutNow { term: Term(term) },
            WireMessage::Submit(submission) => Message::Submit(raft::Submission {
                term: Term(submission.term),
                boot: submission.boot,
                settled_below: RequestId(submission.settled_below),
                proposals: submission
                    .proposals
                    .into_iter()
                    .map(|proposal| (RequestId(proposal.id), proposal.payload))
                    .collect(),
            }),
            WireMessage::ReadIndex(ticket) => Message::ReadIndex { ticket: ticket.ticket() },
            WireMessage::ReadIndexAnswer(ticket) => {
                Message::ReadIndexAnswer { ticket: ticket.ticket(), index: Index(ticket.index) }
            }
        })
    }
}

impl WireTicket {
    fn ticket(&self) -> Ticket {
        Ticket { boot: self.boot, number: self.number }
    }
}

impl From<&Outcome> for WireOutcome {
    fn from(outcome: &Outcome) -> Self {
        match *outcome {
            Outcome::Matched(index) => WireOutcome::Matched(index.0),
            Outcome::Conflict { rejected, term, first } => WireOutcome::Conflict(WireConflict {
                rejected: rejected.0,
                term: term.map(|term| term.0),
                first: first.0,
            }),
            Outcome::Stale => WireOutcome::Stale(true),
            Outcome::NeedsSnapshot(index) => WireOutcome::NeedsSnapshot(index.0),
            Outcome::ChunksTaken { transfer, next } => {
                WireOutcome::ChunksTaken(WireChunksTaken { transfer, next })
            }
        }
    }
}

impl From<WireOutcome> for Outcome {
    fn from(outcome: WireOutcome) -> Self {
        match outcome {
            WireOutcome::Matched(index) => Outcome::Matched(Index(index)),
            WireOutcome::Conflict(WireConflict { rejected, term, first }) => Outcome::Conflict {
                rejected: Index(rejected),
                term: term.map(Term),
                first: Index(first),
            },
            WireOutcome::Stale(_) => Outcome::Stale,
            WireOutcome::NeedsSnapshot(index) => Outcome::NeedsSnapshot(Index(index)),
            WireOutcome::ChunksTaken(WireChunksTaken { transfer, next }) => {
                Outcome::ChunksTaken { transfer, next }
            }
        }
    }
}

#[cfg(test)]
mod tests;
