//! How a log is kept.

use super::record::LogId;
use crate::mutant::Mutant;

/// How a log is kept. Begin with [`LogOptions::new`] and change what needs to be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogOptions {
    /// Which log this is. A log that is there must carry the same id.
    pub log_id: LogId,
    /// The length of each new segment: a multiple of 512, at least 1024. 64 MiB unless changed.
    pub segment_bytes: u64,
    /// How many released segments are kept for use again. 2 unless changed.
    pub free_segments_max: usize,
    /// A deliberate bug, for tests of the tests.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

impl LogOptions {
    /// The defaults, for the log with this id.
    pub fn new(log_id: LogId) -> Self {
        Self {
            log_id,
            segment_bytes: 64 << 20,
            free_segments_max: 2,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    #[cfg(feature = "mutants")]
    pub(super) fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    pub(super) fn has(&self, _: Mutant) -> bool {
        false
    }
}
