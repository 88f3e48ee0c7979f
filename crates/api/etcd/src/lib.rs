//! The etcd v3 face: gRPC services and HTTP endpoints on one port.
//!
//! A face translates; it decides nothing. *Follow one write*: [`serve()`] accepts the connection and tells gRPC from
//! plain HTTP; `grpc` cuts the one message of a unary call out of the stream and finds the method; [`convert`] turns
//! wire fields into the store's types; `kv` puts the command to the node through a
//! [`Handle`](quorate_runtime::Handle); the answer goes the same way back. On the way a key and its value are never
//! copied, and the one task is the one that the HTTP/2 library starts for each call.
//!
//! What lives here: the wire format ([`proto`], server messages and clients both), the translation, the services,
//! and the endpoints for probes and scrapers.
//!
//! What never may: a rule about what a request means. Whether a key may be empty, a revision is too old, or a
//! transaction writes one key twice is the node's to say, since other faces ask it too. The exceptions are what the
//! store's types cannot express: see [`convert`].
//!
//! Open first: [`convert`], then `grpc.rs`, then `serve.rs`.
//!
//! *Coverage.* KV, Watch, Lease, Lock, Election, Cluster and Auth: all. Maintenance: `Status`, `MoveLeader`, `Alarm`,
//! `Defragment`, `Hash`, `HashKV` and `Snapshot`. Every other method is answered `UNIMPLEMENTED` with its name, in one
//! place.
//!
//! *Omitted.* Compressed messages.

pub mod convert;
pub mod proto;

mod audit;
mod auth;
mod cluster;
mod election;
mod error;
mod face;
mod gateway;
mod grpc;
mod http;
mod inbound;
mod kv;
mod lease;
mod line;
mod lock;
mod long_read;
mod maintenance;
mod method;
mod metrics;
mod outbound;
mod password;
mod punctual;
mod room;
mod serve;
mod snapshot;
mod tls;
mod token;
mod watch;

pub use error::Error;
pub use face::{ETCD_VERSION, Face, FaceConfig, MESSAGE_OVERHEAD_BYTES, REQUEST_BYTES_MAX};
pub use serve::serve;
pub use tls::Entrance;
pub use token::{JwtConfig, JwtError, TokenKind};
