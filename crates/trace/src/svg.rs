//! The diagram as one SVG image. `page.js` draws the same for the page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::diagram::{Sheet, escape};
use crate::layout::{AXIS, Layout};
use crate::log::Clock;
use crate::model::{Arrow, Fate, Mark, MarkKind, Model, RowIndex, SpanKind};
use crate::text;

const WIDTH: f64 = 1200.0;
/// The room that a line of the heading takes.
const LINE: f64 = 19.0;
/// As many characters of a message or a state as are ever written.
const LABEL_MAX: usize = 60;
/// The width of a character, for its size; generous, since nobody can measure here.
const CHARACTER: f64 = 0.58;
/// As many characters of one width as a line of the heading has room for.
const MONO_MAX: usize = 155;
/// Times on the axis keep this distance.
const TICK: f64 = 26.0;

/// The height of a band in which words are looked for.
const BAND: f64 = 32.0;

const STYLE: &str = include_str!("svg.css");

pub(crate) fn render(sheet: &Sheet<'_>) -> String {
    let mut canvas = Canvas { text: String::new(), boxes: BTreeMap::new() };
    let top = canvas.heading(sheet);
    let model = &sheet.model;
    let layout = Layout::new(model, top + 34.0, WIDTH);
    let mut drawing = Drawing { model, layout, canvas };
    drawing.failure();
    drawing.lanes(top + 20.0);
    drawing.axis();
    drawing.faults();
    drawing.arrows();
    drawing.states(false);
    drawing.marks();
    drawing.labels();
    drawing.states(true);
    drawing.name_failure();
    let height = drawing.layout.bottom + 14.0;
    let body = drawing.canvas.text;
    let (title, extent) = (escape(sheet.title), escape(&sheet.extent));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n\
         <desc>{extent}</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height:.0}\"/>\n{body}</svg>\n"
    )
}

/// What was drawn, and where words are by now.
struct Canvas {
    text: String,
    /// By band of the page: what was written there.
    boxes: BTreeMap<i64, Vec<[f64; 4]>>,
}

impl Canvas {
    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        self.text.write_fmt(element).expect("a string takes all");
        self.text.push('\n');
    }

    /// Title, caption, command and the rule that broke. Returns where they end.
    fn heading(&mut self, sheet: &Sheet<'_>) -> f64 {
        let mut y = 30.0;
        self.put(format_args!(
            "<text class=\"title\" x=\"20\" y=\"{y}\">{}</text>",
            escape(sheet.title)
        ));
        let command = match sheet.command {
            "" => String::new(),
            command => format!("Run it again: {command}"),
        };
        for (class, line, most) in
            [("", sheet.caption, 165), ("mono", &command, MONO_MAX), ("faint", &sheet.extent, 165)]
        {
            for part in wrapped(line, most) {
                y += LINE;
                let part = escape(&part);
                self.put(format_args!("<text class=\"{class}\" x=\"20\" y=\"{y}\">{part}</text>"));
            }
        }
        if let Some(failing) = sheet.failing {
            let headline = wrapped(&format!("✗ {}", failing.headline()), 150);
            let what = failing.what.lines().flat_map(|line| wrapped(line, 150)).collect::<Vec<_>>();
            let height = LINE * (headline.len() + what.len()) as f64 + 10.0;
            let at = y + 12.0;
            let width = WIDTH - 40.0;
            self.put(format_args!(
                "<rect class=\"alarm\" x=\"20\" y=\"{at}\" width=\"{width}\" height=\"{height}\" rx=\"5\"/>"
            ));
            y += 12.0;
            for line in headline {
                y += LINE;
                let line = escape(&line);
                self.put(format_args!("<text class=\"broken\" x=\"32\" y=\"{y}\">{line}</text>"));
            }
            for line in what {
                y += LINE;
                let line = escape(&line);
                self.put(format_args!("<text class=\"mono\" x=\"32\" y=\"{y}\">{line}</text>"));
            }
            y += 10.0;
        }
        y
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    fn rect(&mut self, class: &str, (x, y): (f64, f64), width: f64, height: f64) {
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        ));
    }

    /// Keeps words out of a place.
    fn reserve(&mut self, place: [f64; 4]) {
        for band in (place[1] / BAND) as i64..=(place[3] / BAND) as i64 {
            self.boxes.entry(band).or_default().push(place);
        }
    }

    /// Writes where there is room: not over what was written before, unless it must. Says whether it did.
    fn write(
        &mut self,
        class: &str,
        (x, y): (f64, f64),
        text: &str,
        room: f64,
        must: bool,
    ) -> bool {
        let size = 10.5 * CHARACTER;
        let fits = (room.min(WIDTH - x - 4.0) / size) as usize;
        let Some(text) = fitted(text, fits.min(LABEL_MAX.max(fits * usize::from(must)))) else {
            return false;
        };
        let width = text.chars().count() as f64 * size;
        let taken = [x - 2.0, y - 10.0, x + width + 2.0, y + 3.0];
        let is_over = |other: &[f64; 4]| {
            other[0] < taken[2] && other[2] > taken[0] && other[1] < taken[3] && other[3] > taken[1]
        };
        let bands = (taken[1] / BAND) as i64..=(taken[3] / BAND) as i64;
        let mut written = self.boxes.range(bands).flat_map(|(_, boxes)| boxes);
        if !must && written.any(is_over) {
            return false;
        }
        self.reserve(taken);
        let text = escape(&text);
        self.put(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"));
        true
    }
}

