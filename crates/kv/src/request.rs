//! What a client can ask of the store, and what it is answered: etcd's key-value requests in the store's own types.
//!
//! A face translates its wire format to these types and back; the store never sees a wire format. A write travels in
//! the replicated log as an encoded [`Command`].

use bytes::Bytes;

use crate::auth::{AuthCommand, AuthQuery, AuthResponse};

/// The longest key, in bytes. An engine's key may have 65,535, and one of the store's is at worst twice as long as the
/// client's and somewhat more.
pub const KEY_BYTES_MAX: usize = 32_000;

/// The number of conditions, and of operations in one block, of a transaction, at most, unless a node is told otherwise. A nested transaction may have
/// so many less the largest of these three numbers of the transaction around it.
pub const TXN_OPERATIONS_MAX: usize = 128;

/// How deep transactions may lie in each other: one without a nested one has depth 1. etcd sets no limit of its own
/// here, but an entry of the log must be decodable with a bounded stack.
pub const TXN_DEPTH_MAX: usize = 32;

/// The longest time to live of a lease, in seconds, as in etcd.
pub const LEASE_TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// The position of a write in the history of a store. The empty store is at revision 1; each write adds one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub i64);

/// A lease that a key may be bound to. 0 is no lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// A set of keys that lie next to each other in the order of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key.
    pub start: Bytes,
    /// Where it ends.
    pub end: RangeEnd,
}

/// The end of a [`KeyRange`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RangeEnd {
    /// The range is its first key alone.
    Single,
    /// The keys before this one. A range that ends at or before its start is empty.
    Before(Bytes),
    /// Every key from the start on.
    Unbounded,
}

/// A key with its value, as of some revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The revision at which the key was created.
    pub create_revision: Revision,
    /// The revision at which the key was last written.
    pub mod_revision: Revision,
    /// The number of writes since the key was created, that one included.
    pub version: i64,
    /// The value; empty where only keys were asked for.
    pub value: Bytes,
    /// The lease that the key is bound to.
    pub lease: LeaseId,
}

/// One change of one key, as whoever watches it sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Whether the key is gone. Then `kv` says which key, and at which revision, and nothing else.
    pub is_deletion: bool,
    /// The key as the change left it.
    pub kv: KeyValue,
    /// What the key held before, if it was asked for and there was any that can still be read.
    pub prev_kv: Option<KeyValue>,
}

impl Event {
    /// The size in bytes of its keys and values.
    pub fn bytes(&self) -> usize {
        let size = |kv: &KeyValue| kv.key.len() + kv.value.len();
        size(&self.kv) + self.prev_kv.as_ref().map_or(0, size)
    }
}

impl KeyRange {
    /// Whether it holds no key, by its bounds alone.
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, RangeEnd::Before(end) if *end <= self.start)
    }

    /// Whether a key is in the range.
    pub fn holds(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start,
            RangeEnd::Before(end) => self.start <= key && key < end,
            RangeEnd::Unbounded => self.start <= key,
        }
    }
}

/// What a [`RangeRequest`] sorts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SortTarget {
    /// The key, byte by byte.
    Key,
    /// The version.
    Version,
    /// The revision of creation.
    CreateRevision,
    /// The revision of the last write.
    ModRevision,
    /// The value, byte by byte.
    Value,
}

/// The direction of a sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SortOrder {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// Reads a range of keys, now or at an old revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeRequest {
    /// The keys.
    pub range: KeyRange,
    /// At most so many keys are returned; 0 is all.
    pub limit: usize,
    /// The revision to read at; none is the newest, and so is, outside a transaction, one that is not positive.
    pub revision: Option<Revision>,
    /// The order of the answer; none is ascending by key.
    pub sort: Option<(SortTarget, SortOrder)>,
    /// Answer from this replica as it stands, rather than linearizably.
    pub serializable: bool,
    /// Leave the values out.
    pub keys_only: bool,
    /// Count, and return no keys.
    pub count_only: bool,
    /// Leave out keys last written before this revision; 0 is no bound, as for the three below.
    pub min_mod_revision: Revision,
    /// Leave out keys last written after this revision.
    pub max_mod_revision: Revision,
    /// Leave out keys created before this revision.
    pub min_create_revision: Revision,
    /// Leave out keys created after this revision.
    pub max_create_revision: Revision,
}

