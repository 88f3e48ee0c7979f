//! What a face asks of a node, and what the node answers.

use quorate_core::{GroupId, NodeId};

use crate::error::Error;
use crate::request::{Command, Query, Response, Revision};

/// A question to one node. Any node takes any question: what only the leader can do, the node has it do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRequest {
    /// Carry out a command; answered once its effect is durable on a quorum and visible on this node.
    Command {
        /// The shard.
        group: GroupId,
        /// What to do.
        command: Command,
    },
    /// Answer a query.
    Query {
        /// The shard.
        group: GroupId,
        /// What to read.
        query: Query,
        /// Answer from this replica as it stands, instead of linearizably.
        serializable: bool,
    },
    /// Say how the shard's replica on this node is doing; answered at once, without asking other nodes.
    Status {
        /// The shard.
        group: GroupId,
    },
    /// Hand leadership of the shard to another member.
    TransferLeadership {
        /// The shard.
        group: GroupId,
        /// The next leader.
        to: NodeId,
    },
}

/// The answer to a [`NodeRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeResponse {
    /// To a command or a query.
    Done {
        /// The replica's term when it answered.
        term: u64,
        /// What came of it.
        outcome: Result<Response, Error>,
    },
    /// To a question after the status.
    Status(Status),
    /// To a transfer of leadership: whether it was begun.
    Transfer(Result<(), Error>),
}

/// What a replica takes part as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It follows a leader, or waits for one.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

/// How a replica is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it takes part as.
    pub role: Role,
    /// The leader it knows of.
    pub leader: Option<NodeId>,
    /// Its term.
    pub term: u64,
    /// How often the leader that it knows of has changed to another one since the node started.
    pub leader_changes: u64,
    /// The newest log index it knows to be committed.
    pub commit_index: u64,
    /// The newest log index whose effect is in its store.
    pub applied_index: u64,
    /// The revision of its store.
    pub revision: Revision,
    /// The oldest revision that can still be read.
    pub compact_revision: Revision,
    /// The number of keys in its store.
    pub keys: usize,
    /// The size of keys and values in its store, old versions included.
    pub bytes: u64,
}
