//! Claims that are a curve: one number against another, each point a mean over many seeds.

/// What one line shows: x and y of each point.
pub type Points = Vec<(f64, f64)>;

/// One line of a plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// What the legend says.
    pub label: &'static str,
    /// What is set for this line, as [`crate::Setup::read`] takes it, on top of the row's usual setup
    /// without what goes wrong by chance.
    pub setup: &'static str,
}

/// A curve: how a measure depends on a number of the setup.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    /// Its name, in words joined by underscores.
    pub name: &'static str,
    /// What there is to see.
    pub what: &'static str,
    /// The number of the setup that varies, by its name there.
    pub vary: &'static str,
    /// What it is called on the axis, with its unit.
    pub x: &'static str,
    /// Its values.
    pub values: &'static [i64],
    /// The measure: one of the row's own, or `messages`, or `settled_ms`.
    pub measure: &'static str,
    /// What it is called on the axis, with its unit.
    pub y: &'static str,
    /// The lines; at least one.
    pub lines: &'static [Line],
    /// Runs for each point.
    pub seeds: u64,
    /// Whether the points of the lines bear the claim out. An error says what is amiss.
    pub holds: fn(&[Points]) -> Result<(), String>,
}