impl RangeRequest {
    /// A linearizable read of all that a range holds now.
    pub fn of(range: KeyRange) -> Self {
        RangeRequest {
            range,
            limit: 0,
            revision: None,
            sort: None,
            serializable: false,
            keys_only: false,
            count_only: false,
            min_mod_revision: Revision(0),
            max_mod_revision: Revision(0),
            min_create_revision: Revision(0),
            max_create_revision: Revision(0),
        }
    }
}

/// Writes one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PutRequest {
    /// The key.
    pub key: Bytes,
    /// Its new value.
    pub value: Bytes,
    /// The lease to bind it to.
    pub lease: LeaseId,
    /// Answer with what the key held before.
    pub prev_kv: bool,
    /// Keep the value that is there.
    pub ignore_value: bool,
    /// Keep the lease that is there.
    pub ignore_lease: bool,
}

/// Deletes a range of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeleteRangeRequest {
    /// The keys.
    pub range: KeyRange,
    /// Answer with what the keys held before.
    pub prev_kv: bool,
}

/// How a [`Compare`] relates what is there to what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `=`
    Equal,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `!=`
    NotEqual,
}

/// The field that a [`Compare`] looks at, with the expected content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CompareTarget {
    /// The version; 0 for a key that is not there.
    Version(i64),
    /// The revision of creation; 0 for a key that is not there.
    CreateRevision(Revision),
    /// The revision of the last write; 0 for a key that is not there.
    ModRevision(Revision),
    /// The value; a comparison with a key that is not there is false.
    Value(Bytes),
    /// The lease; 0 for a key that is not there.
    Lease(LeaseId),
}

/// One condition of a transaction. Over a range it must hold for every key there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compare {
    /// The keys.
    pub range: KeyRange,
    /// How they must relate to the target.
    pub relation: Relation,
    /// What they are compared with.
    pub target: CompareTarget,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A read.
    Range(RangeRequest),
    /// A write.
    Put(PutRequest),
    /// A deletion.
    DeleteRange(DeleteRangeRequest),
    /// A transaction inside the transaction.
    Txn(TxnRequest),
}

/// If every condition holds, the first block is carried out, else the second: at one revision, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TxnRequest {
    /// The conditions.
    pub compare: Vec<Compare>,
    /// Carried out if all conditions hold.
    pub success: Vec<Operation>,
    /// Carried out if one does not.
    pub failure: Vec<Operation>,
}

/// Drops what was superseded at or before a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompactRequest {
    /// The oldest revision that can still be read afterwards.
    pub revision: Revision,
    /// Answer only once the space is free.
    pub physical: bool,
}

/// Grants a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseGrantRequest {
    /// Its id, which must be free and not 0.
    pub id: LeaseId,
    /// Its time to live.
    pub ttl_seconds: i64,
}

/// Moves the lease clock on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TickRequest {
    /// The term in which the time was measured. It counts in no other.
    pub term: u64,
    /// What the lease clock showed when it was proposed. It counts only on top of that.
    pub from_ms: u64,
    /// The time that has passed.
    pub by_ms: u64,
}

/// What changes the store, and so goes through the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// A write of one key.
    Put(PutRequest),
    /// A deletion.
    DeleteRange(DeleteRangeRequest),
    /// A transaction that may write.
    Txn(TxnRequest),
    /// A compaction.
    Compact(CompactRequest),
    /// A lease is granted.
    LeaseGrant(LeaseGrantRequest),
    /// A lease ends, with the keys that are bound to it.
    LeaseRevoke(LeaseId),
    /// A lease is to live as long again as it was granted for.
    LeaseRenew(LeaseId),
    /// Time has passed. Only nodes propose this.
    Tick(TickRequest),
    /// Users and roles are changed.
    Auth(AuthCommand),
}

