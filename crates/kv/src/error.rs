//! Why a request was not answered, in etcd's own words and codes, so that stock clients react as they do to etcd.

use quorate_engine::EngineError;
use thiserror::Error;

/// A refusal. Unless its description says otherwise, the request *did not* happen and may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// A request without a key.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// A key longer than [`crate::request::KEY_BYTES_MAX`].
    #[error("etcdserver: key is too long: at most {} bytes", crate::request::KEY_BYTES_MAX)]
    KeyTooLong,
    /// `ignore_value` or `ignore_lease` for a key that is not there.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// `ignore_value` together with a value.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// `ignore_lease` together with a lease.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// A lease that was never granted, or is gone.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// The id of a new lease is taken.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// A lease for longer than [`crate::request::LEASE_TTL_SECONDS_MAX`].
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    /// More operations in one block of a transaction than the node takes.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOperations,
    /// A transaction that would write one key twice.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A sort order or target outside the closed set.
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    /// A revision that compaction has dropped.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// A revision that no write has made yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// A request larger than the server takes.
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// The node has as many requests under way as it holds.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    /// The node's disk has no space left. The request did not happen; writes are taken again once there is space.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// A member's data is not that of the others, and nothing is changed until somebody has looked into it.
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    /// No leader answered in time. The request did not happen.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// The node is not the leader, and the request is for the leader alone.
    #[error("etcdserver: not leader")]
    NotLeader,
    /// The named member is not one of the cluster.
    #[error("etcdserver: member not found")]
    MemberNotFound,
    /// The id of a new member is taken.
    #[error("etcdserver: member ID already exist")]
    MemberExists,
    /// A peer URL is another member's.
    #[error("etcdserver: Peer URLs already exists")]
    PeerUrlExists,
    /// A member without peer URLs, or with ones that are none.
    #[error("etcdserver: given member URLs are invalid")]
    MemberBadUrls,
    /// After the change, too few of those who vote would be there to decide anything.
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    MemberNotEnoughStarted,
    /// A member that votes is to be promoted.
    #[error("etcdserver: can only promote a learner member")]
    MemberNotLearner,
    /// A learner that lacks too much of the log, or was not heard lately, is to be promoted.
    #[error("etcdserver: can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    /// There are as many learners as there may be.
    #[error("etcdserver: too many learner members in cluster")]
    TooManyLearners,
    /// Another change of membership is under way, or the leader is too new to begin one.
    #[error("etcdserver: another change of membership is under way")]
    ChangeUnderWay,
    /// The request was under way when its time ran out. It *may have* happened.
    #[error("etcdserver: request timed out")]
    TimedOut,
    /// The node is stopping. A request under way *may have* happened.
    #[error("etcdserver: server stopped")]
    Stopped,
    /// What the store keeps its data in failed, or is damaged. A read did not happen, and may be repeated elsewhere. A
    /// write that was agreed upon takes effect on the other replicas.
    #[error("etcdserver: this replica's data cannot be used: {0}")]
    Storage(#[from] EngineError),
    /// Authentication is to be enabled, and nobody could disable it.
    #[error("etcdserver: root user does not exist")]
    RootUserNotExist,
    /// As above.
    #[error("etcdserver: root user does not have root role")]
    RootRoleNotExist,
    /// The name of a new user is taken.
    #[error("etcdserver: user name already exists")]
    UserExists,
    /// A user without a name; or nobody has said who asks.
    #[error("etcdserver: user name is empty")]
    UserEmpty,
    /// There is no such user.
    #[error("etcdserver: user name not found")]
    UserNotFound,
    /// The name of a new role is taken.
    #[error("etcdserver: role name already exists")]
    RoleExists,
    /// A role without a name.
    #[error("etcdserver: role name is empty")]
    RoleEmpty,
    /// There is no such role.
    #[error("etcdserver: role name not found")]
    RoleNotFound,
    /// There is no such user, or the password is another one. Which it is, is not said.
    #[error("etcdserver: authentication failed, invalid user ID or password")]
    AuthFailed,
    /// A permission is to be granted, and the request says none.
    #[error("etcdserver: permission not given")]
    PermissionNotGiven,
    /// Whoever asks may not do that.
    #[error("etcdserver: permission denied")]
    PermissionDenied,
    /// A role is to be taken from a user who doesn't have it.
    #[error("etcdserver: role is not granted to the user")]
    RoleNotGranted,
    /// A permission is to be taken from a role that doesn't have it.
    #[error("etcdserver: permission is not granted to the role")]
    PermissionNotGranted,
    /// What makes sense only while authentication is enabled.
    #[error("etcdserver: authentication is not enabled")]
    AuthNotEnabled,
    /// What was said of who asks was said by nobody who could know, or holds no more.
    #[error("etcdserver: invalid auth token")]
    InvalidAuthToken,
    /// A change after which nobody could manage users any more, or that makes no sense.
    #[error("etcdserver: invalid auth management")]
    InvalidAuthMgmt,
    /// Who asks has shown a password that counts no more.
    #[error("etcdserver: revision of auth store is old")]
    AuthOldRevision,
    /// A request this server does not carry out.
    #[error("etcdserver: not supported: {0}")]
    Unsupported(&'static str),
}
