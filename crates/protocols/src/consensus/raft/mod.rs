//! Raft: a replicated log; what a majority holds is committed, in one order, for ever.
//!
//! Source: Ongaro, "Consensus: bridging theory and practice", 2014 (the thesis; § below refers to the paper,
//! Ongaro and Ousterhout, "In search of an understandable consensus algorithm (extended version)", 2014).
//! Model: crash and recovery, asynchronous; messages are lost, repeated and reordered; n = 2f + 1.
//! Safety: election safety, leader append-only, log matching, leader completeness, state machine safety; a proposal is
//! committed at most once, however often it was sent ([`proposals`]); what stands for the beginning of a log was
//! committed ([`snapshot`]); reads are linearizable. All but the last, which can only be seen from where the clients are,
//! are checked by [`properties`].
//! Liveness: a proposal is committed. Needs: a majority that is up and can reach each other for a few election
//! timeouts. Terms have no end, so this is judged by seeds and not by exploration.
//! Departures: proposals and reads may be put to any member, which passes them on; a proposal that a change of leader
//! lost is submitted again by the member it was put to, never by the client. Changes of membership are made one vote at a
//! time or by joint consensus, whichever does ([`changes`]). A snapshot travels in pieces, which the application makes and
//! takes ([`transfer`]); nothing of it is held here. A member whose state is damaged gets one too.
//! Omitted: catching up from another follower; what became of own proposals in a part of the log that a snapshot stands
//! for (their outcome is unknown).
//! Cost: 2 message delays and 2(n − 1) messages a batch at the leader; a read 2 delays, or none with a lease ([`lease`],
//! off unless clocks are trusted); through a follower 2 more. In memory, the entries behind the newest compaction and
//! those it kept for slow followers, however slow they are.
//! Read next: [`Raft::step`], then `on_append` in `replication.rs`, then `advance_commit`; the traces in
//! `tests/raft/golden`, `the_first_election` first.

pub mod changes;
pub mod durable;
pub mod lease;
pub mod log;
pub mod membership;
pub mod memory;
pub mod message;
pub mod properties;
pub mod proposals;
pub mod request;
pub mod snapshot;
pub mod transfer;
pub mod words;

mod election;
mod reads;
mod replication;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use quorate_core::{Input, Mutants, NodeId, Out, Protocol, RequestId};

pub use changes::Change;
pub use durable::{Durable, Record};
pub use lease::Lease;
pub use log::{Entry, Index, Log, Origin, Term};
pub use membership::{Member, Membership, Standing};
pub use memory::{Greeting, Met};
pub use message::{Append, InstallSnapshot, Message, Outcome, Submission, Ticket, VoteKind};
pub use request::{Refusal, Request, Response};
pub use snapshot::{Needed, Snapshot};
pub use transfer::{Chunk, ChunkWanted, Incoming};

use changes::Changes;
use membership::Memberships;
use memory::Memory;
use proposals::Proposals;
use reads::{LeaderReads, Reads};
use replication::Progress;
use transfer::Receipt;

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
    "yields_to_conflicts",
    "reads_before_its_term_opens",
    "installs_without_resetting_log",
    "compacts_uncommitted",
    "forgets_vote_when_compacting",
    "forgets_life_when_compacting",
    "forgets_whom_it_met_when_compacting",
    "resubmits_after_snapshot",
    "releases_too_early",
    "offers_no_snapshot_before_its_term_opens",
    "counts_learners",
    "changes_before_first_commit",
    "commits_joint_by_new_majority_only",
    "votes_by_old_majority_only",
    "learner_campaigns",
    "lease_without_drift",
    "keeps_lease_through_transfer",
    "lease_survives_pause",
    "votes_within_lease_after_restart",
    "votes_after_memory_loss",
    "counts_other_lives",
    "forgets_whom_it_met",
    "counts_past_forgotten_runs",
    "tells_its_run_early",
];

