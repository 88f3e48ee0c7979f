//! Runs worth seeing: each a setup, and what comes of it.

/// What comes of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Every claim holds.
    Holds,
    /// This claim is broken, because the protocol cannot keep it there: the boundary of what it can do. A test fails if
    /// it holds after all.
    Breaks(&'static str),
}

/// A run worth seeing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its name, in words joined by underscores.
    pub name: &'static str,
    /// What there is to see, in a sentence or two.
    pub what: &'static str,
    /// The setup, as [`crate::Setup::read`] takes it, on top of the row's usual one
    /// without what goes wrong by chance.
    pub setup: &'static str,
    /// What comes of it.
    pub expected: Expected,
}
