//! Deliberate bugs, to show that the tests would notice. They exist under the feature `mutants` alone.

use super::Store;

/// A deliberate bug of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A key that is written again after its deletion goes on with its old creation and version.
    KeyLifeSurvivesDeletion,
    /// A compaction also drops what was superseded at the next revision, and so what is read *at* its own.
    CompactionReachesTooFar,
}

impl Store {
    /// An empty store with one deliberate bug.
    #[cfg(feature = "mutants")]
    pub fn with_mutant(mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..Self::new() }
    }

    #[cfg(feature = "mutants")]
    pub(super) fn is_mutant(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    pub(super) fn is_mutant(&self, _mutant: Mutant) -> bool {
        false
    }
}
