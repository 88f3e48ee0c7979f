//! A log as text, in full.

use std::fmt::Write;
use std::time::Duration;

use crate::log::{Clock, StepLog, What};
use crate::steps::Step;

/// All of a log, a line a step: its time, its input, its effects in their order, and the node's state at its end.
pub fn in_full(log: &StepLog) -> String {
    let mut text = String::new();
    for step in log.steps() {
        let at = time(log.clock(), step.at());
        let parts = parts(log, step);
        let view = step.view().map(|view| format!(" | {view}")).unwrap_or_default();
        writeln!(text, "{at} {}{view}", parts.join("; ")).expect("a string takes all");
        if let Some(failing) = log.failing().filter(|failing| is_in(step, failing.event)) {
            writeln!(text, "{at} BROKEN {}: {}", failing.rule, failing.what)
                .expect("a string takes all");
            if let Some(promise) = &failing.promise {
                writeln!(text, "{at} PROMISED {promise}").expect("a string takes all");
            }
        }
    }
    text
}

/// The time of an event, in seconds, or its place in the order.
pub fn time(clock: Clock, at: Duration) -> String {
    match clock {
        Clock::Virtual => format!("{}.{:09}", at.as_secs(), at.subsec_nanos()),
        Clock::Order => at.as_nanos().to_string(),
    }
}

/// A step in words: its input, then each of its effects.
pub(crate) fn parts(log: &StepLog, step: Step<'_>) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for (place, event) in step.events.iter().enumerate() {
        match &event.what {
            What::View { .. } => {}
            // Told with the message it is about, unless that was sent in an earlier step.
            What::Lose { why, .. } if place > 0 => append(&mut parts, &format!(" ({why})")),
            What::Duplicate { .. } if place > 0 => append(&mut parts, " (twice)"),
            what => parts.push(words(log, what)),
        }
    }
    parts
}

fn append(parts: &mut [String], words: &str) {
    if let Some(last) = parts.last_mut() {
        last.push_str(words);
    }
}

/// One thing that happened, in words.
pub(crate) fn words(log: &StepLog, what: &What) -> String {
    match what {
        What::Boot { node, .. } => format!("{node} boot"),
        What::Deliver { node, message } => {
            let message = log.message(*message);
            format!("{node} ← {} {}", message.from, message.label.text)
        }
        What::Fire { node, timer } => format!("{node} fire {}", timer.text),
        What::Ask { node, id, request } => format!("{node} ask {id} {}", request.text),
        What::Synced { node, upto } => format!("{node} synced {upto}"),
        What::PeerLost { node, peer } => format!("{node} lost {peer}"),
        What::Send { message, .. } => {
            let message = log.message(*message);
            format!("→ {} {}", message.to, message.label.text)
        }
        What::Reply { id, response, .. } => format!("reply {id} {}", response.text),
        What::Persist { record, .. } => format!("persist {}", record.text),
        What::Arm { timer, due: Some(due), .. } => {
            format!("arm {} for {}", timer.text, time(log.clock(), *due))
        }
        What::Arm { timer, due: None, .. } => format!("arm {}", timer.text),
        What::Disarm { timer, .. } => format!("disarm {}", timer.text),
        What::Release { before, .. } => format!("release before {before}"),
        What::Choose { chosen, bound, .. } => format!("choose {chosen} of {bound}"),
        What::Duplicate { message, .. } => {
            let message = log.message(*message);
            format!("{} → {} {} (again)", message.from, message.to, message.label.text)
        }
        What::Lose { message, why } => {
            let message = log.message(*message);
            format!("{} ⇥ {} {} ({why})", message.from, message.to, message.label.text)
        }
        What::View { node, view } => format!("{node} is {view}"),
        What::Crash { node, down, lost } => {
            format!("{node} crashes{}, {lost} records lost", for_long(*down))
        }
        What::Pause { node, lasts } => format!("{node} pauses{}", for_long(*lasts)),
        What::Resume { node } => format!("{node} goes on"),
        What::FaultBegins { fault, what } => format!("fault {fault}: {what}"),
        What::FaultEnds { fault } => format!("fault {fault} is over"),
        What::Note { what } => what.clone(),
    }
}

/// How long something lasts, if that is known.
pub(crate) fn for_long(lasts: Option<Duration>) -> String {
    lasts.map(|lasts| format!(" for {lasts:?}")).unwrap_or_default()
}

fn is_in(step: Step<'_>, event: Option<usize>) -> bool {
    event.is_some_and(|event| step.contains(event))
}
