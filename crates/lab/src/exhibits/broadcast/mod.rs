//! Who hears what, and in what order.

mod causal;
mod conversation;
mod fifo;
mod reliable;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[
    &Shelf::<reliable::Reliable>::NEW,
    &Shelf::<fifo::Fifo>::NEW,
    &Shelf::<causal::Causal>::NEW,
];
