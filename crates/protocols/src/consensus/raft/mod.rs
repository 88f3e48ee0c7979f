//! Raft: a replicated log; what a majority holds is committed, in one order, for ever.
//!
//! Source: Ongaro, "Consensus: bridging theory and practice", 2014 (the thesis; § below refers to the paper,
//! Ongaro and Ousterhout, "In search of an understandable consensus algorithm (extended version)", 2014).
//! Model: crash and recovery, asynchronous; messages are lost, repeated and reordered; n = 2f + 1.
//! Safety: election safety, leader append-only, log matching, leader completeness, state machine safety; a proposal is
//! committed at most once, however often it was sent ([`proposals`]); reads are linearizable. All but the last, which
//! can only be seen from where the clients are, are checked by [`properties`].
//! Liveness: a proposal is committed. Needs: a majority that is up and can reach each other for a few election
//! timeouts.
//! Departures: proposals and reads may be put to any member, which passes them on; a proposal that a change of leader
//! lost is submitted again by the member it was put to, never by the client.
//! Omitted: snapshots, log compaction, changes of membership, leases.
//! Cost: 2 message delays and 2(n − 1) messages a batch at the leader; a read 2 delays; through a follower 2 more.
//! Read next: [`Raft::step`], then `on_append` in `replication.rs`, then `advance_commit`; the traces in
//! `tests/raft/golden`, `the_first_election` first.

pub mod log;
pub mod membership;
pub mod message;
pub mod properties;
pub mod proposals;
pub mod snapshot;

mod election;
mod reads;
mod replication;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{Input, Mutants, NodeId, Out, Protocol, RequestId};

pub use log::{Entry, Index, Log, Origin, Term};
pub use membership::{Member, Membership, Standing};
pub use message::{Append, Message, Outcome, Submission, Ticket, VoteKind};
pub use snapshot::Snapshot;

use proposals::Proposals;
use reads::{LeaderReads, Reads};
use replication::Progress;

/// The names of all deliberate bugs that [`Config::mutants`] can switch on in this protocol.
pub const MUTANTS: &[&str] = &[
    "votes_before_durable",
    "forgets_its_vote",
    "grants_to_shorter_logs",
    "counts_older_term",
    "acknowledges_before_durable",
    "counts_itself_before_durable",
    "serves_stale_reads",
    "skips_log_matching",
    "ignores_conflicts",
    "commits_beyond_match",
    "resubmits_without_barrier",
    "accepts_repeated_proposals",
    "accepts_settled_proposals",
    "acknowledges_conflicts",
    "truncates_on_old_messages",
    "reads_before_its_term_opens",
];

/// What a member knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member.
    pub me: NodeId,
    /// All members, this one included, each once.
    pub members: Vec<NodeId>,
    /// How long a follower hears nothing before it suspects the leader. It campaigns up to as long again after that.
    pub election_timeout: Duration,
    /// How often a leader speaks, at least.
    pub heartbeat_interval: Duration,
    /// How long a proposal or a read may wait before it is given up.
    pub request_timeout: Duration,
    /// The number of own proposals and reads that may be under way; more are refused.
    pub requests_max: usize,
    /// The size of own proposals under way at which more are refused.
    pub proposal_bytes_max: usize,
    /// The size of the entries of one message, at most; one entry is sent whatever its size.
    pub append_bytes_max: usize,
    /// The size of the entries sent to a follower and not yet acknowledged at which no more are sent.
    pub bytes_in_flight_max: usize,
    /// The number of entries sent to a follower and not yet acknowledged, at most.
    pub entries_in_flight_max: u64,
    /// Deliberate bugs.
    pub mutants: Mutants,
}

impl Config {
    /// The usual settings for a member of a cluster on one site.
    pub fn new(me: NodeId, members: Vec<NodeId>) -> Self {
        Config {
            me,
            members,
            election_timeout: Duration::from_millis(500),
            heartbeat_interval: Duration::from_millis(50),
            request_timeout: Duration::from_secs(5),
            requests_max: 20_000,
            proposal_bytes_max: 256 << 20,
            append_bytes_max: 1 << 20,
            bytes_in_flight_max: 8 << 20,
            entries_in_flight_max: 1 << 14,
            mutants: Mutants::NONE,
        }
    }

    /// The other members.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().copied().filter(|member| *member != self.me)
    }

    /// How often lost proposals and reads are sent again.
    fn retry_interval(&self) -> Duration {
        self.election_timeout / 2
    }

    /// After how many retries a request is given up.
    fn retries_max(&self) -> u32 {
        (self.request_timeout.as_nanos() / self.retry_interval().as_nanos().max(1)) as u32
    }
}

/// The timers of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Follower: the leader is silent. Candidate: the vote takes too long.
    Election,
    /// Leader: time to speak.
    Heartbeat,
    /// Leader: time to see whether a majority still answers.
    Quorum,
    /// The end of a batch: what was gathered is to be sent.
    Flush,
    /// Requests are waiting: those that were lost are to be sent again.
    Retry,
}

