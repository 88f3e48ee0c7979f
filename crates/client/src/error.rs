//! Why an operation has no answer, and whether it may have happened all the same.

use std::error::Error as _;

use thiserror::Error;
use tonic::{Code, Status};

/// What is known about an operation that has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It changed nothing, and never will. It may be repeated.
    DidNotHappen,
    /// It may have been carried out, or still be. Only an operation whose repetition does no harm may be repeated.
    MayHaveHappened,
}

/// Why an operation has no answer. [`ClientError::outcome`] tells what is known about its effect.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// Something that is not an endpoint.
    #[error("endpoint {value:?}: {fault}; write HOST:PORT, as in 127.0.0.1:2379")]
    BadEndpoint {
        /// As it was written.
        value: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// A client of nothing.
    #[error("no endpoint was given; name at least one, as in 127.0.0.1:2379")]
    NoEndpoints,
    /// No connection could be made.
    #[error("{endpoint}: cannot connect: {reason}")]
    Unreachable {
        /// To where.
        endpoint: String,
        /// Why, in the system's words.
        reason: String,
    },
    /// The node cannot serve anyone just now, and said so before it did anything.
    #[error("{endpoint}: {message}")]
    NotServing {
        /// Who said so.
        endpoint: String,
        /// In its words.
        message: String,
    },
    /// The request itself was refused, as any other node would.
    #[error("{endpoint}: {message}")]
    Refused {
        /// Who refused.
        endpoint: String,
        /// gRPC's code.
        code: Code,
        /// In its words.
        message: String,
    },
    /// The request was under way, and nothing tells how it ended.
    #[error("{endpoint}: {message}; it may have happened all the same")]
    Uncertain {
        /// Who was asked.
        endpoint: String,
        /// What went wrong.
        message: String,
    },
    /// Every endpoint was tried, and none could serve.
    #[error("no endpoint could answer:{}", list(.0))]
    AllFailed(Vec<ClientError>),
}

fn list(attempts: &[ClientError]) -> String {
    attempts.iter().map(|attempt| format!("\n  {attempt}")).collect()
}

impl ClientError {
    /// What is known about the effect of the operation that this error is instead of.
    pub fn outcome(&self) -> Outcome {
        match self {
            ClientError::Uncertain { .. } => Outcome::MayHaveHappened,
            // An operation goes on to another endpoint only where the attempt before had no effect.
            ClientError::AllFailed(_)
            | ClientError::BadEndpoint { .. }
            | ClientError::NoEndpoints
            | ClientError::Unreachable { .. }
            | ClientError::NotServing { .. }
            | ClientError::Refused { .. } => Outcome::DidNotHappen,
        }
    }

    /// Another endpoint may do better. What it is asked must bear being asked twice, unless
    /// [`outcome`](Self::outcome) rules that out.
    pub(crate) fn is_about_the_endpoint(&self) -> bool {
        matches!(
            self,
            ClientError::Unreachable { .. }
                | ClientError::NotServing { .. }
                | ClientError::Uncertain { .. }
        )
    }

    /// What a failed call tells.
    pub(crate) fn from_status(endpoint: &str, status: &Status) -> Self {
        let endpoint = String::from(endpoint);
        if let Some(reason) = failed_connect(status) {
            return ClientError::Unreachable { endpoint, reason };
        }
        // A status with a source was made on this side: the connection broke while the request was on it.
        if let Some(source) = status.source() {
            return ClientError::Uncertain { endpoint, message: innermost(source) };
        }
        let message = String::from(status.message());
        match status.code() {
            // etcd says these before it proposes anything; every other unavailability may come after.
            Code::Unavailable if message == "etcdserver: no leader" => {
                ClientError::NotServing { endpoint, message }
            }
            // A replica whose data is damaged says something else with the same code, and perhaps too late.
            Code::DataLoss if message == "etcdserver: corrupt cluster" => {
                ClientError::Refused { endpoint, code: status.code(), message }
            }
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => {
                ClientError::Refused { endpoint, code: status.code(), message }
            }
            Code::Ok
            | Code::Unavailable
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::DataLoss => ClientError::Uncertain { endpoint, message },
        }
    }
}

/// Why no connection was made, if that is what the status is about.
fn failed_connect(status: &Status) -> Option<String> {
    let mut error = status.source();
    while let Some(source) = error {
        if let Some(connect) = source.downcast_ref::<tonic::ConnectError>() {
            return Some(innermost(connect));
        }
        error = source.source();
    }
    None
}

/// The words of the error that all others were caused by: those around it only repeat that something went wrong.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: Code, message: &str) -> ClientError {
        ClientError::from_status("n1:1", &Status::new(code, message))
    }

    #[test]
    fn a_refused_request_did_not_happen_and_no_other_node_would_take_it() {
        for code in [Code::InvalidArgument, Code::OutOfRange, Code::FailedPrecondition] {
            let error = read(code, "etcdserver: key is not provided");
            assert_eq!(error.outcome(), Outcome::DidNotHappen);
            assert!(!error.is_about_the_endpoint());
            assert_eq!(error.to_string(), "n1:1: etcdserver: key is not provided");
        }
    }

    #[test]
    fn a_node_without_a_leader_did_nothing_but_another_may() {
        let error = read(Code::Unavailable, "etcdserver: no leader");
        assert_eq!(error.outcome(), Outcome::DidNotHappen);
        assert!(error.is_about_the_endpoint());
    }

    #[test]
    fn a_request_that_ran_out_of_time_may_have_happened() {
        for (code, message) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::DeadlineExceeded, "deadline"),
            (Code::Unknown, ""),
            (Code::Internal, "h2 protocol error"),
        ] {
            let error = read(code, message);
            assert_eq!(error.outcome(), Outcome::MayHaveHappened, "{message}");
            assert!(error.to_string().contains("may have happened"));
        }
    }

    #[test]
    fn every_attempt_is_listed_when_all_failed() {
        let attempt = read(Code::Unavailable, "etcdserver: no leader");
        let said = ClientError::AllFailed(vec![attempt.clone(), attempt]).to_string();
        assert_eq!(said.matches("\n  n1:1: etcdserver: no leader").count(), 2);
    }
}
