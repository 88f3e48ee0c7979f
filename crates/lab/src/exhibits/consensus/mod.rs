//! Agreement among nodes that crash.

mod epaxos;
mod paxos;
mod two_generals;
mod viewstamped_replication;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[
    &Shelf::<two_generals::TwoGenerals>::NEW,
    &Shelf::<paxos::SingleDecree>::NEW,
    &Shelf::<epaxos::Egalitarian>::NEW,
    &Shelf::<viewstamped_replication::ViewstampedReplication>::NEW,
];
