//! Agreement among nodes that crash.

mod ben_or;
mod flp;
mod epaxos;
mod paxos;
mod raft;
mod two_generals;
mod viewstamped_replication;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[
    &Shelf::<two_generals::TwoGenerals>::NEW,
    &Shelf::<paxos::SingleDecree>::NEW,
    &Shelf::<raft::Raft>::NEW,
    &Shelf::<flp::Flp>::NEW,
    &Shelf::<ben_or::BenOr>::NEW,
    &Shelf::<epaxos::Egalitarian>::NEW,
    &Shelf::<viewstamped_replication::ViewstampedReplication>::NEW,
];
