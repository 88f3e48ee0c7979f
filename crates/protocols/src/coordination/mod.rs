//! Who may act.

pub mod bully;
pub mod central_mutex;
