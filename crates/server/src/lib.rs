//! One node: its configuration, its listeners, and its life from start to stop.
//!
//! What lives here: the wiring of database, runtime, log and faces. What never may: a decision that one of those
//! should make.
//!
//! A node's life: the configuration is checked; the ports are taken, so that a second start fails before it touches
//! anything; its place is found, for which one that joins asks the members ([`place`]); the data directory is locked and
//! compared with that; the log is read and the database recovered from it; then peers and clients are served until a
//! shutdown is asked for, or until the log fails, after which what is on the disk is unknown and the process must end. A node that finds itself removed from its cluster stops.
//!
//! Open first: [`config`], [`node`].

pub mod config;
pub mod node;
pub mod place;
pub mod restore;

mod codec;
mod compactor;
mod comparison;
mod desk;
mod engines;
mod enquiry;
mod fingerprint;
mod keeper;
mod recovery;
mod tokens;

pub use config::{Config, ConfigError, Settings, TlsSettings};
pub use engines::EnginesError;
pub use node::{ServerError, serve};
pub use tokens::TokenError;
