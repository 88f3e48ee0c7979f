//! Where rows and lanes lie. `page.js` does the same for what its reader has chosen to see.
//!
//! Time runs downwards, and the axis is elastic: between two rows there is room for a line of text at least, and
//! more the longer it took, by the logarithm of the time in units of a message's delay. So a slope still tells how
//! long a message took, and an idle second doesn't fill a page.

use crate::model::{MarkKind, Model, RowIndex};

/// The least distance between two rows.
const ROW: f64 = 15.0;
/// What a factor of ten in time adds to it.
const DECADE: f64 = 9.0;
/// The most that a gap adds.
const GAP_MAX: f64 = 60.0;

/// The width of the axis on the left.
pub(crate) const AXIS: f64 = 118.0;

pub(crate) struct Layout {
    /// By row: where it lies, or where it would.
    rows: Vec<f64>,
    pub(crate) is_visible: Vec<bool>,
    pub(crate) lane_gap: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

impl Layout {
    /// A layout from `top` downwards, on a page of that width.
    pub(crate) fn new(model: &Model, top: f64, width: f64) -> Layout {
        let is_visible = visible_rows(model);
        let mut y = top;
        let mut last: Option<u64> = None;
        let rows = model
            .rows
            .iter()
            .zip(&is_visible)
            .map(|(row, is_visible)| {
                if *is_visible {
                    y += distance(last.map(|last| row.at - last), model.delay);
                    last = Some(row.at);
                }
                y
            })
            .collect();
        let lane_gap = (width - AXIS) / model.lanes.len().max(1) as f64;
        Layout { rows, is_visible, lane_gap, top, bottom: y + 2.0 * ROW }
    }

    pub(crate) fn x(&self, lane: usize) -> f64 {
        AXIS + self.lane_gap * (lane as f64 + 0.3)
    }

    pub(crate) fn y(&self, row: RowIndex) -> f64 {
        match usize::try_from(row) {
            Ok(row) => self.rows.get(row).copied().unwrap_or(self.bottom),
            Err(_) => self.top,
        }
    }
}

fn distance(gap: Option<u64>, delay: u64) -> f64 {
    let Some(gap) = gap else { return ROW };
    let tenths = gap as f64 * 10.0 / delay as f64;
    ROW + (DECADE * (1.0 + tenths).log10()).min(GAP_MAX)
}

/// The rows in which something is drawn.
fn visible_rows(model: &Model) -> Vec<bool> {
    let mut is_visible = vec![false; model.rows.len()];
    let mut show = |row: RowIndex| {
        if let Some(row) = usize::try_from(row).ok().and_then(|row| is_visible.get_mut(row)) {
            *row = true;
        }
    };
    for arrow in model.arrows.iter().filter(|arrow| model.kinds[arrow.kind].is_shown) {
        show(arrow.sent);
        show(arrow.ends);
    }
    for mark in &model.marks {
        match &mark.kind {
            MarkKind::Fire(kind) if !model.kinds[*kind].is_shown => {}
            MarkKind::Persist(Some(durable)) => {
                show(mark.row);
                show(*durable);
            }
            _ => show(mark.row),
        }
    }
    model.states.iter().for_each(|state| show(state.row));
    for span in &model.spans {
        show(span.rows.start);
        show(span.rows.end);
    }
    for fault in &model.faults {
        show(fault.rows.start);
        show(fault.rows.end);
    }
    model.failed.iter().for_each(|failed| show(failed.row));
    is_visible
}