struct Drawing<'a> {
    model: &'a Model,
    layout: Layout,
    canvas: Canvas,
}

impl Drawing<'_> {
    fn failure(&mut self) {
        let Some(failed) = &self.model.failed else { return };
        let y = self.layout.y(failed.row);
        self.canvas.rect("alarm", (4.0, y - 10.0), WIDTH - 8.0, 20.0);
        if let Some(lane) = self.model.rows[failed.row as usize].lane {
            let x = self.layout.x(lane);
            self.canvas.put(format_args!(
                "<circle class=\"failing\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"9\"/>"
            ));
        }
        self.canvas.reserve([AXIS, y - 26.0, WIDTH, y - 11.0]);
    }

    /// The words of the rule that broke, over all else.
    fn name_failure(&mut self) {
        let Some(failed) = &self.model.failed else { return };
        let what = failed.what.lines().next().unwrap_or_default();
        let words = format!("✗ {}: {what}", failed.rule);
        let at = (AXIS + 4.0, self.layout.y(failed.row) - 14.0);
        self.canvas.write("broken", at, &words, WIDTH - AXIS - 60.0, true);
    }

    fn lanes(&mut self, head: f64) {
        for (lane, name) in self.model.lanes.iter().enumerate() {
            let x = self.layout.x(lane);
            let name = escape(name);
            self.canvas.put(format_args!(
                "<text class=\"head\" x=\"{x:.1}\" y=\"{head:.1}\">{name}</text>"
            ));
            self.canvas.line("lane", (x, self.layout.top), (x, self.layout.bottom));
        }
        for span in &self.model.spans {
            let (x, from) = (self.layout.x(span.lane), self.layout.y(span.rows.start));
            let to = self.layout.y(span.rows.end);
            self.canvas.rect("gone", (x - 6.0, from), 12.0, to - from);
            match span.kind {
                SpanKind::Down => self.canvas.line("down", (x, from), (x, to)),
                SpanKind::Paused => self.canvas.rect("paused", (x - 5.0, from), 10.0, to - from),
            }
        }
    }

    fn axis(&mut self) {
        let mut last = f64::NEG_INFINITY;
        for row in 0..self.model.rows.len() {
            let y = self.layout.y(row as RowIndex);
            if self.layout.is_visible[row] && y - last >= TICK {
                last = y;
                let at = Duration::from_nanos(self.model.rows[row].at);
                let time = match self.model.clock {
                    // To the microsecond: what is nearer has an order, and that is drawn.
                    Clock::Virtual => format!("{:.6} s", at.as_secs_f64()),
                    Clock::Order => format!("step {}", text::time(Clock::Order, at)),
                };
                self.canvas.line("tick", (AXIS - 8.0, y), (AXIS - 2.0, y));
                self.canvas.write("faint", (34.0, y + 4.0), &time, AXIS - 44.0, false);
            }
        }
    }

    fn faults(&mut self) {
        let mut ends: Vec<f64> = Vec::new();
        for fault in &self.model.faults {
            let (from, to) = (self.layout.y(fault.rows.start), self.layout.y(fault.rows.end));
            let column = ends.iter().position(|end| *end <= from).unwrap_or(ends.len());
            let end = to.max(from + 4.0);
            match ends.get_mut(column) {
                Some(free) => *free = end,
                None => ends.push(end),
            }
            let x = 5.0 + 7.0 * column.min(3) as f64;
            self.canvas.rect("fault", (x, from), 5.0, end - from);
            self.announce(from, &fault.label);
        }
        for mark in &self.model.marks {
            if mark.kind == MarkKind::Note {
                self.announce(self.layout.y(mark.row), &mark.label);
            }
        }
    }

    /// What concerns all nodes.
    fn announce(&mut self, y: f64, label: &str) {
        self.canvas.line("note", (AXIS, y), (WIDTH, y));
        self.canvas.write("strong", (AXIS + 2.0, y + 4.0), label, WIDTH - AXIS - 20.0, false);
    }

    fn states(&mut self, is_detail: bool) {
        for state in self.model.states.iter().filter(|state| state.is_detail == is_detail) {
            // What a lane begins with stands at the top.
            let below = if state.row < 0 { 16.0 } else { 4.0 };
            let (x, y) = (self.layout.x(state.lane) + 12.0, self.layout.y(state.row) + below);
            let room = self.layout.lane_gap - 34.0;
            if is_detail {
                self.canvas.write("faint", (x, y), &state.label, room, false);
            } else if self.canvas.write("strong", (x + 8.0, y), &state.label, room, false) {
                self.canvas.rect(&colour(state.role), (x, y - 8.0), 5.0, 9.0);
            }
        }
    }

    fn arrows(&mut self) {
        for arrow in shown_arrows(self.model) {
            let ((x1, y1), (x2, y2)) = self.ends(arrow);
            let copy = if arrow.is_copy { " copy" } else { "" };
            let class = format!("arrow {}{copy}", colour(arrow.kind));
            self.canvas.line(&class, (x1, y1), (x2, y2));
            match arrow.fate {
                Fate::Lost(_) => self.cross((x2, y2), 4.0),
                Fate::Arrived if arrow.ends < self.model.rows.len() as RowIndex => {
                    let angle = (y2 - y1).atan2(x2 - x1).to_degrees();
                    self.canvas.put(format_args!(
                        "<path class=\"tip {}\" d=\"M1 0L-8 -3.5L-8 3.5Z\" \
                         transform=\"translate({x2:.1} {y2:.1}) rotate({angle:.1})\"/>",
                        colour(arrow.kind)
                    ));
                }
                Fate::Arrived | Fate::Pending => self.canvas.put(format_args!(
                    "<circle class=\"open\" cx=\"{x2:.1}\" cy=\"{y2:.1}\" r=\"3\"/>"
                )),
            }
        }
    }

    fn ends(&self, arrow: &Arrow) -> ((f64, f64), (f64, f64)) {
        let layout = &self.layout;
        let side = if arrow.to > arrow.from { 1.0 } else { -1.0 };
        let (from, to) = (layout.x(arrow.from), layout.x(arrow.to));
        let (sent, ends) = (layout.y(arrow.sent), layout.y(arrow.ends));
        let end = match arrow.fate {
            Fate::Lost(_) if arrow.sent == arrow.ends => {
                let below = 2.0 + 6.0 * arrow.to.abs_diff(arrow.from) as f64;
                (from + side * layout.lane_gap * 0.3, sent + below)
            }
            Fate::Lost(_) => (to - side * 16.0, ends),
            Fate::Arrived | Fate::Pending => (to - side * 6.0, ends),
        };
        ((from + side * 5.0, sent), end)
    }

    fn labels(&mut self) {
        let gap = self.layout.lane_gap;
        for arrow in shown_arrows(self.model) {
            let ((x1, y1), (x2, y2)) = self.ends(arrow);
            let is_rightward = arrow.to > arrow.from;
            if matches!(arrow.fate, Fate::Lost(_)) && arrow.sent == arrow.ends {
                let x = if is_rightward { x2 + 7.0 } else { x2 - (7.0 + gap * 0.4).min(90.0) };
                let label = format!("⇥ {} {}", self.model.lanes[arrow.to], arrow.label);
                self.canvas.write("faint", (x, y2 + 4.0), &label, gap * 0.4, false);
                continue;
            }
            let slope = (y2 - y1) / (x2 - x1);
            // Beside the receiver if there is room, and else nearer to the sender.
            for near in 0..arrow.to.abs_diff(arrow.from) {
                let x = if is_rightward {
                    x2 - gap * (near as f64 + 1.0) + 22.0
                } else {
                    x2 + gap * near as f64 + 16.0
                };
                let y = y1 + slope * (x + gap * 0.3 - x1) - 3.0;
                if self.canvas.write("label", (x, y), &arrow.label, gap - 38.0, false) {
                    break;
                }
            }
        }
    }

    fn marks(&mut self) {
        for mark in &self.model.marks {
            if let Some(lane) = mark.lane {
                let at = (self.layout.x(lane), self.layout.y(mark.row));
                self.mark(mark, at);
            }
        }
    }

    fn mark(&mut self, mark: &Mark, (x, y): (f64, f64)) {
        let gap = self.layout.lane_gap;
        match mark.kind {
            MarkKind::Fire(kind) if !self.model.kinds[kind].is_shown => {}
            MarkKind::Fire(_) => {
                self.canvas.line("timer", (x - 9.0, y), (x + 9.0, y));
                let at = (x - 15.0 - (gap * 0.28).min(80.0), y + 4.0);
                self.canvas.write("faint", at, &mark.label, gap * 0.28, false);
            }
            MarkKind::Persist(durable) => {
                let synced = durable.map(|row| self.layout.y(row));
                self.canvas.line("tick", (x - 8.0, y), (x - 8.0, synced.unwrap_or(y)));
                self.canvas.rect("write", (x - 11.0, y - 3.0), 6.0, 6.0);
                if let Some(synced) = synced {
                    self.canvas.rect("durable", (x - 11.5, synced - 3.5), 7.0, 7.0);
                }
            }
            MarkKind::Ask | MarkKind::Reply => {
                let (tail, tip) = match mark.kind {
                    MarkKind::Ask => (x - 18.0, x - 6.0),
                    _ => (x - 6.0, x - 18.0),
                };
                let back = if tip > tail { -5.0 } else { 5.0 };
                self.canvas.line("client", (tail, y), (tip, y));
                self.canvas.line("client", (tip, y), (tip + back, y - 3.0));
                self.canvas.line("client", (tip, y), (tip + back, y + 3.0));
                let at = (x - 24.0 - (gap * 0.26).min(90.0), y + 4.0);
                self.canvas.write("faint", at, &mark.label, gap * 0.26, false);
            }
            MarkKind::Crash => {
                self.cross((x, y), 7.0);
                self.canvas.write("strong", (x + 12.0, y + 4.0), "crash", gap - 30.0, false);
            }
            MarkKind::Boot => self.canvas.put(format_args!(
                "<path class=\"boot\" d=\"M-7 -5L7 -5L0 5Z\" transform=\"translate({x:.1} {y:.1})\"/>"
            )),
            MarkKind::PeerLost => self.canvas.put(format_args!(
                "<circle class=\"open\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"
            )),
            MarkKind::Note => {}
        }
    }

    fn cross(&mut self, (x, y): (f64, f64), arm: f64) {
        self.canvas.line("cross", (x - arm, y - arm), (x + arm, y + arm));
        self.canvas.line("cross", (x - arm, y + arm), (x + arm, y - arm));
    }
}

fn shown_arrows(model: &Model) -> impl Iterator<Item = &Arrow> {
    model.arrows.iter().filter(|arrow| model.kinds[arrow.kind].is_shown)
}

fn colour(kind: usize) -> String {
    format!("c{}", kind % 6)
}

/// The text, or as much of it as fits; none if that says nothing.
fn fitted(text: &str, fits: usize) -> Option<String> {
    if text.is_empty() || fits < 4 {
        return None;
    }
    if text.chars().count() <= fits {
        return Some(text.to_owned());
    }
    Some(text.chars().take(fits - 1).chain(['…']).collect())
}

/// A line of text, broken into several where it is too long.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let chars: Vec<char> = line.chars().collect();
    chars.chunks(width).map(|part| part.iter().collect()).collect()
}
