//! Agreement among nodes that crash.

mod ben_or;
mod flp;
mod paxos;
mod raft;
mod two_generals;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[
    &Shelf::<two_generals::TwoGenerals>::NEW,
    &Shelf::<paxos::SingleDecree>::NEW,
    &Shelf::<raft::Raft>::NEW,
    &Shelf::<flp::Flp>::NEW,
    &Shelf::<ben_or::BenOr>::NEW,
];
