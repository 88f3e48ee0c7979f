//! A log told as a story: what others see of each node, and what befalls it. The golden traces of protocols are such stories.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use quorate_core::NodeId;

use crate::log::{Event, MessageId, StepLog, What};
use crate::steps::Step;
use crate::text::{for_long, words};

/// The records that a crash lost are told up to this many, and then counted.
const LOST_TOLD_MAX: usize = 3;

/// The most lines that are folded together.
const FOLDED_MAX: usize = 12;
/// What comes as often as this in a row is folded.
const REPEATED_MIN: usize = 3;

/// Tells a log: states that change, messages, answers, what the disks have not made durable; and why things go wrong:
/// faults, crashes with what they lost, boots with what they found, pauses.
#[derive(Clone, Debug, Default)]
pub struct Story {
    views: BTreeMap<NodeId, String>,
    /// By node: what it wrote that isn't durable yet, each record with its number.
    unsynced: BTreeMap<NodeId, Vec<(u64, String)>>,
    /// By node: the number of the first record that its disk may not forget.
    kept_from: BTreeMap<NodeId, u64>,
    /// By number: what the faults are.
    faults: BTreeMap<u32, String>,
    leaves_out_routine: bool,
    /// Messages that are answers to routine, and as little worth telling.
    passed_on: BTreeSet<MessageId>,
    next: usize,
}

impl Story {
    /// A story in which messages of routine, and answers to them, are told only if something comes of them.
    pub fn without_routine() -> Self {
        Story { leaves_out_routine: true, ..Story::default() }
    }

    /// What has happened since the last call, a line for each thing.
    pub fn tell(&mut self, log: &StepLog) -> String {
        let mut text = String::new();
        self.go_on(log, &mut |line| writeln!(text, "{line}").expect("a string takes all"));
        text
    }

    /// Passes over what has happened since the last call.
    pub fn skip(&mut self, log: &StepLog) {
        self.go_on(log, &mut |_| {});
    }

    fn go_on(&mut self, log: &StepLog, tell: &mut impl FnMut(String)) {
        let durable = durable(log);
        for step in log.steps_from(self.next) {
            self.note_routine(log, step);
            if let Some(line) = self.change(step) {
                tell(line);
            }
            for place in step.first..step.first + step.events.len() {
                if let Some(line) = self.line(log, &log.events()[place..], &durable) {
                    tell(line);
                }
            }
        }
        self.next = log.events().len();
    }

    fn is_routine(&self, log: &StepLog, message: MessageId) -> bool {
        self.leaves_out_routine
            && (log.message(message).label.is_routine || self.passed_on.contains(&message))
    }

    /// Takes note of what is sent in answer to routine.
    fn note_routine(&mut self, log: &StepLog, step: Step<'_>) {
        let before = step.node().and_then(|node| self.views.get(&node)).map(String::as_str);
        let passes_on = step.passes_routine_on(|message| self.is_routine(log, message), before);
        for event in step.events {
            match event.what {
                What::Send { message, .. } if passes_on => {
                    self.passed_on.insert(message);
                }
                What::Duplicate { message, copy } if self.is_routine(log, message) => {
                    self.passed_on.insert(copy);
                }
                _ => {}
            }
        }
    }

    /// The state that a step has led to, if it is another than before. What a node is after its first boot, from an empty
    /// disk, goes without saying.
    fn change(&mut self, step: Step<'_>) -> Option<String> {
        let node = step.node()?;
        let view = step.view();
        let before = match view {
            Some(view) => self.views.insert(node, view.to_owned()),
            None => self.views.get(&node).cloned(),
        };
        match (&step.events[0].what, view) {
            (What::Boot { records: 0, .. }, _) if before.is_none() => None,
            (What::Boot { records, .. }, view) => {
                let found = self.found(node, *records);
                let view = view.map(|view| format!(": {view}")).unwrap_or_default();
                Some(format!("{node} boots with {found}{view}"))
            }
            (_, view) => {
                let view = view.filter(|view| before.as_deref() != Some(view))?;
                Some(format!("{node} is {view}"))
            }
        }
    }

