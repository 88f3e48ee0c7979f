//! The multi-version store: a map from keys to values that remembers what every key held at every revision.
//!
//! # Revisions
//! The empty store is at revision 1. A command that changes something moves the store to one new revision, however
//! many keys it touches; a command that changes nothing leaves it. A command that is refused leaves no trace.
//! Where the new revision comes from is the caller's business: [`Store::apply`] counts, [`Store::apply_at`] is told.
//!
//! # Versions
//! A key's versions form its history, oldest first. A deletion is a version too, a *tombstone*: reads between the
//! deletion and the next write find nothing, and older reads still find what was there.
//!
//! # Layout
//! All of it is in one ordered map, an [`Engine`]'s, so that it may be larger than memory. The first byte of a key says
//! what is there; numbers in keys are big-endian, so that they are in order.
//!
//! | key | value | what for |
//! |---|---|---|
//! | `h` key\* place⁻ | version | a version that is not the newest, or a tombstone; newest first |
//! | `k` key | version | the newest version of a key that is there: a read of now looks nowhere else |
//! | `m` | meta | what the store knows of itself, and how far its owner has applied |
//! | `a`, `p`, `u` | | users and roles: see `auth/mod.rs` |
//! | `b`, `c`, `l` | | leases: see `leases.rs` |
//! | `r` place | change | what was changed, in order: for compaction, and for who watches |
//!
//! - *key\**: the key with each zero byte followed by `ff`, and two zero bytes at its end. So no key's versions lie
//!   between another's, and the order is that of the keys.
//! - *place*: the revision in 8 bytes, and in 4 the number of changes before it at that revision; *place⁻* is its
//!   complement, which falls as the place rises.
//! - *version*: a byte, 0 for a tombstone and 1 else; varints of the place's two numbers, of the revisions since the
//!   creation, of the version and of the lease; and the value.
//! - *change*: a byte, of which bit 0 is set for a deletion and bit 1 if a version ended here; then for that, as varints,
//!   how many revisions earlier it was made, the other number of its place, and the size of key and value; and the key.
//! - *meta*: `Meta::encode` in `meta.rs`.
//!
//! A superseded version moves from `k` to `h` as it is. An event of a change is its version, at the change's place; what
//! was there before is the newest version of an earlier revision.
//!
//! # Batches
//! What is applied is visible to the store's own reads at once, and goes to the engine with [`Store::commit`]: one batch
//! for as many commands as the caller likes, which holds with their effect how far the caller has applied. So a crash
//! never parts the two.
//!
//! # Compaction
//! Compacting at revision *c* promises that nobody reads below *c* again. A read *at* *c* still works, so each key
//! keeps the newest version that is not newer than *c*, unless that is a tombstone. Everything older is garbage: out
//! of reach at once, and removed in steps that the caller asks for, so that nothing waits for a large compaction.
//!
//! # Invariants
//! - No version is newer than the store's revision.
//! - A key is in `k` if and only if its newest version is no tombstone; that version is not in `h`.
//! - Each version in `h` but tombstones ended with a change that is in `r`, and that change says so.
//! - Which garbage is already gone cannot be seen from outside, except in [`Store::bytes`]: neither an answer nor
//!   [`Store::digest`] depends on it.
//!
//! # Departures from etcd
//! - When garbage is removed.
//! - Transactions nest to [`crate::request::TXN_DEPTH_MAX`].
//! - Keys that tie in a sort are always in ascending order, where etcd promises none.
//! - A range is always sorted before it is cut to its limit; etcd cuts first where a sort target comes without an order.
//! - Where several operations of a transaction are to be refused, the first one says why; etcd 3.5 asks the puts first.
//! - A transaction that deletes a key and then asks to keep its value keeps the value from before the transaction,
//!   where etcd 3.5 stops the server.
//!
//! # Omitted
//! - A count that does not walk the range, except of all keys: even a read with a limit walks all of it, since etcd's
//!   answer counts it. [`Store::read`] hands long ones over.
//!
//! Read next: `layout.rs`, `write.rs`, `txn.rs`, `read.rs`, `compaction.rs`.

