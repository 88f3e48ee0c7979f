//! Who is alive.

pub mod heartbeat;
pub mod phi_accrual;
pub mod swim;
