//! Which errors prove that a request did not happen.

use std::error::Error as _;
use std::io;

use etcd_client::Error;
use tonic::{Code, Status};

/// Whether the request certainly did not happen, and never will. Everything that this does not know is not certain.
pub(super) fn is_certain(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => is_refusal(status),
        Error::InvalidArgs(_) | Error::InvalidUri(_) => true,
        _ => false,
    }
}

fn is_refusal(status: &Status) -> bool {
    match status.code() {
        // Said before anything was done, and by the answering node itself.
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented | Code::NotFound => true,
        // These have causes of both kinds, so the words decide.
        Code::FailedPrecondition | Code::ResourceExhausted | Code::Unavailable => {
            let words = [
                "etcdserver: no leader",
                "etcdserver: not leader",
                "etcdserver: too many requests",
            ];
            words.contains(&status.message()) || found_nobody(status)
        }
        _ => false,
    }
}

/// Whether there was no connection to send the request on.
fn found_nobody(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // Only opening a connection is refused; one that breaks is reset or aborted.
            return error.kind() == io::ErrorKind::ConnectionRefused;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_certain_of(code: Code, message: &str) -> bool {
        is_certain(&Error::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn what_may_have_happened_is_not_called_refused() {
        assert!(is_certain_of(Code::Unavailable, "etcdserver: no leader"));
        assert!(is_certain_of(Code::InvalidArgument, "etcdserver: key is not provided"));
        assert!(!is_certain_of(Code::Unavailable, "etcdserver: request timed out"));
        assert!(!is_certain_of(Code::Unavailable, "etcdserver: server stopped"));
        assert!(!is_certain_of(Code::Cancelled, "Timeout expired"));
        assert!(!is_certain_of(Code::Unknown, "transport error"));
    }

    #[test]
    fn a_refused_connection_is_told_from_a_broken_one() {
        let status = |kind| {
            let mut status = Status::unavailable("tcp connect error");
            status.set_source(std::sync::Arc::new(io::Error::from(kind)));
            is_refusal(&status)
        };
        assert!(status(io::ErrorKind::ConnectionRefused));
        assert!(!status(io::ErrorKind::ConnectionReset));
        assert!(!status(io::ErrorKind::BrokenPipe));
    }
}
