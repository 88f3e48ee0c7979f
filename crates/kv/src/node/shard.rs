//! One replica of one shard: a Raft member, the store that its committed entries make, and who waits for them.

mod apply;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate_core::{Input, NodeId, Out, Protocol, RequestId};
use quorate_engine::{Engine, EngineError, MemoryEngine};
use quorate_protocols::consensus::raft::{self, Index, Raft, Refusal, Snapshot, Standing};

use super::leases::LeaseTime;
use super::members::Register;
use super::onlookers::Onlookers;
use super::transfers::Transfers;
use super::upkeep::Upkeep;
use super::wire::decode_snapshot;
use super::{Config, Lift, Node};
use crate::auth::Asker;
use crate::backup::{BACKUP_CHUNK_BYTES_MAX, Backup};
use crate::error::Error;
use crate::long_read::{LongDigest, LongRead, SHORT};
use crate::request::{Command, Query, Response, Revision};
use crate::service::{Known, NodeRequest, NodeResponse, Role, Status};
use crate::store::{Read, Store};
use crate::tally::Tally;
use crate::validate;
use crate::watch::History;
use crate::wire::{self, WireError};

/// One replica of one shard.
pub struct Shard<E: Engine = MemoryEngine> {
    raft: Raft,
    store: Store<E>,
    /// The newest entry whose effect is in the store.
    applied: Index,
    /// Own commands that are committed and not applied, in the order of the log.
    committed: VecDeque<(Index, RequestId)>,
    /// Queries that wait for an index to read at.
    queries: BTreeMap<RequestId, Asked>,
    /// Compactions whose answer waits until their garbage is gone, in the order of the log.
    compactions: VecDeque<(Revision, RequestId, NodeResponse)>,
    /// Why nothing is applied and nothing answered, until another replica's state has taken the place of this one's.
    failed: Option<EngineError>,
    pub(super) transfers: Transfers<E>,
    pub(super) upkeep: Upkeep,
    pub(super) lease_time: LeaseTime,
    /// Queries that wait until the store has come to their index.
    readable: BTreeMap<(Index, RequestId), Waiting>,
    onlookers: Onlookers,
    /// Who asks about the members, and who they are.
    register: Register,
    /// The leader that was last known, and how often another one took its place.
    leader: Option<NodeId>,
    leader_changes: u64,
    tally: Tally,
    /// The committed entry that this version can't apply, and why. Nothing is applied from there on: a replica that left
    /// it out would no longer be the same store as the others.
    halted: Option<(Index, WireError)>,
}

/// A query, and who asks it.
struct Asked {
    asker: Option<Asker>,
    query: Query,
}

/// A query that waits for the store.
struct Waiting {
    asked: Asked,
    /// Whether it was waiting already when overdue ones were last given up.
    is_overdue: bool,
}

/// What becomes of a request that has come in.
pub(super) enum Admitted {
    /// It is answered at once.
    Answer(NodeResponse),
    /// It goes to Raft.
    Ask(raft::Request),
    /// It waits, or is about the members and can be answered now.
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

    /// The committed entry that this version can't apply, if there is one, and why. The node is to be stopped.
    pub fn halted(&self) -> Option<(Index, &WireError)> {
        self.halted.as_ref().map(|(index, error)| (*index, error))
    }

    /// Why this replica's own state can't be read, if so. It waits for another's.
    pub fn failure(&self) -> Option<&EngineError> {
        self.failed.as_ref()
    }

    /// Why this replica can never serve, if it has lost its state and there is no other to have it from.
    pub(super) fn why_unservable(&self, config: &Config) -> Option<String> {
        let why = match &self.failed {
            Some(error) => error.to_string(),
            None if self.raft.needs_snapshot() => {
                let base = self.raft.log().base().index;
                format!("the log begins after entry {base}, and the store ends before it")
            }
            None => return None,
        };
        let is_alone = self.raft.membership().voters().iter().all(|node| *node == config.raft.me);
        is_alone.then_some(why)
    }

