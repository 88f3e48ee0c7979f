//! Agreement among nodes that crash.

mod ben_or;
mod epaxos;
mod flexible_paxos;
mod flp;
mod multi_paxos;
mod paxos;
mod raft;
mod two_generals;
mod viewstamped_replication;
mod zab;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[
    &Shelf::<two_generals::TwoGenerals>::NEW,
    &Shelf::<flp::Flp>::NEW,
    &Shelf::<paxos::SingleDecree>::NEW,
    &Shelf::<multi_paxos::Commands>::NEW,
    &Shelf::<flexible_paxos::Flexible>::NEW,
    &Shelf::<epaxos::Egalitarian>::NEW,
    &Shelf::<viewstamped_replication::ViewstampedReplication>::NEW,
    &Shelf::<raft::Raft>::NEW,
    &Shelf::<zab::Broadcast>::NEW,
    &Shelf::<ben_or::BenOr>::NEW,
];
