//! `quorate lab plot`: a claim that is a curve, measured and drawn.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use quorate_lab::plot::{points, svg};
use quorate_lab::{Curve, Points};

use crate::error::CliError;
use crate::print;

/// Measure how one number depends on another, over many runs, and draw it
#[derive(Debug, Args)]
#[command(after_help = "`quorate lab list NAME` has the curves of a protocol.\n\nExamples:\n  \
quorate lab plot gossip rounds --svg rounds.svg")]
pub(crate) struct PlotArgs {
    /// The protocol
    protocol: String,

    /// Which of its curves
    curve: String,

    /// Draw it as an SVG image
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// `quorate lab plot`
pub(crate) fn run(args: &PlotArgs) -> Result<(), CliError> {
    let row = super::row(&args.protocol)?;
    let curve = super::curve(row, &args.curve).map_err(super::misuse)?;
    let lines = points(row, curve, super::threads()).map_err(super::misuse)?;
    if let Some(file) = &args.svg {
        let refused = |error| {
            CliError::NotDone(format!(
                "cannot write {}: {error}; is its directory there?",
                file.display()
            ))
        };
        fs::write(file, svg(curve, &lines)).map_err(refused)?;
    }
    print(&as_text(curve, &lines))
}

/// A line for each line of the plot.
fn as_text(curve: &Curve, lines: &[Points]) -> String {
    let mut text = format!("{}\n{} by {}\n", curve.what, curve.y, curve.x);
    for (line, points) in curve.lines.iter().zip(lines) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x}: {y:.3}")).collect();
        text += &format!("  {}: {}\n", line.label, points.join(", "));
    }
    text
}
