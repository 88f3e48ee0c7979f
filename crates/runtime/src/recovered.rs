//! What a node finds on its disk when it starts.

use std::path::PathBuf;
use std::sync::Arc;

use quorate_core::Protocol;
use quorate_storage::log::LogOptions;
use quorate_storage::vfs::Vfs;

use crate::codec::Codec;
use crate::error::DriverError;
use crate::journal::Journal;
use crate::metrics::Metrics;

/// A node's log, open, and what it says. What can be said against it can be said before the node is anybody to its
/// peers.
pub struct Recovered<P: Protocol, V: Vfs> {
    pub(crate) journal: Journal<V>,
    pub(crate) metrics: Arc<Metrics>,
    /// The records, folded onto what was given as the base.
    pub durable: P::Durable,
}

impl<P: Protocol, V: Vfs> Recovered<P, V> {
    /// Opens the log in `dir`, and folds what it holds onto `base`.
    ///
    /// # Errors
    /// What is wrong with the log, or with a record in it.
    pub fn open<C: Codec<P>>(
        vfs: V,
        dir: PathBuf,
        options: LogOptions,
        base: P::Durable,
        metrics: Arc<Metrics>,
    ) -> Result<Self, DriverError> {
        let (journal, durable) = Journal::open::<P, C>(vfs, dir, options, base, metrics.clone())?;
        Ok(Recovered { journal, metrics, durable })
    }
}
