//! Who hears what, and in what order.

mod bracha;
mod causal;
mod conversation;
mod fifo;
mod gossip;
mod merkle;
mod reliable;
mod total;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[
    &Shelf::<reliable::Reliable>::NEW,
    &Shelf::<fifo::Fifo>::NEW,
    &Shelf::<causal::Causal>::NEW,
    &Shelf::<total::Total>::NEW,
    &Shelf::<bracha::Bracha>::NEW,
    &Shelf::<gossip::Gossip>::NEW,
    &Shelf::<merkle::Merkle>::NEW,
];
