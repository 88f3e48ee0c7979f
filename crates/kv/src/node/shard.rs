//! One replica of one shard: a Raft member, the store that its committed entries make, and who waits for them.

use std::collections::{BTreeMap, VecDeque};

use quorate_core::{GroupId, Input, NodeId, Out, Protocol, RequestId};
use quorate_engine::{Engine, EngineError, MemoryEngine};
use quorate_protocols::consensus::raft::{self, Index, Raft, Refusal, Standing};

use super::members::Register;
use super::{Config, Lift, Node};
use crate::backup::{BACKUP_CHUNK_BYTES_MAX, Backup};
use crate::error::Error;
use crate::request::{Command, Query, Response, Revision};
use crate::service::{NodeRequest, NodeResponse, Role, Status};
use crate::store::Store;
use crate::{validate, wire};

/// The number of changes that one step of removing garbage looks at.
const COLLECTED_PER_STEP: usize = 1000;

/// One replica of one shard.
pub struct Shard<E: Engine = MemoryEngine> {
    raft: Raft,
    store: Store<E>,
    /// The newest entry whose effect is in the store.
    applied: Index,
    /// Own commands that are committed and not applied, in the order of the log.
    committed: VecDeque<(Index, RequestId)>,
    /// Queries that wait for an index to read at.
    queries: BTreeMap<RequestId, Query>,
    /// Compactions whose answer waits until their garbage is gone, in the order of the log.
    compactions: VecDeque<(Revision, RequestId, NodeResponse)>,
    /// Why nothing is applied any more, if so.
    failed: Option<EngineError>,
    /// Queries that wait until the store has come to their index.
    readable: BTreeMap<(Index, RequestId), Waiting>,
    /// Who asks about the members, and who they are.
    register: Register,
    /// The leader that was last known, and how often another one took its place.
    leader: Option<NodeId>,
    leader_changes: u64,
    /// Entries that hold no command this version knows.
    undecodable: u64,
}

/// A query that waits for the store.
struct Waiting {
    query: Query,
    /// Whether it was waiting already when overdue ones were last given up.
    is_overdue: bool,
}

/// What becomes of a request that has come in.
pub(super) enum Admitted {
    /// It is answered at once.
    Answer(NodeResponse),
    /// It goes to Raft.
    Ask(raft::Request),
    /// It is about the members, and can be answered now.
    Settled,
}

impl<E: Engine> Shard<E> {
    /// The Raft member.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// The store.
    pub fn store(&self) -> &Store<E> {
        &self.store
    }

    /// The newest entry whose effect is in the store.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The number of committed entries that hold no command this version knows; they had no effect.
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// How this replica is doing.
    pub fn status(&self, config: &Config) -> Status {
        let role = match (self.raft.is_leader(), self.raft.is_candidate()) {
            (true, _) => Role::Leader,
            (_, true) => Role::Candidate,
            _ => Role::Follower,
        };
        let standing = self.raft.membership().get(config.raft.me).map(|member| member.standing);
        Status {
            role,
            is_learner: standing == Some(Standing::Learner),
            is_removed: self.raft.is_removed(&config.raft),
            leader: self.raft.leader(&config.raft),
            term: self.raft.term().0,
            leader_changes: self.leader_changes,
            commit_index: self.raft.commit().0,
            applied_index: self.applied.0,
            revision: self.store.revision(),
            compact_revision: self.store.compact_revision(),
            keys: self.store.live_keys(),
            bytes: self.store.bytes(),
        }
    }

    pub(super) fn view(&self) -> String {
        format!("{} applied={}", self.raft.view(), self.applied)
    }

    pub(super) fn recover(
        config: &Config,
        group: GroupId,
        durable: raft::Durable,
        engine: E,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) -> Self {
        let raft = out.nest(
            |effect, out| {
                let reply = lift.effect(config, effect, out);
                assert!(reply.is_none(), "an answer before any question");
            },
            |out| Raft::recover(&config.raft, durable, out),
        );
        // A node whose disk is damaged does not start: it says what is damaged, and the other replicas go on.
        let store = Store::open(engine, config.mutants())
            .unwrap_or_else(|error| panic!("{group} cannot be served: {error}"));
        let mut shard = Shard {
            register: Register::new(&raft),
            raft,
            applied: applied_in(store.applied()),
            store,
            committed: VecDeque::new(),
            queries: BTreeMap::new(),
            compactions: VecDeque::new(),
            failed: None,
            readable: BTreeMap::new(),
            leader: None,
            leader_changes: 0,
            undecodable: 0,
        };
        shard.apply_committed(config, out);
        if config.mutants().has("applies_twice_after_restart") {
            shard.applied = Index(0);
        }
        shard
    }