    pub(super) fn into_engine(self) -> E {
        self.store.into_engine()
    }

    /// How this replica is doing. What its node counts is left at 0.
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
            is_counted: self.raft.counts(&config.raft),
            life: self.raft.life(),
            is_removed: self.raft.is_removed(&config.raft),
            leader: self.raft.leader(&config.raft),
            term: self.raft.term().0,
            leader_changes: self.leader_changes,
            commit_index: self.raft.commit().0,
            applied_index: self.applied.0,
            log_base: self.raft.log().base().index.0,
            revision: self.store.revision(),
            compact_revision: self.store.compact_revision(),
            keys: self.store.live_keys(),
            bytes: self.store.bytes(),
            occupied_bytes: self.occupied_bytes(),
            is_full: self.upkeep.is_full(),
            is_over_quota: self.upkeep.is_over_quota(),
            quota_bytes: config.quota_bytes,
            tally: self.tally,
            messages_unread: 0,
            messages_nonsense: 0,
        }
    }

    fn occupied_bytes(&self) -> u64 {
        let size = self.store.size();
        size.disk_bytes + size.unflushed_bytes
    }

    pub(super) fn view(&self) -> String {
        format!("{} applied={}", self.raft.view(), self.applied)
    }

    pub(super) fn recover(
        config: &Config,
        mut durable: raft::Durable,
        engine: E,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) -> Self {
        let (store, mut failed) = Store::open_anyway(engine, config.mutants());
        let applied = match Bytes::copy_from_slice(store.applied()) {
            none if none.is_empty() => Snapshot::default(),
            bytes => decode_snapshot(bytes).unwrap_or_else(|error| {
                let what = "what a store says of itself".into();
                failed = Some(EngineError::Corrupt { what, why: error.to_string() });
                Snapshot::default()
            }),
        };
        durable.applied = Some(applied.clone());
        let raft = Shard::recover_raft(config, durable, lift, out);
        let mut shard = Shard {
            register: Register::new(&raft),
            raft,
            store,
            applied: applied.index,
            committed: VecDeque::new(),
            queries: BTreeMap::new(),
            compactions: VecDeque::new(),
            failed: None,
            transfers: Transfers::default(),
            upkeep: Upkeep::beginning(applied.index),
            lease_time: LeaseTime::default(),
            readable: BTreeMap::new(),
            onlookers: Onlookers::default(),
            leader: None,
            leader_changes: 0,
            tally: Tally::default(),
            halted: None,
        };
        if let Some(error) = failed {
            shard.fail(config, error.into(), lift, out);
        }
        shard.apply_committed(config, lift, out);
        if config.mutants().has("applies_twice_after_restart") {
            shard.applied = Index(0);
        }
        shard
    }

    fn recover_raft(
        config: &Config,
        durable: raft::Durable,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) -> Raft {
        out.nest(
            |effect, out| {
                let reply = lift.effect(config, effect, out);
                assert!(reply.is_none(), "an answer before any question");
            },
            |out| Raft::recover(&config.raft, durable, out),
        )
    }

    /// Looks at a request before Raft does: what is wrong is refused here, and what needs no agreement is answered.
    pub(super) fn admit(
        &mut self,
        config: &Config,
        id: RequestId,
        request: NodeRequest,
    ) -> Admitted {
        let (asker, request) = match request {
            NodeRequest::For { asker, request } => (Some(asker), *request),
            request => (None, request),
        };
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
            NodeRequest::Digest { upto, .. } => {
                let (term, now) = (self.raft.term().0, self.store.revision());
                let digest = self.store.prepare_digest(upto);
                let digest = digest.map(|digest| LongDigest::new(term, now, digest));
                Admitted::Answer(NodeResponse::Digest(digest))
            }
            NodeRequest::History { beyond, .. } => match beyond {
                Some(known) if !self.has_news(known) || self.has_failed() => {
                    self.onlookers.add(known, id);
                    Admitted::Settled
                }
                _ => Admitted::Answer(NodeResponse::History(self.history())),
            },
            NodeRequest::Members { is_linearizable, .. } => {
                self.register.read(id, is_linearizable).map_or(Admitted::Settled, Admitted::Ask)
            }
            NodeRequest::ChangeMembers { change, .. } => {
                let request = self.register.change(&self.raft, id, change);
                request.map_or(Admitted::Settled, Admitted::Ask)
            }
            NodeRequest::Tick { .. } => self.propose_tick(),
            NodeRequest::Command { command: Command::Tick(_), .. } => {
                let refusal = Error::Unsupported("time is told by nodes alone");
                Admitted::Answer(self.done(Err(refusal)))
            }
            NodeRequest::Command { mut command, .. } => {
                let alarms = self.register.alarms();
                if let Some(refusal) = alarms.objection(&command, self.upkeep.is_full()) {
                    return Admitted::Answer(self.done(Err(refusal)));
                }
                if let Command::LeaseGrant(grant) = &mut command {
                    grant.ttl_seconds = grant.ttl_seconds.max(config.lease_ttl_seconds_min);
                }
                match validate::validate(&command, config.operations_max) {
                    Ok(()) => {
                        let entry = wire::encode_for(asker.as_ref(), &command);
                        Admitted::Ask(raft::Request::Propose(entry))
                    }
                    Err(error) => Admitted::Answer(self.done(Err(error))),
                }
            }
            NodeRequest::Query { query, serializable, .. } => {
                match validate::validate(&query, config.operations_max) {
                    Ok(()) if serializable => {
                        Admitted::Answer(self.answer(&Asked { asker, query }))
                    }
                    // Raft bounds the reads it has under way; those that wait for the store to catch up are ours to bound.
                    Ok(()) if self.readable.len() >= config.raft.requests_max => {
                        Admitted::Answer(self.done(Err(Error::TooManyRequests)))
                    }
                    Ok(()) => {
                        self.queries.insert(id, Asked { asker, query });
                        Admitted::Ask(raft::Request::Read)
                    }
                    Err(error) => Admitted::Answer(self.done(Err(error))),
                }
            }
            NodeRequest::For { .. } => {
                let refusal = Error::Unsupported("a request on behalf of two");
                Admitted::Answer(self.done(Err(refusal)))
            }
        }
    }

    /// Whether there is more than somebody knows.
    fn has_news(&self, known: Known) -> bool {
        known.revision < self.store.revision() || known.auth < self.store.auth().version()
    }

    pub(super) fn step(
        &mut self,
        config: &Config,
        input: Input<Raft>,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) {
        self.with_raft(config, lift, out, |raft, out| raft.step(&config.raft, input, out));
        self.note_leader(config);
        self.apply_committed(config, lift, out);
        self.answer_queries(config, lift, out);
        self.transfer(config, lift, out);
        self.show_onlookers(out);
        self.register.finish(&self.raft, out);
    }

    /// Lets Raft act, and carries its effects out.
    pub(super) fn with_raft<T>(
        &mut self,
        config: &Config,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
        run: impl FnOnce(&mut Raft, &mut Out<'_, Raft>) -> T,
    ) -> T {
        let Shard { raft, committed, queries, readable, register, .. } = self;
        let term = raft.term().0;
        let mut answer_of = |(id, response)| register.take(id, response);
        out.nest(
            |effect, out| match lift.effect(config, effect, out).and_then(&mut answer_of) {
                Some((id, raft::Response::Committed(index))) => committed.push_back((index, id)),
                Some((id, raft::Response::Readable(index))) => {
                    if let Some(asked) = queries.remove(&id) {
                        readable.insert((index, id), Waiting { asked, is_overdue: false });
                    }
                }
                Some((id, response)) => {
                    queries.remove(&id);
                    out.reply(id, failed(term, response));
                }
                None => {}
            },
            |out| run(raft, out),
        )
    }

    pub(super) fn store_mut(&mut self) -> &mut Store<E> {
        &mut self.store
    }

    /// What the store's state stands for.
    pub(super) fn applied_snapshot(&self) -> Option<Snapshot> {
        if self.applied == self.raft.commit() {
            let membership = self.raft.committed_membership().clone();
            let term = self.raft.log().term_at(self.applied)?;
            Some(Snapshot { index: self.applied, term, membership })
        } else {
            self.raft.snapshot_at(self.applied)
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// The engine could not be read: from here on this replica helps others to agree, and waits for a state to take the
    /// place of its own. Nothing that was answered depends on what could not be read.
    pub(super) fn fail(
        &mut self,
        config: &Config,
        error: Error,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) {
        let Error::Storage(error) = error else { return };
        if self.failed.is_none() {
            self.failed = Some(error);
            self.with_raft(config, lift, out, |raft, out| {
                raft.request_snapshot(&config.raft, out);
            });
        }
    }

    /// The store has become another replica's, which had applied the entries up to `index`.
    pub(super) fn resume_after(&mut self, index: Index, out: &mut Out<'_, Node<E>>) {
        self.failed = None;
        self.applied = index;
        self.upkeep = Upkeep::beginning(index);
        // Their effects are in the state, but what they answered is not.
        while let Some((_, id)) = self.committed.pop_front_if(|(at, _)| *at <= index) {
            out.reply(id, self.done(Err(Error::TimedOut)));
        }
        for (_, id, response) in std::mem::take(&mut self.compactions) {
            out.reply(id, response);
        }
    }

    fn history(&mut self) -> Result<History, Error> {
        match &self.failed {
            Some(error) => Err(error.clone().into()),
            None => Ok(History::new(self.raft.term().0, self.store.prepare_changes())),
        }
    }

    /// Answers those who wait for the store to have come so far.
    fn show_onlookers(&mut self, out: &mut Out<'_, Node<E>>) {
        if self.has_failed() {
            return;
        }
        let now = Known { revision: self.store.revision(), auth: self.store.auth().version() };
        let shown = self.onlookers.take(now);
        if shown.is_empty() {
            return;
        }
        let history = self.history();
        for id in shown {
            out.reply(id, NodeResponse::History(history.clone()));
        }
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

    /// Answers a query from the store as it is, if whoever asks may ask it, or hands it out if that takes long.
    fn answer(&mut self, Asked { asker, query }: &Asked) -> NodeResponse {
        if let Err(error) = self.store.authorize_query(asker.as_ref(), query) {
            return self.done(Err(error));
        }
        let outcome = match query {
            Query::Range(range) => match self.store.read(range, SHORT) {
                Ok(Read::Answer(answer)) => Ok(Response::Range(answer)),
                Ok(Read::Prepared(range)) => {
                    self.tally.count_long_read();
                    return NodeResponse::LongRead(LongRead::new(self.raft.term().0, range));
                }
                Err(error) => Err(error),
            },
            Query::Txn(_) | Query::LeaseStatus { .. } | Query::Leases | Query::Auth(_) => {
                self.store.query(query)
            }
        };
        if let Ok(answer) = &outcome {
            self.tally.count(answer, 0);
        }
        self.done(outcome)
    }

    fn note_leader(&mut self, config: &Config) {
        let leader = self.raft.leader(&config.raft);
        if leader.is_some() && leader != self.leader {
            self.leader_changes += u64::from(self.leader.is_some());
            self.leader = leader;
        }
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

    fn answer_queries(&mut self, config: &Config, lift: &mut Lift<'_>, out: &mut Out<'_, Node<E>>) {
        let is_due = |index: Index, applied: Index| {
            index <= applied || config.mutants().has("reads_without_waiting")
        };
        while let Some(entry) = self.readable.first_entry() {
            if !is_due(entry.key().0, self.applied) || self.failed.is_some() {
                break;
            }
            let ((_, id), Waiting { asked, .. }) = entry.remove_entry();
            let response = self.answer(&asked);
            if let NodeResponse::Done { outcome: Err(error @ Error::Storage(_)), .. } = &response {
                self.fail(config, error.clone(), lift, out);
            }
            out.reply(id, response);
        }
    }
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