/// What changes nothing, and so is answered from the store of one replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// A read.
    Range(RangeRequest),
    /// A transaction that cannot write.
    Txn(TxnRequest),
    /// How a lease is doing.
    LeaseStatus {
        /// The lease.
        id: LeaseId,
        /// Whether to tell what is bound to it.
        keys: bool,
    },
    /// All leases.
    Leases,
    /// Users and roles.
    Auth(AuthQuery),
}

/// The answer to a [`RangeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeResponse {
    /// The revision of the store when it answered.
    pub revision: Revision,
    /// The keys.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut the answer short.
    pub more: bool,
    /// The number of keys in the range at that revision, whatever the limit and the bounds on revisions leave.
    pub count: usize,
}

/// The answer to a [`PutRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PutResponse {
    /// The revision that the write made.
    pub revision: Revision,
    /// What the key held before, if it was asked for and there was any.
    pub prev_kv: Option<KeyValue>,
}

/// The answer to a [`DeleteRangeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeleteRangeResponse {
    /// The revision that the deletion made, or the one that stood if there was nothing to delete.
    pub revision: Revision,
    /// The number of keys deleted.
    pub deleted: usize,
    /// What they held, if it was asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// The answer to a [`TxnRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TxnResponse {
    /// The revision of the store after the transaction. In the answer of a nested transaction it is 0, as etcd's.
    pub revision: Revision,
    /// Whether every condition held.
    pub succeeded: bool,
    /// One answer an operation of the block that was carried out.
    pub responses: Vec<Response>,
}

/// The answer to a [`CompactRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompactResponse {
    /// The revision of the store.
    pub revision: Revision,
}

/// The answer to a [`LeaseGrantRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseGrantResponse {
    /// The revision of the store.
    pub revision: Revision,
    /// The lease.
    pub id: LeaseId,
    /// Its time to live.
    pub ttl_seconds: i64,
}

/// The answer to a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseRevokeResponse {
    /// The revision that the deletion of its keys made, or the one that stood if there were none.
    pub revision: Revision,
}

/// The answer to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseRenewResponse {
    /// The revision of the store.
    pub revision: Revision,
    /// What the lease has left now: as much as it was granted for.
    pub ttl_seconds: i64,
}

/// How a lease is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseStatus {
    /// The revision of the store.
    pub revision: Revision,
    /// What it has left; none if there is no such lease.
    pub left_seconds: Option<i64>,
    /// What it was granted for.
    pub ttl_seconds: i64,
    /// The keys that are bound to it, if they were asked for, in order.
    pub keys: Vec<Bytes>,
}

/// All leases.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeasesResponse {
    /// The revision of the store.
    pub revision: Revision,
    /// In the order of their ids.
    pub leases: Vec<LeaseId>,
}

/// The answer to a command or a query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Response {
    /// To a read.
    Range(RangeResponse),
    /// To a write.
    Put(PutResponse),
    /// To a deletion.
    DeleteRange(DeleteRangeResponse),
    /// To a transaction.
    Txn(TxnResponse),
    /// To a compaction.
    Compact(CompactResponse),
    /// To the grant of a lease.
    LeaseGrant(LeaseGrantResponse),
    /// To its revocation.
    LeaseRevoke(LeaseRevokeResponse),
    /// To its renewal.
    LeaseRenew(LeaseRenewResponse),
    /// To a question after a lease.
    LeaseStatus(LeaseStatus),
    /// To a question after all of them.
    Leases(LeasesResponse),
    /// Time has passed, or it was not this node's to say.
    Ticked,
    /// To what is about users and roles.
    Auth(AuthResponse),
}