    /// Looks at a request before Raft does: what is wrong is refused here, and what needs no agreement is answered.
    pub(super) fn admit(
        &mut self,
        config: &Config,
        id: RequestId,
        request: NodeRequest,
    ) -> Admitted {
        match request {
            NodeRequest::Status { .. } => {
                Admitted::Answer(NodeResponse::Status(self.status(config)))
            }
            NodeRequest::TransferLeadership { to, .. } => {
                Admitted::Ask(raft::Request::Transfer(to))
            }
            NodeRequest::Backup { .. } => {
                let term = self.raft.term().0;
                let reader = self.store.snapshot(BACKUP_CHUNK_BYTES_MAX);
                let backup = reader.map(|reader| Backup::new(term, reader));
                Admitted::Answer(NodeResponse::Backup(backup))
            }
            NodeRequest::Members { is_linearizable, .. } => {
                self.register.read(id, is_linearizable).map_or(Admitted::Settled, Admitted::Ask)
            }
            NodeRequest::ChangeMembers { change, .. } => {
                let request = self.register.change(&self.raft, id, change);
                request.map_or(Admitted::Settled, Admitted::Ask)
            }
            NodeRequest::Command { command, .. } => match validate::validate(&command) {
                Ok(()) => Admitted::Ask(raft::Request::Propose(wire::encode(&command))),
                Err(error) => Admitted::Answer(self.done(Err(error))),
            },
            NodeRequest::Query { query, serializable, .. } => match validate::validate(&query) {
                Ok(()) if serializable => Admitted::Answer(self.done(self.store.query(&query))),
                // Raft bounds the reads it has under way; those that wait for the store to catch up are ours to bound.
                Ok(()) if self.readable.len() >= config.raft.requests_max => {
                    Admitted::Answer(self.done(Err(Error::TooManyRequests)))
                }
                Ok(()) => {
                    self.queries.insert(id, query);
                    Admitted::Ask(raft::Request::Read)
                }
                Err(error) => Admitted::Answer(self.done(Err(error))),
            },
        }
    }

    pub(super) fn step(
        &mut self,
        config: &Config,
        input: Input<Raft>,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) {
        let Shard { raft, committed, queries, readable, register, .. } = self;
        let term = raft.term().0;
        let mut answer_of = |(id, response)| register.take(id, response);
        out.nest(
            |effect, out| match lift.effect(config, effect, out).and_then(&mut answer_of) {
                Some((id, raft::Response::Committed(index))) => committed.push_back((index, id)),
                Some((id, raft::Response::Readable(index))) => {
                    if let Some(query) = queries.remove(&id) {
                        readable.insert((index, id), Waiting { query, is_overdue: false });
                    }
                }
                Some((id, response)) => {
                    queries.remove(&id);
                    out.reply(id, failed(term, response));
                }
                None => {}
            },
            |out| raft.step(&config.raft, input, out),
        );
        self.note_leader(config);
        self.apply_committed(config, out);
        self.answer_queries(config, out);
        self.register.finish(&self.raft, out);
    }

    /// Who the members are, as the node sees it.
    pub(super) fn register(&self) -> &Register {
        &self.register
    }

    /// Answers what was asked about the members and needs nobody else.
    pub(super) fn finish_members(&mut self, out: &mut Out<'_, Node<E>>) {
        self.register.finish(&self.raft, out);
    }

    fn done(&self, outcome: Result<Response, Error>) -> NodeResponse {
        NodeResponse::Done { term: self.raft.term().0, outcome }
    }

    fn note_leader(&mut self, config: &Config) {
        let leader = self.raft.leader(&config.raft);
        if leader.is_some() && leader != self.leader {
            self.leader_changes += u64::from(self.leader.is_some());
            self.leader = leader;
        }
    }

    /// Applies every committed entry to the store, and answers the commands that were put to this node. Stops for good
    /// where the store's engine fails: what follows must not be applied before the entry that could not be.
    fn apply_committed(&mut self, config: &Config, out: &mut Out<'_, Node<E>>) {
        while self.applied < self.raft.commit() && self.failed.is_none() {
            let index = self.applied.next();
            let response = match self.apply(index) {
                Err(Error::Storage(error)) => {
                    self.failed = Some(error);
                    break;
                }
                response => response,
            };
            self.applied = index;
            if let Ok(Response::Compact(_)) = &response {
                // Most leave little behind, and are done with one step.
                self.collect_garbage(out);
            }
            if let Some((_, id)) = self.committed.pop_front_if(|(at, _)| *at == index) {
                self.answer_command(index, id, response, out);
            }
        }
        self.store.commit();
        assert!(
            self.committed.is_empty()
                || self.failed.is_some()
                || config.mutants().has("applies_twice_after_restart"),
            "a command was committed at an index that was applied before"
        );
    }

    /// Answers a command that was put to this node, unless that must wait.
    fn answer_command(
        &mut self,
        index: Index,
        id: RequestId,
        response: Result<Response, Error>,
        out: &mut Out<'_, Node<E>>,
    ) {
        let is_waiting = matches!(response, Ok(Response::Compact(_)))
            && self.is_physical(index)
            && self.store.has_garbage();
        let response = self.done(response);
        if is_waiting {
            self.compactions.push_back((self.store.compact_revision(), id, response));
        } else {
            out.reply(id, response);
        }
    }

