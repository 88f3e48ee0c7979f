//! The diagram of one run, in a file: what several commands have flags for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use quorate_trace::{Diagram, StepLog, Window};

use crate::error::CliError;

/// Where to draw what.
#[derive(Debug, Args)]
pub(crate) struct Drawing {
    /// Draw the run, or the one that broke a rule, as a page that any browser shows
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Draw it as an SVG image
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Draw so many steps around the failing one (else the first ones), or those between two times, or all
    /// [default: 20000 steps for --html, 400 for --svg]
    #[arg(long, value_name = "STEPS|FROM..TO|all", value_parser = window)]
    window: Option<Window>,
}

/// As many steps as an image has by itself. It can't be scrolled as a page can, nor be asked for what it left out.
const SVG_STEPS: usize = 400;

fn window(text: &str) -> Result<Window, String> {
    let explain = || "write a number of steps, a time in seconds such as 1.5..2, or all".to_owned();
    if text == "all" {
        return Ok(Window::All);
    }
    let Some((from, to)) = text.split_once("..") else {
        let steps = text.parse().map_err(|_| explain())?;
        return if steps > 0 { Ok(Window::Steps(steps)) } else { Err(explain()) };
    };
    let seconds = |text: &str| {
        let seconds = text.parse().map_err(|_| explain())?;
        Duration::try_from_secs_f64(seconds).map_err(|_| explain())
    };
    let (from, to) = (seconds(from)?, seconds(to)?);
    if from < to {
        Ok(Window::Time(from..to))
    } else {
        Err("the end must come after the start".into())
    }
}

impl Drawing {
    pub(crate) fn is_wanted(&self) -> bool {
        self.html.is_some() || self.svg.is_some()
    }

    /// Draws a run, with a title, what there is to see, and the command that runs it again. Returns what there is to say of
    /// it: a line for each file.
    pub(crate) fn draw(
        &self,
        log: &StepLog,
        title: &str,
        caption: &str,
        command: &str,
    ) -> Result<String, CliError> {
        let diagram = |steps| {
            let window = self.window.clone().unwrap_or(Window::Steps(steps));
            Diagram::new(log, title).caption(caption).command(command).window(window)
        };
        let mut said = String::new();
        if let Some(path) = &self.html {
            said += &write(path, &diagram(quorate_trace::diagram::STEPS_MAX).html())?;
        }
        if let Some(path) = &self.svg {
            said += &write(path, &diagram(SVG_STEPS).svg())?;
        }
        Ok(said)
    }
}

fn write(path: &Path, content: &str) -> Result<String, CliError> {
    std::fs::write(path, content).map_err(|error| {
        CliError::NotDone(format!(
            "cannot write {}: {error}; name a file in a directory that is there and may be written",
            path.display()
        ))
    })?;
    Ok(format!("The run is drawn in {}\n", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_and_nonsense_is_refused() {
        assert_eq!(window("all"), Ok(Window::All));
        assert_eq!(window("500"), Ok(Window::Steps(500)));
        let time = Duration::from_millis(1_500)..Duration::from_secs(2);
        assert_eq!(window("1.5..2"), Ok(Window::Time(time)));
        for text in ["", "0", "-3", "2..1", "1..1", "a..b", "..2", "1..NaN", "some"] {
            assert!(window(text).is_err(), "{text}");
        }
    }
}
