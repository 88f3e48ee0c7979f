//! Who is alive.

pub mod heartbeat;