    /// What is told of the first of these events, the last of which is the log's; none for what goes without saying.
    fn line(
        &mut self,
        log: &StepLog,
        events: &[Event],
        durable: &BTreeMap<NodeId, u64>,
    ) -> Option<String> {
        let what = &events[0].what;
        let next = events.get(1).map(|event| &event.what);
        Some(match what {
            What::Persist { node, number, record } => {
                self.unsynced.entry(*node).or_default().push((*number, record.text.clone()));
                if durable.get(node).is_some_and(|durable| number <= durable) {
                    return None;
                }
                format!("{node} writes {}", record.text)
            }
            What::Synced { node, upto } => {
                let written = self.unsynced.entry(*node).or_default();
                written.retain(|(number, _)| number > upto);
                return None;
            }
            What::Boot { node, .. } => {
                self.unsynced.remove(node);
                return None;
            }
            What::Release { node, before } => {
                self.kept_from.insert(*node, *before);
                return None;
            }
            What::Send { message, .. }
            | What::Lose { message, .. }
            | What::Duplicate { message, .. }
                if self.is_routine(log, *message) =>
            {
                return None;
            }
            What::Send { node, message } => {
                // What is lost at once is told when it is lost.
                if matches!(next, Some(What::Lose { message: lost, .. }) if lost == message) {
                    return None;
                }
                let message = log.message(*message);
                format!("{node} → {} {}", message.to, message.label.text)
            }
            What::Reply { node, id, response } => format!("{node} answers {id}: {}", response.text),
            What::Crash { node, down, lost } => {
                format!("{node} crashes{}{}", for_long(*down), self.lost(*node, *lost as usize))
            }
            What::PeerLost { node, peer } => format!("{node} loses its connection with {peer}"),
            What::FaultBegins { fault, what } => {
                self.faults.insert(*fault, what.clone());
                // What it comes to is told when that happens.
                if matches!(next, Some(What::Crash { .. } | What::Pause { .. })) {
                    return None;
                }
                words(log, &events[0].what)
            }
            What::FaultEnds { fault } => match self.faults.get(fault) {
                Some(what) => format!("fault {fault} is over: {what}"),
                None => words(log, what),
            },
            What::Lose { .. }
            | What::Duplicate { .. }
            | What::Pause { .. }
            | What::Resume { .. }
            | What::Note { .. } => words(log, what),
            What::Deliver { .. }
            | What::Fire { .. }
            | What::Ask { .. }
            | What::Arm { .. }
            | What::Disarm { .. }
            | What::Choose { .. }
            | What::View { .. } => return None,
        })
    }

    /// What a boot finds on a disk that has had so many records, in words.
    fn found(&self, node: NodeId, records: u64) -> String {
        match (records, self.kept_from.get(&node)) {
            (0, _) => "nothing on its disk".to_owned(),
            (_, Some(from)) if *from <= records => format!("its records from {from} to {records}"),
            (1, _) => "1 record".to_owned(),
            _ => format!("{records} records"),
        }
    }

    /// What a crash made a disk forget, in words.
    fn lost(&mut self, node: NodeId, lost: usize) -> String {
        let written = self.unsynced.remove(&node).unwrap_or_default();
        let forgotten = &written[written.len().saturating_sub(lost)..];
        let told: Vec<&str> =
            forgotten.iter().take(LOST_TOLD_MAX).map(|(_, record)| record.as_str()).collect();
        match (lost, lost - told.len()) {
            (0, _) => String::new(),
            (_, 0) => format!(" and loses {}", told.join("; ")),
            (_, untold) => format!(" and loses {}; and {untold} records more", told.join("; ")),
        }
    }
}

