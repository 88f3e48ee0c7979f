//! The messages of an entry of the log, field by field. A number that was once given to a field keeps its meaning for
//! ever; a new field takes a new number, and its absence means what held before there was one.

use bytes::Bytes;
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Command {
    #[prost(oneof = "Request", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub(super) request: Option<Request>,
    /// Absent if nobody has said who asks.
    #[prost(message, optional, tag = "10")]
    pub(super) asker: Option<Asker>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Asker {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(uint64, optional, tag = "2")]
    pub(super) checked_at: Option<u64>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Request {
    #[prost(message, tag = "1")]
    Put(Put),
    #[prost(message, tag = "2")]
    DeleteRange(DeleteRange),
    #[prost(message, tag = "3")]
    Txn(Txn),
    #[prost(message, tag = "4")]
    Compact(Compact),
    #[prost(message, tag = "5")]
    LeaseGrant(LeaseGrant),
    #[prost(int64, tag = "6")]
    LeaseRevoke(i64),
    #[prost(int64, tag = "7")]
    LeaseRenew(i64),
    #[prost(message, tag = "8")]
    Tick(Tick),
    #[prost(message, tag = "9")]
    Auth(Auth),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Auth {
    #[prost(oneof = "AuthChange", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub(super) change: Option<AuthChange>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum AuthChange {
    /// With what tokens are signed with.
    #[prost(bytes = "bytes", tag = "1")]
    Enable(Bytes),
    #[prost(bool, tag = "2")]
    Disable(bool),
    #[prost(message, tag = "3")]
    AddUser(UserAndPassword),
    #[prost(string, tag = "4")]
    DeleteUser(String),
    #[prost(message, tag = "5")]
    ChangePassword(UserAndPassword),
    #[prost(message, tag = "6")]
    GrantRole(UserAndRole),
    #[prost(message, tag = "7")]
    RevokeRole(UserAndRole),
    #[prost(string, tag = "8")]
    AddRole(String),
    #[prost(string, tag = "9")]
    DeleteRole(String),
    #[prost(message, tag = "10")]
    GrantPermission(RoleAndRange),
    #[prost(message, tag = "11")]
    RevokePermission(RoleAndRange),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UserAndPassword {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    /// Its hash; absent for none.
    #[prost(string, optional, tag = "2")]
    pub(super) password: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UserAndRole {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(string, tag = "2")]
    pub(super) role: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RoleAndRange {
    #[prost(string, tag = "1")]
    pub(super) role: String,
    #[prost(message, optional, tag = "2")]
    pub(super) range: Option<KeyRange>,
    /// Of a permission; 0 where none is meant.
    #[prost(uint32, tag = "3")]
    pub(super) access: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaseGrant {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
    #[prost(int64, tag = "2")]
    pub(super) ttl_seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tick {
    #[prost(uint64, tag = "1")]
    pub(super) term: u64,
    #[prost(uint64, tag = "2")]
    pub(super) from_ms: u64,
    #[prost(uint64, tag = "3")]
    pub(super) by_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyRange {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) start: Bytes,
    /// Absent for a single key.
    #[prost(oneof = "RangeEnd", tags = "2, 3")]
    pub(super) end: Option<RangeEnd>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum RangeEnd {
    #[prost(bytes = "bytes", tag = "2")]
    Before(Bytes),
    #[prost(bool, tag = "3")]
    Unbounded(bool),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Put {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
    #[prost(int64, tag = "3")]
    pub(super) lease: i64,
    #[prost(bool, tag = "4")]
    pub(super) prev_kv: bool,
    #[prost(bool, tag = "5")]
    pub(super) ignore_value: bool,
    #[prost(bool, tag = "6")]
    pub(super) ignore_lease: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteRange {
    #[prost(message, optional, tag = "1")]
    pub(super) range: Option<KeyRange>,
    #[prost(bool, tag = "2")]
    pub(super) prev_kv: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Compact {
    #[prost(int64, tag = "1")]
    pub(super) revision: i64,
    #[prost(bool, tag = "2")]
    pub(super) physical: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Range {
    #[prost(message, optional, tag = "1")]
    pub(super) range: Option<KeyRange>,
    #[prost(uint64, tag = "2")]
    pub(super) limit: u64,
    #[prost(int64, optional, tag = "3")]
    pub(super) revision: Option<i64>,
    /// Absent, as is the order, where no sort was asked for.
    #[prost(uint32, tag = "4")]
    pub(super) sort_target: u32,
    #[prost(uint32, tag = "5")]
    pub(super) sort_order: u32,
    #[prost(bool, tag = "6")]
    pub(super) serializable: bool,
    #[prost(bool, tag = "7")]
    pub(super) keys_only: bool,
    #[prost(bool, tag = "8")]
    pub(super) count_only: bool,
    #[prost(int64, tag = "9")]
    pub(super) min_mod_revision: i64,
    #[prost(int64, tag = "10")]
    pub(super) max_mod_revision: i64,
    #[prost(int64, tag = "11")]
    pub(super) min_create_revision: i64,
    #[prost(int64, tag = "12")]
    pub(super) max_create_revision: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Txn {
    #[prost(message, repeated, tag = "1")]
    pub(super) compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    pub(super) success: Vec<Operation>,
    #[prost(message, repeated, tag = "3")]
    pub(super) failure: Vec<Operation>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Compare {
    #[prost(message, optional, tag = "1")]
    pub(super) range: Option<KeyRange>,
    #[prost(uint32, tag = "2")]
    pub(super) relation: u32,
    #[prost(oneof = "Target", tags = "3, 4, 5, 6, 7")]
    pub(super) target: Option<Target>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Target {
    #[prost(int64, tag = "3")]
    Version(i64),
    #[prost(int64, tag = "4")]
    CreateRevision(i64),
    #[prost(int64, tag = "5")]
    ModRevision(i64),
    #[prost(bytes = "bytes", tag = "6")]
    Value(Bytes),
    #[prost(int64, tag = "7")]
    Lease(i64),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Operation {
    #[prost(oneof = "OperationRequest", tags = "1, 2, 3, 4")]
    pub(super) request: Option<OperationRequest>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum OperationRequest {
    #[prost(message, tag = "1")]
    Range(Range),
    #[prost(message, tag = "2")]
    Put(Put),
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRange),
    #[prost(message, tag = "4")]
    Txn(Txn),
}
