//! What members send each other.

use bytes::Bytes;
use quorate_core::RequestId;

use super::log::{Entry, Index, Term};
use super::memory::Greeting;
use super::snapshot::Snapshot;

/// A message between two members.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Asks for a vote (§5.2), or whether a vote would be given (thesis §9.6).
    RequestVote {
        /// The term to lead in.
        term: Term,
        /// The term of the asker's last entry.
        last_term: Term,
        /// The index of the asker's last entry.
        last_index: Index,
        /// What the vote is for.
        kind: VoteKind,
        /// About memories.
        greeting: Greeting,
    },
    /// Answers a [`Message::RequestVote`].
    Vote {
        /// The term that was asked for if granted, else the voter's own.
        term: Term,
        /// Whether a pre-vote was asked for.
        is_pre: bool,
        /// The answer.
        is_granted: bool,
        /// About memories.
        greeting: Greeting,
    },
    /// Brings entries; empty, it is a heartbeat.
    Append(Append),
    /// Answers an [`Append`].
    Appended {
        /// The follower's term.
        term: Term,
        /// The round of the message answered.
        round: u64,
        /// What came of it.
        outcome: Outcome,
        /// About memories.
        greeting: Greeting,
    },
    /// Brings a piece of what stands for entries that the leader no longer has.
    InstallSnapshot(InstallSnapshot),
    /// Tells the receiver to campaign at once: leadership is handed to it (thesis §3.10).
    TimeoutNow {
        /// The term of the leader that hands over.
        term: Term,
    },
    /// Brings proposals to the leader.
    Submit(Submission),
    /// Asks the leader for an index to read at.
    ReadIndex {
        /// What the answer must carry.
        ticket: Ticket,
    },
    /// Asks what the receiver knows of the sender's memory, or answers that.
    Hello {
        /// About memories.
        greeting: Greeting,
    },
    /// Answers a [`Message::ReadIndex`].
    ReadIndexAnswer {
        /// The question's ticket.
        ticket: Ticket,
        /// The index.
        index: Index,
    },
}

impl Message {
    /// The term it speaks of; reads and memories are about none.
    pub fn term(&self) -> Option<Term> {
        match self {
            Message::RequestVote { term, .. }
            | Message::Vote { term, .. }
            | Message::Appended { term, .. }
            | Message::TimeoutNow { term } => Some(*term),
            Message::Append(append) => Some(append.term),
            Message::InstallSnapshot(install) => Some(install.term),
            Message::Submit(submission) => Some(submission.term),
            Message::ReadIndex { .. } | Message::ReadIndexAnswer { .. } | Message::Hello { .. } => {
                None
            }
        }
    }

    /// What it says about memories; of what counts for nothing, nothing is said.
    pub fn greeting(&self) -> Option<Greeting> {
        match self {
            Message::RequestVote { greeting, .. }
            | Message::Vote { greeting, .. }
            | Message::Appended { greeting, .. }
            | Message::Hello { greeting } => Some(*greeting),
            Message::Append(append) => Some(append.greeting),
            Message::InstallSnapshot(install) => Some(install.greeting),
            _ => None,
        }
    }

    /// The size of the payloads it carries, in bytes.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Message::Append(append) => append.entries.iter().map(|entry| entry.payload.len()).sum(),
            Message::InstallSnapshot(install) => install.bytes.len(),
            Message::Submit(submission) => {
                submission.proposals.iter().map(|(_, payload)| payload.len()).sum()
            }
            _ => 0,
        }
    }
}

/// What a vote is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteKind {
    /// To learn whether a campaign would succeed; it binds nobody.
    Pre,
    /// To lead.
    Real,
    /// To lead, at the wish of the leader itself, whose being well is then no reason to refuse.
    Handover,
}

/// A leader's message to a follower (§5.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Append {
    /// The leader's term.
    pub term: Term,
    /// The index before the first entry.
    pub previous_index: Index,
    /// The term there.
    pub previous_term: Term,
    /// The entries.
    pub entries: Vec<Entry>,
    /// What the leader knows to be committed.
    pub commit: Index,
    /// The newest round of reads that is waiting for a majority to answer.
    pub round: u64,
    /// About memories.
    pub greeting: Greeting,
}

/// A leader's message to a follower that lacks what the leader has compacted (§7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstallSnapshot {
    /// The leader's term.
    pub term: Term,
    /// Which of the leader's transfers this belongs to, counted within its term. It gives another number to one that
    /// begins anew, even for the same state: its pieces may be others.
    pub transfer: u64,
    /// What the state stands for.
    pub snapshot: Snapshot,
    /// Which piece this is, counted from 0.
    pub number: u64,
    /// The piece.
    pub bytes: Bytes,
    /// Whether it is the last one.
    pub is_last: bool,
    /// About memories.
    pub greeting: Greeting,
}

/// What came of an [`Append`] or an [`InstallSnapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The follower's log agrees with the leader's up to this index, durably.
    Matched(Index),
    /// The logs differ at `previous_index`.
    Conflict {
        /// The index that was asked about.
        rejected: Index,
        /// The term the follower holds there; none if its log is shorter.
        term: Option<Term>,
        /// The first index of that term in the follower's log, or the one after its end.
        first: Index,
    },
    /// The sender's term is over.
    Stale,
    /// As [`Outcome::Matched`]; and the follower's application needs a snapshot, whatever its log holds.
    NeedsSnapshot(Index),
    /// The follower's application has taken these pieces of a snapshot.
    ChunksTaken {
        /// The transfer.
        transfer: u64,
        /// The first piece that it has not taken; 0 if it knows nothing of the transfer.
        next: u64,
    },
}

/// Proposals on their way to the leader, all from one run of one member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Submission {
    /// The term of the leader they are meant for; no other may take them.
    pub term: Term,
    /// The sender's run.
    pub boot: u64,
    /// Proposals of this run with smaller names are settled, and must not be taken any more.
    pub settled_below: RequestId,
    /// The proposals.
    pub proposals: Vec<(RequestId, Bytes)>,
}

/// Names one question for an index to read at, in all runs of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// The asker's run.
    pub boot: u64,
    /// Counted within the run.
    pub number: u64,
}
