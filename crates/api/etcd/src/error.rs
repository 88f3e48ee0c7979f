//! Why the face refuses, with the gRPC code that etcd gives for it.

use std::io;

use quorate_kv::error::Error as StoreError;
use tonic::{Code, Status};

/// A refusal by the face, or by the node behind it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Leadership is to go to a node that is not a member.
    #[error("etcdserver: bad leader transferee")]
    BadLeaderTransferee,
    /// A password of which bcrypt would leave a part out.
    #[error("etcdserver: a password has at most 72 bytes; choose a shorter one")]
    PasswordTooLong,
    /// A password could not be hashed, or a key not be made.
    #[error("etcdserver: cannot hash: {0}; look at bcrypt's cost and at the system's randomness")]
    Password(String),
    /// The node has a key to check tokens with, and none to sign them.
    #[error("etcdserver: this node has no private key to sign a token with; ask another one")]
    CannotSign,
    /// The node refused something that the face asked it for a client of the Lock or Election service.
    #[error(transparent)]
    Relayed(StoreError),
    /// The key that was to hold a lock, or to lead, is gone: its lease has ended, or somebody has deleted it.
    #[error("mutex: session is expired")]
    SessionExpired,
    /// What only the leader of an election may do was asked by somebody else.
    #[error("election: not leader")]
    ElectionNotLeader,
    /// Nobody leads.
    #[error("election: no leader")]
    ElectionNoLeader,
    /// A request by a leader that doesn't say which.
    #[error("\"leader\" field must be provided")]
    MissingLeaderKey,
    /// An alarm is raised that says a probe is to fail.
    #[error("alarm activated: {0}")]
    Alarmed(&'static str),
    /// A learner does not serve clients.
    #[error("etcdserver: the node is a learner")]
    Learner,
    /// Leadership was to go to a member that has not taken it.
    #[error("etcdserver: request timed out, leader transfer took too long")]
    LeaderTransferTimedOut,
    /// A downgrade is to be canceled.
    #[error("etcdserver: no inflight downgrade job")]
    NoDowngrade,
    /// A downgrade to what this version's data cannot be read by.
    #[error("etcdserver: invalid downgrade target version")]
    BadDowngradeTarget,
    /// A downgrade to what is no version.
    #[error("etcdserver: wrong downgrade target version format")]
    BadDowngradeVersion,
    /// Something is to be done about a downgrade that nobody knows how to do.
    #[error("etcdserver: unknown method")]
    UnknownAction,
    /// A method that this server does not have.
    #[error("unknown method {name} for service {service}")]
    UnknownMethod {
        /// What it is called.
        name: String,
        /// The service, which this server has.
        service: String,
    },
    /// A service that this server does not have.
    #[error("unknown service {0}")]
    UnknownService(String),
    /// A message longer than the face reads.
    #[error("grpc: received message larger than max ({bytes} vs. {bytes_max})")]
    MessageTooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// An answer longer than a gRPC message can be.
    #[error(
        "grpc: the answer has {bytes} bytes, and a message holds 4 GiB; ask for less with a limit"
    )]
    AnswerTooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// A compressed message; the face never said that it takes any.
    #[error("grpc: the message is compressed, which this server does not take; send it plain")]
    Compressed,
    /// A stream that does not hold exactly one whole message.
    #[error("grpc: a unary call takes exactly one whole message: {0}")]
    Framing(&'static str),
    /// A stream that ends within a message.
    #[error("grpc: the stream ends within a message")]
    CutShort,
    /// A message that does not parse.
    #[error("grpc: the message does not parse: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A body that is not the JSON of a request.
    #[error("{0}")]
    Json(String),
    /// The client went away while it was sending.
    #[error("grpc: the client went away")]
    Disconnected,
    /// The port no longer gives connections.
    #[error("cannot accept connections: {0}; check the limit on open files and restart the node")]
    Accept(#[source] io::Error),
}

impl Error {
    /// The gRPC code. Stock clients decide by code and message whether to repeat a request, so both are etcd's.
    pub fn code(&self) -> Code {
        match self {
            Error::Store(error) => store_code(error),
            // etcd's own Lock and Election services are clients of etcd, and pass messages on without their codes.
            Error::Relayed(_)
            | Error::SessionExpired
            | Error::ElectionNotLeader
            | Error::ElectionNoLeader
            | Error::MissingLeaderKey
            | Error::UnknownAction => Code::Unknown,
            Error::BadLeaderTransferee | Error::NoDowngrade => Code::FailedPrecondition,
            Error::LeaderTransferTimedOut => Code::Unavailable,
            Error::BadDowngradeTarget | Error::BadDowngradeVersion => Code::InvalidArgument,
            Error::UnknownMethod { .. } | Error::UnknownService(_) | Error::Compressed => {
                Code::Unimplemented
            }
            Error::MessageTooLarge { .. } | Error::AnswerTooLarge { .. } => Code::ResourceExhausted,
            Error::PasswordTooLong => Code::InvalidArgument,
            Error::Password(_) => Code::Internal,
            Error::CannotSign => Code::FailedPrecondition,
            Error::Framing(_) | Error::CutShort | Error::Malformed(_) | Error::Accept(_) => {
                Code::Internal
            }
            Error::Alarmed(_) | Error::Learner => Code::Unavailable,
            Error::Json(_) => Code::InvalidArgument,
            Error::Disconnected => Code::Cancelled,
        }
    }

    /// As the Lock and Election services pass it on. That a node cannot serve just now keeps its code, since clients
    /// decide by it whether to go elsewhere.
    pub(crate) fn relayed(self) -> Error {
        match self {
            Error::Store(error) if store_code(&error) != Code::Unavailable => Error::Relayed(error),
            other => other,
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        Status::new(error.code(), error.to_string())
    }
}

fn store_code(error: &StoreError) -> Code {
    match error {
        StoreError::EmptyKey
        | StoreError::KeyTooLong
        | StoreError::KeyNotFound
        | StoreError::ValueProvided
        | StoreError::LeaseProvided
        | StoreError::TooManyOperations
        | StoreError::DuplicateKey
        | StoreError::InvalidSortOption
        | StoreError::RequestTooLarge
        | StoreError::MemberBadUrls
        | StoreError::UserEmpty
        | StoreError::RoleEmpty
        | StoreError::AuthFailed
        | StoreError::PermissionNotGiven
        | StoreError::InvalidAuthMgmt
        | StoreError::AuthOldRevision => Code::InvalidArgument,
        StoreError::PermissionDenied => Code::PermissionDenied,
        StoreError::InvalidAuthToken => Code::Unauthenticated,
        StoreError::LeaseNotFound | StoreError::MemberNotFound => Code::NotFound,
        StoreError::NotLeader
        | StoreError::LeaseExists
        | StoreError::MemberExists
        | StoreError::PeerUrlExists
        | StoreError::MemberNotEnoughStarted
        | StoreError::MemberNotLearner
        | StoreError::LearnerNotReady
        | StoreError::TooManyLearners
        | StoreError::RootUserNotExist
        | StoreError::RootRoleNotExist
        | StoreError::UserExists
        | StoreError::UserNotFound
        | StoreError::RoleExists
        | StoreError::RoleNotFound
        | StoreError::RoleNotGranted
        | StoreError::PermissionNotGranted
        | StoreError::AuthNotEnabled => Code::FailedPrecondition,
        StoreError::Compacted | StoreError::FutureRevision | StoreError::LeaseTtlTooLarge => {
            Code::OutOfRange
        }
        StoreError::Corrupt => Code::DataLoss,
        StoreError::TooManyRequests | StoreError::NoSpace => Code::ResourceExhausted,
        StoreError::NoLeader
        | StoreError::TimedOut
        | StoreError::Stopped
        | StoreError::ChangeUnderWay => Code::Unavailable,
        // The code that etcd gives to a corrupt cluster.
        StoreError::Storage(_) => Code::DataLoss,
        StoreError::Unsupported(_) => Code::Unimplemented,
    }
}