/// A durable write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The member started for the `boot`-th time.
    Booted {
        /// Counted from 1.
        boot: u64,
    },
    /// The member entered a term, or voted in it.
    Voted {
        /// The term.
        term: Term,
        /// Whom it voted for, if anybody.
        vote: Option<NodeId>,
    },
    /// Entries follow the one at `after`; what was there before is gone.
    Appended {
        /// The index before the first of them.
        after: Index,
        /// The entries.
        entries: Vec<Entry>,
        /// What is known to be committed. Older records may say more than newer ones; the largest counts.
        commit: Index,
    },
}

/// What a member knows after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    /// How often it has started.
    pub boot: u64,
    /// The newest term it has seen.
    pub term: Term,
    /// Its vote in that term.
    pub vote: Option<NodeId>,
    /// An index that was committed.
    pub commit: Index,
    /// Its log.
    pub log: Log,
}

/// What a client of a member may ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Append this to the log.
    Propose(Bytes),
    /// Name an index such that a state machine that has applied the log up to it holds everything that was
    /// acknowledged before this request.
    Read,
    /// Hand leadership to another member. Only the leader can.
    Transfer(NodeId),
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
    /// The request did not happen.
    Refused(Refusal),
    /// Time ran out. The proposal may be committed, now or later, or never.
    Unknown,
}

/// Why a request did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No leader was found in time.
    NoLeader,
    /// This member is not the leader, and the request is for the leader alone.
    NotLeader,
    /// Too many requests are under way at this member.
    Overloaded,
    /// The named node is not another member.
    NoSuchMember,
}

/// A member of a Raft group.
///
/// Invariants, each a theorem of §5 that the simulator checks: `commit` never falls; entries up to `commit` never
/// change; `term` never falls; there is one vote a term; `durable <= log.last_index()`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    boot: u64,
    term: Term,
    vote: Option<NodeId>,
    log: Log,
    commit: Index,
    /// The newest index of our own log that is durable here.
    durable: Index,
    /// Records that are not durable yet: each one's number, and the last index it holds.
    unsynced: std::collections::VecDeque<(u64, Index)>,
    role: Role,
    /// Whether a leader was heard within the last election timeout (thesis §4.2.3).
    has_heard_leader: bool,
    proposals: Proposals,
    reads: Reads,
    is_flush_armed: bool,
    is_retry_armed: bool,
    /// Messages that made no sense, and were ignored.
    nonsense: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Role {
    Follower { leader: Option<NodeId> },
    PreCandidate { votes: BTreeSet<NodeId> },
    Candidate { votes: BTreeSet<NodeId> },
    Leader(Box<Leader>),
}

/// What only a leader knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Leader {
    progress: BTreeMap<NodeId, Progress>,
    /// The index of the empty entry that opened our term.
    opened_at: Index,
    /// Proposals gathered for the next batch.
    batch: Vec<Entry>,
    /// The proposals of other members that we have taken in this term.
    taken: BTreeMap<NodeId, proposals::Taken>,
    reads: LeaderReads,
    /// Whom we are handing leadership to.
    transfer_to: Option<NodeId>,
}

impl Raft {
    /// This member's term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The leader of this term, if it is known.
    pub fn leader(&self, config: &Config) -> Option<NodeId> {
        match &self.role {
            Role::Follower { leader } => *leader,
            Role::PreCandidate { .. } | Role::Candidate { .. } => None,
            Role::Leader(_) => Some(config.me),
        }
    }

    /// Whether this member leads. It may have been deposed and not know it yet.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Whether this member asks for votes.
    pub fn is_candidate(&self) -> bool {
        matches!(self.role, Role::PreCandidate { .. } | Role::Candidate { .. })
    }

    /// The newest index known to be committed.
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// The log; entries up to [`Raft::commit`] never change.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// How often this member has started; it marks the proposals of this run.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// The number of messages that made no sense.
    pub fn nonsense(&self) -> u64 {
        self.nonsense
    }

    fn ask(&mut self, config: &Config, id: RequestId, request: Request, out: &mut Out<'_, Self>) {
        match request {
            Request::Propose(_) | Request::Read
                if self.proposals.len() + self.reads.len() >= config.requests_max =>
            {
                out.reply(id, Response::Refused(Refusal::Overloaded));
            }
            Request::Propose(_) if self.proposals.bytes() >= config.proposal_bytes_max => {
                out.reply(id, Response::Refused(Refusal::Overloaded));
            }
            Request::Propose(payload) => self.propose(config, id, payload, out),
            Request::Read => self.read(config, id, out),
            Request::Transfer(to) => self.transfer(config, id, to, out),
        }
    }

