//! TLS, as both ports of a node and its clients speak it.
//!
//! A side of a conversation is described by a [`Port`] (who listens, and dials its peers) or a [`Caller`] (who only
//! dials). An [`Acceptor`] or a [`Dialer`] made of it reads the files once, and again before a handshake once they have
//! changed: certificates are replaced without a restart, and a broken replacement leaves the old ones in force.
//!
//! What comes out is a [`Stream`] that may as well be plain, or a [`Link`] for who writes without waiting.
//!
//! The cryptography is *ring*'s: it needs nothing to be built but the C compiler that links Rust anyway, while
//! aws-lc-rs asks for more on some systems, and takes several times as long.
//!
//! What never may live here: anything of the database, and a default that trusts without being told to.
//!
//! Omitted: revocation lists, a choice of cipher suites, and the comparison of a peer's address with its certificate.
//!
//! Open first: [`terms`], [`accept`], [`dial`].

pub mod accept;
mod complaints;
pub mod dial;
mod error;
mod link;
mod material;
pub mod self_signed;
mod stream;
pub mod terms;
mod verify;
mod watched;
mod x509;

pub use accept::{Accepted, Acceptor, Refusal, looks_like_tls};
pub use complaints::Complaints;
pub use dial::Dialer;
pub use error::TlsError;
pub use link::Link;
pub use stream::Stream;
pub use terms::{Allowed, Authorities, Caller, PairFiles, Port, Version, Versions};
