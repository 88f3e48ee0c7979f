//! The space-time diagram of a log: what to draw, with which words around it.

use std::ops::Range;
use std::time::Duration;

use crate::log::{Clock, Failing, StepLog};
use crate::model::Model;
use crate::{html, svg, text};

/// More steps than this, and a diagram shows only some of them unless it is told otherwise.
pub const STEPS_MAX: usize = 20_000;

/// Which steps of a log to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Window {
    /// All of them.
    All,
    /// So many around the failing step, most of them before it; without one, so many from the start.
    Steps(usize),
    /// Those of that time.
    Time(Range<Duration>),
}

impl Default for Window {
    fn default() -> Self {
        Window::Steps(STEPS_MAX)
    }
}

/// A space-time diagram: a lifeline for each node, time downwards, and an arrow for each message.
#[derive(Clone, Debug)]
pub struct Diagram<'a> {
    log: &'a StepLog,
    title: String,
    caption: String,
    command: String,
    window: Window,
}

impl<'a> Diagram<'a> {
    /// A diagram of a log under that title.
    pub fn new(log: &'a StepLog, title: &str) -> Self {
        Diagram {
            log,
            title: title.to_owned(),
            caption: String::new(),
            command: String::new(),
            window: Window::default(),
        }
    }

    /// With some words on what there is to see.
    pub fn caption(mut self, caption: &str) -> Self {
        self.caption = caption.to_owned();
        self
    }

    /// With the command that runs it again.
    pub fn command(mut self, command: &str) -> Self {
        self.command = command.to_owned();
        self
    }

    /// Of those steps only.
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// As an SVG image.
    pub fn svg(&self) -> String {
        svg::render(&self.sheet())
    }

    /// As an HTML page that needs no other file, and no network.
    pub fn html(&self) -> String {
        html::render(&self.sheet())
    }

    fn sheet(&self) -> Sheet<'_> {
        let model = Model::new(self.log);
        let count = model.rows.len();
        let rows = self.rows(&model);
        let extent = if rows.len() == count {
            format!("{count} steps")
        } else {
            let at = |row: usize| {
                let at = Duration::from_nanos(model.rows[row].at);
                match self.log.clock() {
                    Clock::Virtual => format!("{} s", text::time(Clock::Virtual, at)),
                    Clock::Order => format!("step {}", text::time(Clock::Order, at)),
                }
            };
            let span = match (rows.start, rows.end) {
                (start, end) if start < end => format!(", from {} to {}", at(start), at(end - 1)),
                _ => String::new(),
            };
            format!("A window of {} out of {count} steps{span}", rows.len())
        };
        let model = if rows.len() == count { model } else { model.cut(rows) };
        Sheet {
            title: &self.title,
            caption: &self.caption,
            command: &self.command,
            extent,
            failing: self.log.failing(),
            model,
        }
    }

    fn rows(&self, model: &Model) -> Range<usize> {
        let count = model.rows.len();
        match &self.window {
            Window::All => 0..count,
            Window::Steps(steps) => {
                let failed = model.failed.as_ref().map_or(0, |failed| failed.row as usize);
                // What led to a failure matters more than what came of it.
                let after = steps / 5;
                let end = (failed + after).max(*steps).min(count);
                end.saturating_sub(*steps)..end
            }
            Window::Time(time) => {
                let before = |end: Duration| {
                    let end = u64::try_from(end.as_nanos()).unwrap_or(u64::MAX);
                    model.rows.partition_point(|row| row.at < end)
                };
                let (start, end) = (before(time.start), before(time.end));
                start..end.max(start)
            }
        }
    }
}

/// What a rendering is made from.
pub(crate) struct Sheet<'a> {
    pub(crate) title: &'a str,
    pub(crate) caption: &'a str,
    pub(crate) command: &'a str,
    /// How much of the run it shows.
    pub(crate) extent: String,
    /// The rule that broke, and how; whether or not the step is among those shown.
    pub(crate) failing: Option<&'a Failing>,
    pub(crate) model: Model,
}

/// Text for an element or an attribute of HTML and SVG.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // What XML has no room for, even escaped.
            '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}' => {
                escaped.push('\u{fffd}');
            }
            char => escaped.push(char),
        }
    }
    escaped
}
