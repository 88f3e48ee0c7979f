//! How long Raft's elections take.

use crate::curve::{Curve, Line, Points};

pub(crate) const CURVES: &[Curve] = &[Curve {
    name: "election_under_loss",
    what: "How long it takes from the start until a member leads, by how many messages are lost. Up to a fifth hardly matters; beyond, each attempt needs more luck, and that of a larger cluster more answers.",
    vary: "loss",
    x: "messages lost, %",
    values: &[0, 10, 20, 30, 40, 50],
    measure: "settled_ms",
    y: "first leader, ms",
    lines: &[
        Line { label: "three members", setup: "nodes=3&requests=0&lasts=20000" },
        Line { label: "five members", setup: "nodes=5&requests=0&lasts=20000" },
    ],
    seeds: 60,
    holds: loss_costs_attempts,
}];

/// The time within which the first election timer of a member runs out, in milliseconds.
const TIMEOUT_MS: f64 = 500.0;

fn loss_costs_attempts(lines: &[Points]) -> Result<(), String> {
    for points in lines {
        if let Some((loss, took)) = points.iter().find(|(x, y)| *x <= 20.0 && *y > TIMEOUT_MS) {
            return Err(format!("{took} ms with {loss} % lost: more than one election timeout"));
        }
        if let Some(pair) = points.windows(2).find(|pair| pair[1].1 < pair[0].1) {
            return Err(format!(
                "with {} % lost it takes less than with {} %",
                pair[1].0, pair[0].0
            ));
        }
    }
    match lines.iter().map(|points| points.last()).collect::<Vec<_>>()[..] {
        [Some((_, three)), Some((_, five))] if *five > 1.5 * three && *three > 2.0 * TIMEOUT_MS => {
            Ok(())
        }
        ref ends => Err(format!("half of all lost costs {ends:?}")),
    }
}