/// What a member knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member.
    pub me: NodeId,
    /// Who takes part before any entry says otherwise: the same at every member that the group began with. One that
    /// joined later must not be named in its own.
    pub bootstrap: Arc<Membership>,
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
    /// The size of the pieces of a snapshot sent to a follower and not yet acknowledged at which no more are sent.
    pub chunk_bytes_in_flight_max: usize,
    /// The number of entries that compaction keeps for followers that are a little behind, at most.
    pub entries_kept: u64,
    /// The size of these entries, at most.
    pub bytes_kept: usize,
    /// How many entries a learner may lack and be promoted all the same.
    pub caught_up_within: u64,
    /// How far clocks are trusted to save reads a round of messages; none if not at all. The same at all members.
    pub lease: Option<Lease>,
    /// Whether a leader takes in members that lost their memory by itself.
    pub readmit_members: bool,
    /// Deliberate bugs.
    pub mutants: Mutants,
}

impl Config {
    /// The usual settings for a member of a cluster on one site, in a group that begins with these voters.
    pub fn new(me: NodeId, voters: Vec<NodeId>) -> Self {
        Config {
            me,
            bootstrap: Arc::new(Membership::of_voters(voters)),
            election_timeout: Duration::from_millis(500),
            heartbeat_interval: Duration::from_millis(50),
            request_timeout: Duration::from_secs(5),
            requests_max: 20_000,
            proposal_bytes_max: 256 << 20,
            append_bytes_max: 1 << 20,
            bytes_in_flight_max: 8 << 20,
            entries_in_flight_max: 1 << 14,
            chunk_bytes_in_flight_max: 4 << 20,
            entries_kept: 10_000,
            bytes_kept: 16 << 20,
            caught_up_within: 1 << 12,
            lease: None,
            readmit_members: true,
            mutants: Mutants::NONE,
        }
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
    /// Leader: a round no longer keeps others from leading.
    Lease(u64),
    /// Follower: may vote again.
    Promise,
}

/// A member of a Raft group.
///
/// Invariants, each a theorem of §5 that the simulator checks: `commit` never falls; entries up to `commit` never
/// change; `term` never falls; there is one vote a term; `durable <= log.last_index()`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    boot: u64,
    memory: Memory,
    term: Term,
    vote: Option<NodeId>,
    log: Log,
    memberships: Memberships,
    /// Whether this member was ever named in a committed membership.
    was_member: bool,
    commit: Index,
    /// The newest index of our own log that is durable here.
    durable: Index,
    /// Records that are not durable yet: each one's number, and the last index it holds.
    unsynced: std::collections::VecDeque<(u64, Index)>,
    needed: Needed,
    /// The record that makes older ones superfluous once it is durable, if there is one.
    unreleased: Option<u64>,
    /// A snapshot that is coming in.
    receipt: Option<Receipt>,
    /// Whether the application's state is of no use until a snapshot is installed.
    needs_snapshot: bool,
    role: Role,
    /// Whether a leader was heard within the last election timeout (thesis §4.2.3).
    has_heard_leader: bool,
    /// Whether a leader may count on this member to vote for nobody (`lease`).
    has_promised: bool,
    proposals: Proposals,
    reads: Reads,
    is_flush_armed: bool,
    is_retry_armed: bool,
    /// Messages that made no sense, and were ignored.
    nonsense: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Role {
    Follower {
        leader: Option<NodeId>,
    },
    PreCandidate {
        votes: BTreeSet<NodeId>,
    },
    /// Our own vote counts once the record of this number is durable.
    Candidate {
        votes: BTreeSet<NodeId>,
        voted: u64,
    },
    Leader(Box<Leader>),
}

/// What only a leader knows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leader {
    progress: BTreeMap<NodeId, Progress>,
    /// The index of the empty entry that opened our term.
    opened_at: Index,
    /// Proposals gathered for the next batch.
    batch: Vec<Entry>,
    /// The proposals of other members that we have taken in this term.
    taken: BTreeMap<NodeId, proposals::Taken>,
    reads: LeaderReads,
    lease: lease::Held,
    /// Whom we are handing leadership to.
    transfer_to: Option<NodeId>,
    /// The number of transfers of snapshots that were begun.
    transfers: u64,
    changes: Changes,
}