/// A story in which lines that come again and again, in the same order, are told once and counted.
pub fn folded(story: &str) -> String {
    let lines: Vec<&str> = story.lines().collect();
    let mut text = String::new();
    let mut rest = lines.as_slice();
    while !rest.is_empty() {
        let times = |length: usize| {
            let (block, rest) = rest.split_at(length);
            1 + rest.chunks_exact(length).take_while(|chunk| *chunk == block).count()
        };
        let lengths = 1..=FOLDED_MAX.min(rest.len());
        let best = lengths.filter(|length| times(*length) >= REPEATED_MIN);
        let best = best.max_by_key(|length| (length * times(*length), usize::MAX - length));
        let (length, times) = best.map_or((1, 1), |length| (length, times(length)));
        rest[..length].iter().for_each(|line| {
            writeln!(text, "{line}").expect("a string takes all");
        });
        if times > 1 {
            let these =
                if length == 1 { "this line".to_owned() } else { format!("these {length} lines") };
            writeln!(text, "… {these} {} times more", times - 1).expect("a string takes all");
        }
        rest = &rest[length * times..];
    }
    text
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::label::Label;

    const N1: NodeId = NodeId(1);
    const N2: NodeId = NodeId(2);

    fn told(log: &StepLog) -> Vec<String> {
        Story::default().tell(log).lines().map(str::to_owned).collect()
    }

    fn writes(log: &mut StepLog, records: &[&str]) {
        log.fire(N1, "write");
        records.iter().for_each(|record| log.persist(N1, *record));
        log.view(N1, "writing");
    }

    #[test]
    fn a_crash_is_told_with_what_it_lost_and_a_boot_with_what_it_found() {
        let mut log = StepLog::in_order([N1]);
        log.boot(N1, 0);
        log.view(N1, "idle");
        writes(&mut log, &["a", "b", "c"]);
        log.synced(N1, 1);
        log.view(N1, "writing");
        log.crash(N1, Some(Duration::from_secs(2)), 1);
        log.boot(N1, 2);
        log.view(N1, "idle");
        let expected = [
            "n1 is writing",
            "n1 writes c",
            "n1 crashes for 2s and loses c",
            "n1 boots with 2 records: idle",
        ];
        assert_eq!(told(&log), expected);
    }

    #[test]
    fn many_lost_records_are_counted_and_a_disk_may_be_empty() {
        let mut log = StepLog::in_order([N1]);
        log.boot(N1, 0);
        log.view(N1, "writing");
        writes(&mut log, &["a", "b", "c", "d", "e"]);
        let mut story = Story::default();
        story.skip(&log);
        log.crash(N1, None, 5);
        log.boot(N1, 0);
        log.view(N1, "idle");
        let expected = "n1 crashes and loses a; b; c; and 2 records more\nn1 boots with nothing on its disk: idle\n";
        assert_eq!(story.tell(&log), expected);
    }

    #[test]
    fn a_disk_that_let_old_records_go_is_found_with_the_others() {
        let mut log = StepLog::in_order([N1]);
        log.boot(N1, 0);
        log.view(N1, "idle");
        writes(&mut log, &["a", "b", "c"]);
        log.synced(N1, 3);
        log.release(N1, 3);
        log.view(N1, "writing");
        log.crash(N1, None, 0);
        log.boot(N1, 3);
        log.view(N1, "idle");
        let expected =
            ["n1 is writing", "n1 crashes", "n1 boots with its records from 3 to 3: idle"];
        assert_eq!(told(&log), expected);
    }

    #[test]
    fn what_comes_again_and_again_is_told_once_and_counted() {
        let story =
            |lines: &str| lines.split(' ').map(|line| line.to_owned() + "\n").collect::<String>();
        assert_eq!(
            folded(&story("a a b c b c b c b d")),
            story("a a b c") + "… these 2 lines 2 times more\n" + &story("b d")
        );
        assert_eq!(folded(&story("x a a a a")), story("x a") + "… this line 3 times more\n");
        assert_eq!(folded(""), "");
    }

    #[test]
    fn a_fault_is_told_unless_what_it_comes_to_is() {
        let mut log = StepLog::in_order([N1, N2]);
        log.fault_begins(0, "cut off n1 for 2s");
        log.fault_begins(1, "crash n2 for 1s");
        log.crash(N2, Some(Duration::from_secs(1)), 0);
        log.fault_begins(2, "pause n1 for 1s");
        log.pause(N1, Some(Duration::from_secs(1)));
        log.resume(N1);
        log.fault_ends(0);
        log.fault_begins(3, "crash n2 for 1s");
        let expected = [
            "fault 0: cut off n1 for 2s",
            "n2 crashes for 1s",
            "n1 pauses for 1s",
            "n1 goes on",
            "fault 0 is over: cut off n1 for 2s",
            "fault 3: crash n2 for 1s",
        ];
        assert_eq!(told(&log), expected);
    }

    #[test]
    fn routine_is_left_out_as_long_as_nothing_comes_of_it() {
        let mut log = StepLog::in_order([N1, N2]);
        for view in ["follower", "follower", "follower of n1"] {
            log.fire(N1, "heartbeat");
            let heartbeat = log.send(N1, N2, Label::new("Append").routine());
            log.view(N1, "leader");
            log.deliver(heartbeat);
            let answer = log.send(N2, N1, "Appended");
            log.view(N2, view);
            log.deliver(answer);
            log.view(N1, "leader");
        }
        let expected = "n1 is leader\nn2 is follower\nn2 → n1 Appended\nn2 is follower of n1\nn2 → n1 Appended\n";
        assert_eq!(Story::without_routine().tell(&log), expected);
        assert_eq!(told(&log).len(), expected.lines().count() + 4);
    }
}