mod arena;
mod auth;
mod changes;
mod compaction;
mod digest;
mod layout;
mod leases;
mod map;
mod meta;
mod pending;
mod prepared;
mod read;
pub mod snapshot;
mod txn;
mod version;
mod visible;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use quorate_core::Mutants;
use quorate_engine::{Batch, BatchNumber, Engine, EngineError, MemoryEngine, Size};

use crate::error::Error;
use crate::request::{Command, Query, RangeRequest, RangeResponse, Response, Revision};
use arena::Arena;
pub use auth::AuthTable;
pub use changes::{Changes, Portion, PreparedChanges};
pub use digest::PreparedDigest;
use layout::{META_KEY, all_keys, damaged};
use leases::Leases;
pub use leases::{SLACK_MS, TICK_MS_MAX};
use map::Map;
use meta::Meta;
use pending::Pending;
pub use prepared::{Measure, PreparedRange, Read};
pub use read::Allowance;
use read::{Reading, check_read_point};
use snapshot::{SnapshotError, SnapshotInfo, SnapshotReader, SnapshotWriter};
use version::Version;
use write::Step;

/// The names of all deliberate bugs that a store can be opened with.
pub const MUTANTS: &[&str] = &[
    "key_life_survives_deletion",
    "compaction_reaches_too_far",
    "revision_goes_back_after_compaction_crash",
    "applies_twice_around_snapshot",
    "leases_end_without_being_over",
    "renewals_change_nothing",
    "revocation_leaves_keys",
    "ticks_count_more_than_once",
    "auth_ignores_nested_operations",
    "auth_ignores_prev_kv",
    "auth_ignores_conditions",
    "auth_ignores_bound_keys",
    "auth_checks_range_ends_only",
    "auth_uses_old_revision",
];

/// The multi-version store. See the module for what it promises.
#[derive(Debug)]
pub struct Store<E: Engine = MemoryEngine> {
    engine: E,
    /// What was applied since the last batch.
    pending: Pending,
    /// Where what is applied lies until the engine forgets it.
    arena: Arena,
    /// The next batch; empty but while it is being made.
    batch: Batch,
    /// The last batch.
    written: BatchNumber,
    meta: Meta,
    leases: Leases,
    auth: Arc<AuthTable>,
    /// What the caller last gave to keep.
    applied: Vec<u8>,
    /// Whether the two above are not in the engine as they are here.
    is_meta_stale: bool,
    mutants: Mutants,
}

/// What an engine holds and memory too.
#[derive(Default)]
struct Tables {
    leases: Leases,
    auth: Arc<AuthTable>,
}

impl Tables {
    fn read<E: Engine>(engine: &E) -> Result<Self, EngineError> {
        Ok(Tables { leases: Leases::read(engine)?, auth: auth::read(engine)? })
    }
}

impl Store {
    /// The empty store, at revision 1, in memory.
    pub fn in_memory() -> Self {
        Store::of(MemoryEngine::default(), Meta::EMPTY, Tables::default(), &[], Mutants::NONE)
    }
}

impl<E: Engine> Store<E> {
    /// The store in an engine; the empty one, at revision 1, in an engine that holds nothing.
    ///
    /// # Errors
    /// What the engine could not read, or what is no store that this version knows.
    pub fn open(engine: E, mutants: Mutants) -> Result<Self, Error> {
        match Store::open_anyway(engine, mutants) {
            (store, None) => Ok(store),
            (_, Some(error)) => Err(error.into()),
        }
    }

