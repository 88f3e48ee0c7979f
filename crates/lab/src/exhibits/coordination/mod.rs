//! Who may act.

mod barrier;
mod bully;
mod central_mutex;
mod exclusion;
mod lease_lock;
mod redlock;
mod ricart_agrawala;
mod ring;
mod token_ring;

use crate::row::{Row, Shelf};

pub(crate) const ROWS: &[&dyn Row] = &[
    &Shelf::<bully::Bully>::NEW,
    &Shelf::<ring::Ring>::NEW,
    &Shelf::<central_mutex::CentralMutex>::NEW,
    &Shelf::<ricart_agrawala::RicartAgrawala>::NEW,
    &Shelf::<token_ring::TokenRing>::NEW,
    &Shelf::<lease_lock::LeaseLock>::NEW,
    &Shelf::<redlock::Redlock>::NEW,
    &Shelf::<barrier::Barrier>::NEW,
];
