//! Time and order.

mod lamport;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[&Shelf::<lamport::Lamport>::NEW];