    /// As [`Store::open`]; but if the engine could not be read, says why, and gives a store that must not be used until
    /// another one was taken in.
    pub fn open_anyway(engine: E, mutants: Mutants) -> (Self, Option<EngineError>) {
        let read = read_meta(&engine).and_then(|meta| Ok((meta, Tables::read(&engine)?)));
        match read {
            Ok(((meta, applied), tables)) => {
                let mut store = Store::of(engine, meta, tables, &applied, mutants);
                let failed = store.mutate().err();
                (store, failed)
            }
            Err(error) => {
                let store = Store::of(engine, Meta::EMPTY, Tables::default(), &[], mutants);
                (store, Some(error))
            }
        }
    }

    /// The deliberate bugs that show when a store is opened.
    fn mutate(&mut self) -> Result<(), EngineError> {
        if self.mutants.has("revision_goes_back_after_compaction_crash") {
            self.meta.revision = self.newest_live_revision()?;
        }
        Ok(())
    }

    fn of(engine: E, meta: Meta, tables: Tables, applied: &[u8], mutants: Mutants) -> Self {
        let Tables { leases, auth } = tables;
        Store {
            engine,
            pending: Pending::default(),
            arena: Arena::default(),
            batch: Batch::default(),
            written: BatchNumber(0),
            meta,
            leases,
            auth,
            applied: applied.to_vec(),
            is_meta_stale: false,
            mutants,
        }
    }

    /// The engine it lies in.
    pub fn into_engine(self) -> E {
        self.engine
    }

    /// The revision of the last change.
    pub fn revision(&self) -> Revision {
        self.meta.revision
    }

    /// The oldest revision that can be read. It is -1 before the first compaction, as etcd reports it.
    pub fn compact_revision(&self) -> Revision {
        self.meta.compacted
    }

    /// The number of keys that hold a value now.
    pub fn live_keys(&self) -> usize {
        usize::try_from(self.meta.live_keys).unwrap_or(usize::MAX)
    }

    /// The size in bytes of the keys and values of all versions that are still held, garbage included and tombstones
    /// not. What the structures around them take is not counted.
    pub fn bytes(&self) -> u64 {
        self.meta.bytes
    }

    /// What the caller last gave to keep; empty before the first.
    pub fn applied(&self) -> &[u8] {
        &self.applied
    }

    /// Carries out a command, and counts its revision: one above the last, if it changes anything.
    ///
    /// # Errors
    /// As [`Store::apply_at`].
    pub fn apply(&mut self, command: &Command) -> Result<Response, Error> {
        self.apply_at(command, Revision(self.meta.revision.0 + 1))
    }

    /// Carries out a command at the revision `next`, which stays unused if the command changes nothing.
    ///
    /// The command is expected to have passed [`crate::validate::validate`]. One that has not is still carried out
    /// in the same way on every replica.
    ///
    /// # Errors
    /// `KeyNotFound`, `LeaseNotFound`, `Compacted` and `FutureRevision`, as etcd, and `Storage` if the engine could not be
    /// read: then nothing has changed. After `Storage`, nothing may be applied before this command was.
    ///
    /// # Panics
    /// If `next` is not above the store's revision: whoever hands out revisions must never go back.
    pub fn apply_at(&mut self, command: &Command, next: Revision) -> Result<Response, Error> {
        assert!(next > self.meta.revision, "a write was given a revision that is already taken");
        let before = self.meta;
        let mut step = Step::new(before.revision, next);
        self.pending.begin();
        let outcome = self.carry_out(command, &mut step);
        match &outcome {
            Ok(_) => {
                self.meta.revision = step.now();
                self.is_meta_stale = true;
            }
            Err(_) => {
                self.meta = before;
                self.pending.roll_back();
            }
        }
        outcome
    }

