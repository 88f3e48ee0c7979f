//! Time and order.

mod lamport;
mod vector;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] =
    &[&Shelf::<lamport::Lamport>::NEW, &Shelf::<vector::VectorClock>::NEW];
