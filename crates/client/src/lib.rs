//! A thin client for the etcd v3 face: endpoints, failover, and errors that say what may have happened.
//!
//! A [`Client`] holds one connection an endpoint, made when it is first needed and made again when it has broken.
//! An operation that an endpoint could not serve goes on to the next one, **but only if that cannot do it twice**:
//! a read always may, and a write may once it is known that it *did not* happen. Everything else ends in a
//! [`ClientError`] whose [`outcome`](ClientError::outcome) says whether the caller may repeat it blindly.
//!
//! What never may live here: a retry that hides an unknown outcome, or a word of output.
//!
//! Open first: [`client`], then [`error`], then `session.rs`.

pub mod client;
pub mod endpoint;
pub mod error;
mod session;

pub use client::{Client, Options, Snapshot};
pub use endpoint::Endpoint;
pub use error::{ClientError, Outcome};
pub use quorate_api_etcd::proto;
pub use session::Leaders;