impl Hash for Leader {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Leader { progress, opened_at, batch, taken, reads, .. } = self;
        let Leader { lease, transfer_to, transfers, changes, .. } = self;
        NodeId::hash_each(progress, state);
        NodeId::hash_each(taken, state);
        (opened_at, batch, reads, lease, transfer_to, transfers, changes).hash(state);
    }
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

    /// Who takes part, as the newest entry of the log says that says so, committed or not.
    pub fn membership(&self) -> &Arc<Membership> {
        self.memberships.newest()
    }

    /// Who takes part, as the newest such entry says that is known to be committed.
    pub fn committed_membership(&self) -> &Arc<Membership> {
        self.memberships.committed(self.commit)
    }

    /// Whether this member took part and has learnt that it doesn't any more. One that was taken in again learns that
    /// as well once it hears of it.
    pub fn is_removed(&self, config: &Config) -> bool {
        self.was_member && self.committed_membership().get(config.me).is_none()
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
            Request::ChangeMembership(change) => self.change(config, id, &change, out),
        }
    }

    fn deliver(
        &mut self,
        config: &Config,
        from: NodeId,
        message: Message,
        out: &mut Out<'_, Self>,
    ) {
        // Nobody is a stranger: those who know us may know of a membership that we have yet to hear of (thesis §4.1).
        if from == config.me || message.term().is_some_and(|term| term >= Term::END) {
            self.nonsense += 1;
            return;
        }
        if let Some(greeting) = message.greeting()
            && !self.take_greeting(config, from, greeting, out)
        {
            self.nonsense += 1;
            return;
        }
        match message {
            Message::RequestVote { term, last_term, last_index, kind, .. } => {
                self.on_request_vote(config, from, term, (last_term, last_index), kind, out);
            }
            Message::Vote { term, is_pre, is_granted, greeting } => {
                if !is_granted || self.speaks_for_itself(config, from, greeting) {
                    self.on_vote(config, from, term, is_pre, is_granted, out);
                }
            }
            Message::Append(append) => self.on_append(config, from, append, out),
            Message::Appended { term, round, outcome, greeting } => {
                if self.is_counted(config, from, term, greeting, out) {
                    self.on_appended(config, from, term, round, outcome, out);
                }
            }
            Message::InstallSnapshot(install) => {
                self.on_install_snapshot(config, from, install, out);
            }
            Message::Hello { greeting } => self.on_hello(from, greeting, out),
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
            self.read_by_lease(config, out);
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

    fn fold(durable: &mut Durable, number: u64, record: Record) {
        durable.fold(number, record);
    }

    fn recover(config: &Config, mut durable: Durable, out: &mut Out<'_, Self>) -> Self {
        durable.drop_groundless_log();
        let (memory, boot, record) = memory::start(config, &durable, out);
        let Durable { term, vote, commit, mut log, needed, applied, .. } = durable;
        assert!(commit <= log.last_index(), "the durable commit index is beyond the durable log");
        assert!(
            log.base().index == Index(0) || log.base().term > Term(0),
            "records were released before what stands for them was durable"
        );
        log.begin_with(&config.bootstrap);
        let memberships = changes::memberships_of(config.me, &log, commit);
        let mut raft = Raft {
            boot,
            memory,
            term,
            vote,
            durable: log.last_index(),
            log,
            was_member: memberships.1,
            memberships: memberships.0,
            commit,
            unsynced: Default::default(),
            needed,
            unreleased: None,
            receipt: None,
            needs_snapshot: false,
            role: Role::Follower { leader: None },
            has_heard_leader: false,
            has_promised: false,
            proposals: Proposals::default(),
            reads: Reads::default(),
            is_flush_armed: false,
            is_retry_armed: false,
            nonsense: 0,
        };
        // Everything said from here on waits for this record, so no two runs ever speak under one number.
        out.persist(record);
        raft.release_at_start(out);
        raft.take_in_applied(config, applied.unwrap_or_default(), out);
        raft.promise_again(config, out);
        raft.say_hello(config, out);
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
            Input::Fire(Timer::Lease(round)) => self.on_lease_timeout(round),
            Input::Fire(Timer::Promise) => self.has_promised = false,
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
            Role::Candidate { votes, .. } => format!("candidate with {}", votes.len()),
            Role::Leader(_) => "leader".into(),
        };
        let base = match self.log.base().index {
            Index(0) => String::new(),
            base => format!(" base={base}"),
        };
        let (term, commit, last) = (self.term, self.commit, self.log.last_index());
        format!("{role}@{term}{base} commit={commit} last={last}")
    }
}
