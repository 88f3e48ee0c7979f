//! Who may act.

pub mod barrier;
pub mod bully;
pub mod central_mutex;
pub mod lease_lock;
pub mod redlock;
pub mod ricart_agrawala;
pub mod ring;
pub mod token_ring;
