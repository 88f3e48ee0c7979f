//! What all rows of mutual exclusion claim, and how it is judged.

use std::time::Duration;

use quorate_core::NodeId;

use crate::about::{About, Claim, Knob};
use crate::exhibit::Broken;
use crate::setup::Setup;

pub(crate) const EXCLUSION: Claim =
    Claim { name: "exclusion", what: "No two nodes are inside at the same time." };

pub(crate) const NO_STARVATION: Claim =
    Claim { name: "no_starvation", what: "Whoever asks to enter does in the end." };

/// How long a node stays inside.
pub(crate) const STAYS: Knob = Knob {
    name: "stays",
    what: "how long a node stays inside, in ms",
    min: 1,
    max: 10_000,
    usual: 4,
};

/// How long a node stays inside, of a row that has [`STAYS`].
pub(crate) fn stays(setup: &Setup, about: &About) -> Duration {
    Duration::from_millis(setup.knob(about, STAYS.name).unsigned_abs())
}

/// Judges exclusion, of those who are inside.
pub(crate) fn judge<'a, P: 'a>(
    mut inside: impl Iterator<Item = (NodeId, &'a P)>,
) -> Result<(), Broken> {
    match (inside.next(), inside.next()) {
        (Some((one, _)), Some((other, _))) => {
            Err(Broken::new(EXCLUSION.name, format!("{one} and {other} are both inside")))
        }
        _ => Ok(()),
    }
}

/// Judges starvation, of those who want to enter or to leave.
pub(crate) fn nobody_waits<'a, P: 'a>(
    mut wanting: impl Iterator<Item = (NodeId, &'a P)>,
) -> Result<(), Broken> {
    match wanting.next() {
        Some((node, _)) => Err(is_due(node, "waits still")),
        None => Ok(()),
    }
}

/// That a node has not come to what it is due.
pub(crate) fn is_due(node: NodeId, what: &str) -> Broken {
    Broken::new(NO_STARVATION.name, format!("{node} {what}"))
}
