//! What a client of a member may ask, and what it is answered.

use bytes::Bytes;
use quorate_core::NodeId;

use super::changes::Change;
use super::log::Index;

/// What a client of a member may ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Append this to the log.
    Propose(Bytes),
    /// Name an index such that a state machine that has applied the log up to it holds everything that was
    /// acknowledged before this request.
    Read,
    /// Hand leadership to another voter. Only the leader can.
    Transfer(NodeId),
    /// Change who takes part. Only the leader can.
    ChangeMembership(Change),
}

/// What it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Response {
    /// The proposal is committed, once, at this index.
    Committed(Index),
    /// A state machine that has applied up to this index may answer the read.
    Readable(Index),
    /// The transfer has begun.
    Transferring,
    /// The change is committed; its last entry is at this index.
    Changed(Index),
    /// The request did not happen.
    Refused(Refusal),
    /// Time ran out, or leadership was lost. The proposal or change may be committed, now or later, or never.
    Unknown,
}

/// Why a request did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No leader was found in time.
    NoLeader,
    /// This member is not the leader, and the request is for the leader alone.
    NotLeader {
        /// The leader, if it is known.
        leader: Option<NodeId>,
    },
    /// Too many requests are under way at this member.
    Overloaded,
    /// The named node takes no part, or doesn't vote where only a voter will do.
    NoSuchMember,
    /// The named node is already what the change would make it.
    AlreadyThere,
    /// Another change, or a transfer of leadership, is under way.
    ChangeUnderWay,
    /// The leader has not committed an entry of its own term yet.
    TermNotOpen,
    /// Nobody would be left to vote.
    LastVoter,
    /// The learner lacks too much of the log to vote.
    NotCaughtUp,
    /// Too few of those who would vote have been heard lately: nothing could be committed any more.
    NoQuorum,
}
