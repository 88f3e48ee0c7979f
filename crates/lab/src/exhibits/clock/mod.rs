//! Time and order.

mod hybrid;
mod lamport;
mod synchronisation;
mod truetime;
mod vector;
mod version_vector;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[
    &Shelf::<lamport::Lamport>::NEW,
    &Shelf::<vector::VectorClock>::NEW,
    &Shelf::<version_vector::VersionVector>::NEW,
    &Shelf::<hybrid::HybridClock>::NEW,
    &Shelf::<truetime::TrueTime>::NEW,
    &Shelf::<synchronisation::Synchronisation>::NEW,
];
