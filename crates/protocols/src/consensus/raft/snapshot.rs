//! Snapshots: what stands for a prefix of the log (§7).

use std::sync::Arc;

use super::log::{Index, Term};
use super::membership::Membership;

/// What a prefix of the log came to. The state itself is the application's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The last entry of the prefix.
    pub index: Index,
    /// Its term.
    pub term: Term,
    /// Who takes part after it.
    pub membership: Arc<Membership>,
}