    /// Whether an entry is a compaction that is to be answered once its garbage is gone.
    fn is_physical(&self, index: Index) -> bool {
        let command = self.raft.log().get(index).map(|entry| wire::decode(entry.payload.clone()));
        matches!(command, Some(Ok(Command::Compact(compact))) if compact.physical)
    }

    /// Takes a step in removing what compactions have put out of reach, and returns whether there is more to remove.
    pub(super) fn collect_garbage(&mut self, out: &mut Out<'_, Node<E>>) -> bool {
        if self.failed.is_some() {
            return false;
        }
        let has_more = self.store.collect_garbage(COLLECTED_PER_STEP).unwrap_or_else(|error| {
            self.failed = Some(error);
            false
        });
        let collected = self.store.collected();
        while let Some((_, id, response)) =
            self.compactions.pop_front_if(|(at, _, _)| *at <= collected)
        {
            out.reply(id, response);
        }
        has_more
    }

    /// Applies one committed entry. The empty entry that opens a term is nobody's command.
    fn apply(&mut self, index: Index) -> Result<Response, Error> {
        let applied = index.0.to_le_bytes();
        let payload = match self.raft.log().get(index) {
            Some(entry) if entry.origin.is_some() => entry.payload.clone(),
            _ => {
                self.store.skip(&applied);
                return Err(Error::Unsupported("an empty entry"));
            }
        };
        match wire::decode(payload) {
            Ok(command) => self.apply_command(&command, &applied),
            // The same on every replica of this version: the entry has no effect.
            Err(_) => {
                self.undecodable += 1;
                self.store.skip(&applied);
                Err(Error::Unsupported("a command of another version"))
            }
        }
    }

    /// Where a revision comes from is decided here, and only here: with one shard it is counted.
    fn apply_command(&mut self, command: &Command, applied: &[u8]) -> Result<Response, Error> {
        let next = Revision(self.store.revision().0 + 1);
        self.store.apply_at(command, next, applied)
    }

    /// Whether a query waits for the store to catch up.
    pub(super) fn has_waiting_queries(&self) -> bool {
        !self.readable.is_empty() || self.register.has_waiting()
    }

    /// Gives up the queries that wait since the call before this one: this replica is cut off, or hopelessly behind.
    pub(super) fn give_up_overdue(&mut self, out: &mut Out<'_, Node<E>>) {
        let term = self.raft.term().0;
        self.register.give_up_overdue(out);
        self.readable.retain(|(_, id), waiting| {
            if waiting.is_overdue {
                let outcome = Err(Error::TimedOut);
                out.reply(*id, NodeResponse::Done { term, outcome });
            }
            !std::mem::replace(&mut waiting.is_overdue, true)
        });
    }

    fn answer_queries(&mut self, config: &Config, out: &mut Out<'_, Node<E>>) {
        let is_due = |index: Index, applied: Index| {
            index <= applied || config.mutants().has("reads_without_waiting")
        };
        while let Some(entry) = self.readable.first_entry() {
            if !is_due(entry.key().0, self.applied) {
                break;
            }
            let ((_, id), Waiting { query, .. }) = entry.remove_entry();
            out.reply(id, self.done(self.store.query(&query)));
        }
    }
}

/// The index in what the store keeps for its shard: 0 in an empty store.
fn applied_in(kept: &[u8]) -> Index {
    Index(kept.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
}

/// The answer to a request that Raft did not carry out.
fn failed(term: u64, response: raft::Response) -> NodeResponse {
    let error = match response {
        raft::Response::Refused(Refusal::NoLeader) => Error::NoLeader,
        raft::Response::Refused(Refusal::Overloaded) => Error::TooManyRequests,
        raft::Response::Unknown => Error::TimedOut,
        raft::Response::Transferring => return NodeResponse::Transfer(Ok(())),
        raft::Response::Refused(Refusal::NotLeader { .. }) => {
            return NodeResponse::Transfer(Err(Error::NotLeader));
        }
        raft::Response::Refused(Refusal::NoSuchMember) => {
            return NodeResponse::Transfer(Err(Error::MemberNotFound));
        }
        raft::Response::Committed(_) | raft::Response::Readable(_) => {
            unreachable!("success is not failure")
        }
        raft::Response::Changed(_)
        | raft::Response::Refused(
            Refusal::AlreadyThere
            | Refusal::ChangeUnderWay
            | Refusal::TermNotOpen
            | Refusal::LastVoter
            | Refusal::NotCaughtUp
            | Refusal::NoQuorum,
        ) => unreachable!("what is asked about the members is answered by their register"),
    };
    NodeResponse::Done { term, outcome: Err(error) }
}
