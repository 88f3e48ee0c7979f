//! Agreement among nodes that crash.

mod ben_or;
mod epaxos;
mod flp;
mod paxos;
mod raft;
mod two_generals;
mod viewstamped_replication;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[
    &Shelf::<two_generals::TwoGenerals>::NEW,
    &Shelf::<flp::Flp>::NEW,
    &Shelf::<paxos::SingleDecree>::NEW,
    &Shelf::<epaxos::Egalitarian>::NEW,
    &Shelf::<viewstamped_replication::ViewstampedReplication>::NEW,
    &Shelf::<raft::Raft>::NEW,
    &Shelf::<ben_or::BenOr>::NEW,
];
