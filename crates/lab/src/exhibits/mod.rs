//! The exhibits, family by family.

pub(crate) mod broadcast;
pub(crate) mod clock;
pub(crate) mod consensus;
pub(crate) mod coordination;
pub(crate) mod detector;