    fn deliver(
        &mut self,
        config: &Config,
        from: NodeId,
        message: Message,
        out: &mut Out<'_, Self>,
    ) {
        let is_stranger = from == config.me || !config.members.contains(&from);
        if is_stranger || message.term().is_some_and(|term| term >= Term::END) {
            self.nonsense += 1;
            return;
        }
        match message {
            Message::RequestVote { term, last_term, last_index, kind } => {
                self.on_request_vote(config, from, term, (last_term, last_index), kind, out);
            }
            Message::Vote { term, is_pre, is_granted } => {
                self.on_vote(config, from, term, is_pre, is_granted, out);
            }
            Message::Append(append) => self.on_append(config, from, append, out),
            Message::Appended { term, round, outcome } => {
                self.on_appended(config, from, term, round, outcome, out);
            }
            Message::TimeoutNow { term } => self.on_timeout_now(config, from, term, out),
            Message::Submit(submission) => self.on_submit(config, from, submission, out),
            Message::ReadIndex { ticket } => self.on_read_index(from, ticket, out),
            Message::ReadIndexAnswer { ticket, index } => {
                self.on_read_index_answer(ticket, index, out);
            }
        }
    }

    /// The end of a batch: everything gathered leaves in one message a peer.
    fn flush(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.is_flush_armed = false;
        if self.is_leader() {
            self.append_batch(config, out);
            self.open_read_round(config);
            self.replicate(config, out);
            self.confirm_reads(config, out);
        } else if let Some(leader) = self.leader(config) {
            self.submit(config, leader, out);
            self.ask_for_read_index(leader, out);
        }
    }

    fn arm_flush(&mut self, out: &mut Out<'_, Self>) {
        if !self.is_flush_armed {
            self.is_flush_armed = true;
            out.arm_now(Timer::Flush);
        }
    }

    fn arm_retry(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if !self.is_retry_armed {
            self.is_retry_armed = true;
            let interval = config.retry_interval();
            out.arm(Timer::Retry, interval..interval);
        }
    }

    /// Sends lost requests again, and gives up those that have waited too long.
    fn retry(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.is_retry_armed = false;
        let retries_max = config.retries_max();
        self.proposals.retry(retries_max, |id, response| out.reply(id, response));
        self.reads.retry(retries_max, |id, response| out.reply(id, response));
        if self.proposals.len() + self.reads.len() > 0 {
            self.arm_retry(config, out);
            self.submit_again(config, out);
        }
    }
}

impl Protocol for Raft {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;
    type Durable = Durable;
    type Request = Request;
    type Response = Response;

    fn fold(durable: &mut Durable, _number: u64, record: Record) {
        match record {
            Record::Booted { boot } => durable.boot = boot,
            Record::Voted { term, vote } => {
                durable.term = term;
                durable.vote = vote;
            }
            Record::Appended { after, entries, commit } => {
                durable.log.truncate_after(after);
                for entry in entries {
                    durable.log.push(entry);
                }
                durable.commit = durable.commit.max(commit);
            }
        }
    }

    fn recover(config: &Config, durable: Durable, out: &mut Out<'_, Self>) -> Self {
        let Durable { boot, term, vote, commit, log } = durable;
        assert!(commit <= log.last_index(), "the durable commit index is beyond the durable log");
        let raft = Raft {
            boot: boot + 1,
            term,
            vote,
            durable: log.last_index(),
            log,
            commit,
            unsynced: Default::default(),
            role: Role::Follower { leader: None },
            has_heard_leader: false,
            proposals: Proposals::default(),
            reads: Reads::default(),
            is_flush_armed: false,
            is_retry_armed: false,
            nonsense: 0,
        };
        // Everything said from here on waits for this record, so no two runs ever speak under one number.
        out.persist(Record::Booted { boot: raft.boot });
        // If there is a leader, its voters refuse the pre-vote; if there is none, there should be one soon.
        out.arm(Timer::Election, Duration::ZERO..config.election_timeout);
        raft
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Deliver { from, message } => self.deliver(config, from, message, out),
            Input::Fire(Timer::Election) => self.on_election_timeout(config, out),
            Input::Fire(Timer::Heartbeat) => self.heartbeat(config, out),
            Input::Fire(Timer::Quorum) => self.check_quorum(config, out),
            Input::Fire(Timer::Flush) => self.flush(config, out),
            Input::Fire(Timer::Retry) => self.retry(config, out),
            Input::Ask { id, request } => self.ask(config, id, request, out),
            Input::Synced { upto } => self.on_synced(config, upto, out),
            Input::Lost { peer } => self.on_lost(config, peer, out),
        }
    }

    fn view(&self) -> String {
        let role = match &self.role {
            Role::Follower { leader: Some(leader) } => format!("follower of {leader}"),
            Role::Follower { leader: None } => "follower".into(),
            Role::PreCandidate { votes } => format!("pre-candidate with {}", votes.len()),
            Role::Candidate { votes } => format!("candidate with {}", votes.len()),
            Role::Leader(_) => "leader".into(),
        };
        format!("{role}@{} commit={} last={}", self.term, self.commit, self.log.last_index())
    }
}