    fn carry_out(&mut self, command: &Command, step: &mut Step) -> Result<Response, Error> {
        Ok(match command {
            Command::Put(put) => {
                self.check_lease(put)?;
                self.check_kept(put)?;
                Response::Put(self.put(put, step)?)
            }
            Command::DeleteRange(delete) => Response::DeleteRange(self.delete_range(delete, step)?),
            Command::Txn(txn) => Response::Txn(self.carry_out_txn(txn, step)?),
            Command::Compact(compact) => Response::Compact(self.compact(compact)?),
            Command::LeaseGrant(grant) => Response::LeaseGrant(self.grant_lease(grant)?),
            Command::LeaseRevoke(id) => Response::LeaseRevoke(self.revoke_lease(*id, step)?),
            Command::LeaseRenew(id) => Response::LeaseRenew(self.renew_lease(*id)?),
            Command::Tick(tick) => {
                self.tick(tick);
                Response::Ticked
            }
            Command::Auth(command) => Response::Auth(self.change_auth(command)?),
        })
    }

    /// As [`Store::commit`], and keeps `applied` in the same batch: the caller's note of how far it has come.
    pub fn commit_with(&mut self, applied: &[u8]) -> BatchNumber {
        self.keep(applied);
        self.commit()
    }

    fn keep(&mut self, applied: &[u8]) {
        self.applied.clear();
        self.applied.extend_from_slice(applied);
        self.is_meta_stale = true;
    }

    /// Gives all that was applied to the engine, as one batch. Returns the last batch, also if there was nothing to give.
    pub fn commit(&mut self) -> BatchNumber {
        if self.is_meta_stale || !self.pending.is_empty() {
            let record = self.meta.encode(self.applied_to_write().as_ref());
            self.pending.drain_into(&mut self.batch);
            self.batch.put(META_KEY, record);
            self.written = self.engine.write(&mut self.batch);
            self.is_meta_stale = false;
        }
        self.written
    }

    /// What goes into a batch as the caller's note.
    fn applied_to_write(&self) -> Bytes {
        if self.mutants.has("applies_twice_around_snapshot") {
            // That of the batch before.
            let before = self.engine.get(META_KEY).ok().flatten();
            return before
                .and_then(|record| Meta::decode(&record).ok())
                .map(|(_, applied)| applied)
                .unwrap_or_default();
        }
        Bytes::copy_from_slice(&self.applied)
    }

    /// Begins to make durable all that was committed (see [`Engine::flush`]).
    pub fn flush(&mut self) {
        self.engine.flush();
    }

    /// The newest durable batch (see [`Engine::poll`]).
    ///
    /// # Errors
    /// As [`Engine::poll`].
    pub fn poll(&mut self) -> Result<BatchNumber, EngineError> {
        self.engine.poll()
    }

    /// How much the engine holds.
    pub fn size(&self) -> Size {
        self.engine.size()
    }

    /// Answers a query from the store as it is, what is not committed included.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision`, as etcd; `Unsupported` for a transaction that would write, which is a
    /// command and no query (see [`crate::validate::is_read_only`]); `Storage` if the engine could not be read.
    pub fn query(&self, query: &Query) -> Result<Response, Error> {
        match query {
            Query::Range(range) => {
                check_read_point(range, self.meta.revision, self.meta.compacted)?;
                Ok(Response::Range(self.range_as_of(range, self.meta.revision)?))
            }
            Query::Txn(txn) => self.read_only_txn(txn).map(Response::Txn),
            Query::LeaseStatus { id, keys } => {
                self.lease_status(*id, *keys).map(Response::LeaseStatus)
            }
            Query::Leases => Ok(Response::Leases(self.all_leases())),
            Query::Auth(query) => self.query_auth(query).map(Response::Auth),
        }
    }

