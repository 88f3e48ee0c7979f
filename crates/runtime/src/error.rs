//! Why a node cannot start or go on.

use std::path::PathBuf;

use quorate_storage::log::{LogError, Sequence};
use thiserror::Error;

use crate::codec::Undecodable;

/// Why a node cannot start or go on.
#[derive(Debug, Error)]
pub enum DriverError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record in the log is whole, but this program doesn't know what it says.
    #[error(
        "record {sequence} of the log in {} is of no kind that this binary knows: {source}; \
         was it written by a newer one? Then run that; nothing was changed", dir.display()
    )]
    Record {
        /// The log's directory.
        dir: PathBuf,
        /// The record.
        sequence: Sequence,
        /// What is wrong with it.
        source: Undecodable,
    },
    /// The protocol can't go on.
    #[error("the node stopped, and nothing of its data was changed: {why}")]
    Halted {
        /// Why.
        why: String,
    },
}
