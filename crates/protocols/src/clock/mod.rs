//! Time and order: what happened before what.

pub mod hybrid;
pub mod lamport;
pub mod synchronisation;
pub mod truetime;
pub mod vector;
pub mod version_vector;