    /// Answers a read if it takes no more than is allowed, and else prepares it to be carried out elsewhere. What was
    /// applied and not committed is committed.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub fn read(
        &mut self,
        request: &RangeRequest,
        allowance: Allowance,
    ) -> Result<Read<E::View>, Error> {
        check_read_point(request, self.meta.revision, self.meta.compacted)?;
        match self.reading(request, self.meta.revision).answer(allowance)? {
            Some(answer) => Ok(Read::Answer(answer)),
            None => self.prepare(request).map(Read::Prepared),
        }
    }

    /// Prepares a read to be carried out elsewhere. What was applied and not committed is committed.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision`, as etcd.
    pub fn prepare(&mut self, request: &RangeRequest) -> Result<PreparedRange<E::View>, Error> {
        check_read_point(request, self.meta.revision, self.meta.compacted)?;
        self.commit();
        Ok(PreparedRange {
            view: self.engine.view(),
            request: request.clone(),
            now: self.meta.revision,
            live_keys: self.live_keys(),
            chosen: None,
        })
    }

    /// The store as a stream of chunks of at most so many bytes. What was applied and not committed is committed.
    ///
    /// # Errors
    /// `Storage` if the engine could not be read.
    pub fn snapshot(&mut self, chunk_bytes_max: usize) -> Result<SnapshotReader<E::View>, Error> {
        // The empty store has no record about itself yet.
        self.is_meta_stale = true;
        self.commit();
        Ok(SnapshotReader::new(self.engine.view(), chunk_bytes_max)?)
    }

    /// Begins to take another store in. The one that is here stays in use.
    ///
    /// # Errors
    /// As [`Engine::import`].
    pub fn import(&mut self) -> Result<SnapshotWriter<E>, SnapshotError> {
        SnapshotWriter::begin(&mut self.engine)
    }

    /// Becomes the store that was taken in, durably.
    ///
    /// # Errors
    /// As [`SnapshotWriter::adopt`]; then this store is as it was.
    pub fn adopt(&mut self, writer: SnapshotWriter<E>) -> Result<SnapshotInfo, SnapshotError> {
        let (meta, info) = writer.adopt_into(&mut self.engine)?;
        Tables { leases: self.leases, auth: self.auth } = Tables::read(&self.engine)?;
        self.pending = Pending::default();
        self.meta = meta;
        self.keep(&info.applied);
        self.is_meta_stale = false;
        Ok(info)
    }

    /// Raises the revision without a change: those between are never used. Whether there are so many.
    pub(crate) fn skip_revisions(&mut self, by: u64) -> bool {
        match self.meta.revision.0.checked_add_unsigned(by) {
            Some(revision) => {
                self.meta.revision = Revision(revision);
                self.is_meta_stale = true;
                true
            }
            None => false,
        }
    }

    /// Answers a read whose revision is known to be readable, in a store that has come to the revision `now`.
    fn range_as_of(
        &self,
        request: &RangeRequest,
        now: Revision,
    ) -> Result<RangeResponse, EngineError> {
        let answer = self.reading(request, now).answer(Allowance::UNBOUNDED)?;
        Ok(answer.expect("a read without bounds was given up"))
    }

    fn reading<'a>(&'a self, request: &'a RangeRequest, now: Revision) -> Reading<'a, E> {
        Reading { map: self.map(), request, now, live_keys: self.live_keys() }
    }

    fn map(&self) -> Map<'_, E> {
        Map::under(&self.engine, &self.pending)
    }

    /// The revision of the newest version that is left: what a store that kept no record would take for its own.
    fn newest_live_revision(&self) -> Result<Revision, EngineError> {
        let mut newest = Meta::EMPTY.revision;
        for found in self.map().visible_now(&all_keys()) {
            newest = newest.max(Version::place_in(&found?.1)?.revision);
        }
        Ok(newest)
    }
}

/// What the state in an engine stands for, as [`Store::applied`] says it, if there is one that can be read.
pub fn applied_in<E: Engine>(engine: &E) -> Option<Bytes> {
    read_meta(engine).ok().map(|(_, applied)| applied).filter(|applied| !applied.is_empty())
}

/// The store's record about itself, and what its caller gave it to keep.
fn read_meta<E: Engine>(engine: &E) -> Result<(Meta, Bytes), EngineError> {
    match engine.get(META_KEY)? {
        Some(record) => Meta::decode(&record),
        None if engine.scan(..).next().transpose()?.is_none() => Ok((Meta::EMPTY, Bytes::new())),
        None => {
            let why = "it is not there, though other records are";
            Err(damaged("the store's record about itself", why))
        }
    }
}
