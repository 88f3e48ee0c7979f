//! What a face asks of a node, and what the node answers.

use quorate_core::{GroupId, NodeId};

use crate::auth::Asker;
use crate::backup::Backup;
use crate::error::Error;
use crate::long_read::{LongDigest, LongRead};
use crate::node::members::MemberInfo;
use crate::request::{Command, Query, Response, Revision};
use crate::tally::Tally;
use crate::watch::History;

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
    /// Hand out the shard's store as this replica has it now.
    Backup {
        /// The shard.
        group: GroupId,
    },
    /// Hand out a hash of what can be read of the shard's store.
    Digest {
        /// The shard.
        group: GroupId,
        /// The newest revision to look at; that of the store, if none is given.
        upto: Option<Revision>,
    },
    /// Hand out what was changed in the shard's store, as this replica has it.
    History {
        /// The shard.
        group: GroupId,
        /// Wait until there is more than this; if none is given, answer at once.
        beyond: Option<Known>,
    },
    /// Have the time that this node has led since the last such request end leases that are over. To be asked again and
    /// again, of every node: one that does not lead has nothing to do.
    Tick {
        /// The shard.
        group: GroupId,
    },
    /// Say who the members are.
    Members {
        /// The shard.
        group: GroupId,
        /// Answer with every change that was acknowledged before this was asked; else as far as this node knows.
        is_linearizable: bool,
    },
    /// Change who the members are, or what is known of one. Only the leader can; of all requests this is the one that
    /// the node doesn't pass on.
    ChangeMembers {
        /// The shard.
        group: GroupId,
        /// What to change.
        change: MemberChange,
    },
    /// A command or a query on behalf of somebody. While authentication is enabled, one that is not in here is nobody's.
    For {
        /// Who asks.
        asker: Asker,
        /// What for.
        request: Box<NodeRequest>,
    },
}

impl NodeRequest {
    /// The shard that it is about.
    pub fn group(&self) -> GroupId {
        match self {
            NodeRequest::Command { group, .. }
            | NodeRequest::Query { group, .. }
            | NodeRequest::Status { group }
            | NodeRequest::TransferLeadership { group, .. }
            | NodeRequest::Backup { group }
            | NodeRequest::Digest { group, .. }
            | NodeRequest::History { group, .. }
            | NodeRequest::Tick { group }
            | NodeRequest::Members { group, .. }
            | NodeRequest::ChangeMembers { group, .. } => *group,
            NodeRequest::For { request, .. } => request.group(),
        }
    }
}

/// What somebody knows of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// Its revision.
    pub revision: Revision,
    /// The version of its users and roles ([`crate::store::AuthTable::version`]).
    pub auth: u64,
}

/// A change of who the members are, or of what is known of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MemberChange {
    /// Takes a node in, which is sent everything and doesn't vote yet.
    Add {
        /// Its id, which no node may ever have had.
        node: NodeId,
        /// Where the others reach it.
        peer_urls: Vec<String>,
        /// It stays a learner until it is promoted; else it is given a vote as soon as it has caught up.
        is_learner: bool,
    },
    /// Lets a member go, for ever.
    Remove {
        /// The member.
        node: NodeId,
    },
    /// The others reach a member elsewhere.
    Update {
        /// The member.
        node: NodeId,
        /// Where.
        peer_urls: Vec<String>,
    },
    /// Gives a learner a vote.
    Promote {
        /// The learner.
        node: NodeId,
    },
    /// What a member that has started says of itself.
    Introduce {
        /// The member.
        node: NodeId,
        /// What people call it.
        name: String,
        /// Where clients reach it.
        client_urls: Vec<String>,
    },
    /// An alarm is raised or cleared.
    SetAlarm {
        /// The member that it is about.
        node: NodeId,
        /// The alarm.
        alarm: Alarm,
        /// Whether it is raised.
        is_raised: bool,
    },
}

/// Something about a member that a person must look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// Its store is as large as it may be.
    NoSpace,
    /// Its data is not that of the others.
    Corrupt,
    /// Its disk is full. To clients this is [`Alarm::NoSpace`]; other members have room, and go on.
    DiskFull,
}

impl Alarm {
    /// Its number in what is kept of a member, and for those that etcd has in its protocol.
    pub fn number(self) -> i32 {
        match self {
            Alarm::NoSpace => 1,
            Alarm::Corrupt => 2,
            // Far from those that etcd may yet give.
            Alarm::DiskFull => 1001,
        }
    }

    /// The alarm with this number.
    pub fn from_number(number: i32) -> Option<Alarm> {
        [Alarm::NoSpace, Alarm::Corrupt, Alarm::DiskFull]
            .into_iter()
            .find(|alarm| alarm.number() == number)
    }
}

/// A member as it is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Whether it does not vote.
    pub is_learner: bool,
    /// What else is known of it.
    pub info: MemberInfo,
}

impl Member {
    /// Whether it does not vote and is not about to.
    pub fn is_plain_learner(&self) -> bool {
        self.is_learner && !self.info.awaits_vote
    }
}

/// Who the members are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Members {
    /// The answering replica's term.
    pub term: u64,
    /// In the order of their ids.
    pub members: Vec<Member>,
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
    /// To a question about the members, or a change of them: who they are now.
    Members(Result<Members, Error>),
    /// To a request for a backup.
    Backup(Result<Backup, Error>),
    /// To a query whose answer takes long: whoever asked carries it out.
    LongRead(LongRead),
    /// To a request for a digest: whoever asked computes it.
    Digest(Result<LongDigest, Error>),
    /// To a request for what was changed.
    History(Result<History, Error>),
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
    /// Whether it takes part without a vote, as far as it knows.
    pub is_learner: bool,
    /// Whether its vote and its copies count, as far as it knows: not those of a learner, nor those of one that lost its
    /// memory and is yet to be taken in again.
    pub is_counted: bool,
    /// The life of its memory: 0 unless it has ever lost it.
    pub life: u64,
    /// Whether it took part and has learnt that it doesn't any more.
    pub is_removed: bool,
    /// The leader it knows of.
    pub leader: Option<NodeId>,
    /// The entry behind which its log begins: those up to it are let go, or never came.
    pub log_base: u64,
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
    /// What its store occupies, on the disk and in memory until it is there.
    pub occupied_bytes: u64,
    /// Whether there was no room left for its store at the last look.
    pub is_full: bool,
    /// Whether that is because it is larger than it may be.
    pub is_over_quota: bool,
    /// How much its store may occupy, if that is limited.
    pub quota_bytes: Option<u64>,
    /// What it has done since its node started.
    pub tally: Tally,
    /// The messages of peers to its node that were of kinds which this version doesn't know.
    pub messages_unread: u64,
    /// Those that made no sense, or came for shards that the node has not.
    pub messages_nonsense: u64,
}
