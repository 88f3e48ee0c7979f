//! Agreement among nodes that crash.

mod flexible_paxos;
mod multi_paxos;
mod paxos;
mod two_generals;
mod zab;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[
    &Shelf::<two_generals::TwoGenerals>::NEW,
    &Shelf::<paxos::SingleDecree>::NEW,
    &Shelf::<multi_paxos::Commands>::NEW,
    &Shelf::<flexible_paxos::Flexible>::NEW,
    &Shelf::<zab::Broadcast>::NEW,
];
