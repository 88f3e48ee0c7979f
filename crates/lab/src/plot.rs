//! Curves: their points, and how they look.

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use quorate_sim::seeds::quietly;

use crate::curve::{Curve, Points};
use crate::refusal::Refusal;
use crate::row::Row;
use crate::setup::Setup;

/// The points of each line of a curve: the value that varies, and the mean of the measure over the runs that have it.
pub fn points(row: &dyn Row, curve: &Curve, threads: usize) -> Result<Vec<Points>, Refusal> {
    let mut setups = Vec::new();
    for line in curve.lines {
        for value in curve.values {
            let setup = row
                .calm_setup_with(line.setup)?
                .read(&format!("{}={value}", curve.vary), row.about())?;
            row.check(&setup)?;
            setups.push(setup);
        }
    }
    let next = AtomicUsize::new(0);
    let means = Mutex::new(vec![0.0; setups.len()]);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some((place, setup)) = {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    setups.get(place).map(|setup| (place, setup))
                } {
                    let mean = mean(row, curve, setup);
                    means.lock().unwrap_or_else(|poisoned| poisoned.into_inner())[place] = mean;
                }
            });
        }
    });
    let means = means.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let xs = curve.values.iter().map(|value| *value as f64);
    Ok(means
        .chunks(curve.values.len())
        .map(|ys| xs.clone().zip(ys.iter().copied()).collect())
        .collect())
}

/// The mean of the measure over the runs of a point. A run that doesn't have it, such as one that never settles, counts for
/// nothing.
fn mean(row: &dyn Row, curve: &Curve, setup: &Setup) -> f64 {
    let (mut sum, mut count) = (0.0, 0u32);
    for seed in 0..curve.seeds {
        let ran = quietly(|| row.run(&Setup { seed, ..setup.clone() }, false));
        if let Some(value) = ran.ok().and_then(|ran| ran.measure(curve.measure)) {
            sum += value;
            count += 1;
        }
    }
    if count == 0 { f64::NAN } else { sum / f64::from(count) }
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 48.0;
/// Told apart by readers who don't see colours as most do, and by their dashes in print.
const STROKES: [(&str, &str); 5] = [
    ("#0072b2", ""),
    ("#d55e00", "6 3"),
    ("#009e73", "2 3"),
    ("#cc79a7", "8 3 2 3"),
    ("#555", "1 4"),
];

/// A curve as one SVG image.
pub fn svg(curve: &Curve, lines: &[Points]) -> String {
    let all = || lines.iter().flatten().filter(|(_, y)| y.is_finite());
    let x_max = all().map(|(x, _)| *x).fold(1e-9, f64::max);
    let x_min = all().map(|(x, _)| *x).fold(x_max, f64::min);
    let y_max = all().map(|(_, y)| *y).fold(1e-9, f64::max);
    let x_at = |x: f64| LEFT + (x - x_min) / (x_max - x_min).max(1e-9) * (WIDTH - LEFT - RIGHT);
    let y_at = |y: f64| HEIGHT - BOTTOM - y / y_max * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" font-family=\"sans-serif\" \
         font-size=\"12\"><title>{}</title>",
        curve.what
    );
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let mut add = |element: String| svg.push_str(&element);
    add(format!(
        "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"currentColor\"/>"
    ));
    for quarter in 0..=4 {
        let y = y_max * f64::from(quarter) / 4.0;
        let at = y_at(y);
        add(format!("<path d=\"M{LEFT} {at}H{right}\" stroke=\"currentColor\" opacity=\".15\"/>"));
        let (x, at) = (LEFT - 6.0, at + 4.0);
        add(format!(
            "<text x=\"{x}\" y=\"{at}\" text-anchor=\"end\" fill=\"currentColor\">{}</text>",
            short(y)
        ));
    }
    for value in curve.values {
        let (x, y) = (x_at(*value as f64), bottom + 16.0);
        add(format!(
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" fill=\"currentColor\">{value}</text>"
        ));
    }
    let (x, y) = ((LEFT + right) / 2.0, HEIGHT - 10.0);
    add(format!(
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" fill=\"currentColor\">{}</text>",
        curve.x
    ));
    let y = (TOP + bottom) / 2.0;
    add(format!(
        "<text transform=\"translate(14 {y}) rotate(-90)\" text-anchor=\"middle\" fill=\"currentColor\">{}</text>",
        curve.y
    ));
    for (place, (line, points)) in curve.lines.iter().zip(lines).enumerate() {
        let (stroke, dash) = STROKES[place % STROKES.len()];
        let mut path = String::new();
        for (x, y) in points.iter().filter(|(_, y)| y.is_finite()) {
            let command = if path.is_empty() { 'M' } else { 'L' };
            write!(path, "{command}{:.1} {:.1}", x_at(*x), y_at(*y)).expect("a string takes all");
        }
        add(format!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>"
        ));
        let y = TOP + 16.0 * (place as f64 + 1.0);
        let (from, to, text) = (right + 8.0, right + 32.0, right + 38.0);
        add(format!(
            "<path d=\"M{from} {y}H{to}\" stroke=\"{stroke}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>\
             <text x=\"{text}\" y=\"{}\" fill=\"currentColor\">{}</text>",
            y + 4.0,
            line.label
        ));
    }
    svg.push_str("</svg>");
    svg
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
