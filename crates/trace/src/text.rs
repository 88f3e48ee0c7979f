//! A log as text, in full.

use std::fmt::Write;
use std::time::Duration;

use crate::log::{Clock, Step, StepLog, What};

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
        }
    }
    text
}

/// Tells a log as others see it: states that change, messages, answers, and what the disks have not made durable. The
/// golden traces of protocols are such stories.
#[derive(Clone, Debug, Default)]
pub struct Story {
    views: BTreeMap<NodeId, String>,
    next: usize,
}

impl Story {
    /// What has happened since the last call, a line for each thing.
    pub fn tell(&mut self, log: &StepLog) -> String {
        let mut text = String::new();
        let durable = durable(log);
        for step in log.steps_from(self.next) {
            if let Some((node, view)) = self.change(step) {
                writeln!(text, "{node} is {view}").expect("a string takes all");
            }
            for place in 0..step.events.len() {
                if let Some(line) = line(log, &step.events[place..], &durable) {
                    writeln!(text, "{line}").expect("a string takes all");
                }
            }
        }
        self.next = log.events().len();
        text
    }

    /// Passes over what has happened since the last call.
    pub fn skip(&mut self, log: &StepLog) {
        for step in log.steps_from(self.next) {
            self.change(step);
        }
        self.next = log.events().len();
    }

    /// The state that a step has led to, if it is another than before. What a node is after its boot goes without
    /// saying.
    fn change<'a>(&mut self, step: Step<'a>) -> Option<(NodeId, &'a str)> {
        let node = step.node()?;
        let view = view_of(step)?;
        let before = self.views.insert(node, view.to_owned());
        let is_boot = matches!(step.events[0].what, What::Boot { .. });
        (!is_boot && before.as_deref() != Some(view)).then_some((node, view))
    }
}

/// What a story tells of the first of these events; none for what goes without saying.
fn line(log: &StepLog, events: &[Event], durable: &BTreeMap<NodeId, u64>) -> Option<String> {
    Some(match &events[0].what {
        What::Persist { node, number, record } => {
            if durable.get(node).is_some_and(|durable| number <= durable) {
                return None;
            }
            format!("{node} writes {}", record.text)
        }
        What::Send { node, message } => {
            // What is lost at once is told when it is lost.
            let next = events.get(1).map(|event| &event.what);
            if matches!(next, Some(What::Lose { message: lost, .. }) if lost == message) {
                return None;
            }
            let message = log.message(*message);
            format!("{node} → {} {}", message.to, message.label.text)
        }
        What::Lose { .. } | What::Note { .. } => words(log, &events[0].what),
        What::Reply { node, id, response } => format!("{node} answers {id}: {}", response.text),
        _ => return None,
    })
}

/// The number of the newest durable record of each node that is up, as of the end of the log.
fn durable(log: &StepLog) -> BTreeMap<NodeId, u64> {
    let mut durable = BTreeMap::new();
    for event in log.events() {
        match event.what {
            What::Boot { node, records } => durable.insert(node, records),
            What::Synced { node, upto } => durable.insert(node, upto),
            _ => None,
        };
    }
    durable
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
