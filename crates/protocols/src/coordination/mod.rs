//! Who may act.

pub mod bully;
