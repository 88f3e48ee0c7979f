//! The judge of `kafka`: logs to which messages are appended, that are read from offsets on, and their commits.
//!
//! Looked for:
//! - `lost`: an acknowledged message that none of the final reads has come upon;
//! - `skipped`: a poll that passes over an offset that holds a message: whoever reads on never sees it;
//! - `two-at-one-offset`, `one-at-two-offsets`: offsets name one message each, once;
//! - `poll-not-rising`, `poll-went-back`: a poll whose offsets don't rise, or begin before what was asked for;
//! - `send-not-rising`: one client's messages to one log, acknowledged in an order that their offsets don't have;
//! - `invented`: a message that nobody sent to that log, or whose sending was refused;
//! - `commit-went-back`: a client is told of a lower commit than it has itself made or been told of;
//! - `commit-invented`: a commit that nobody had asked for: whoever goes on from there misses messages.
//!
//! Not looked for: that a poll is up to date. Only one client commits for each log, as one consumer of a group does, so
//! that commits are asked for in rising order.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::ClientNumber;
use crate::history::{Findings, Op, listed};

/// Logs, by their names, and an offset of each.
pub type Offsets = BTreeMap<String, u64>;

/// What a broker is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaRequest {
    /// Append a message, which no other request sends.
    Send {
        /// To this log.
        key: String,
        /// This.
        message: u64,
    },
    /// What is there, from these offsets on?
    Poll(Offsets),
    /// Everything up to these offsets is done with.
    Commit(Offsets),
    /// How far are these logs done with?
    ListCommitted(Vec<String>),
}

/// What a broker answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaAnswer {
    /// To a sending: it is at this offset.
    Sent(u64),
    /// To a poll: offsets and messages.
    Polled(BTreeMap<String, Vec<(u64, u64)>>),
    /// To a commit: done.
    Committed,
    /// To the question how far logs are done with.
    CommittedUpTo(Offsets),
}

/// One request to a broker.
pub type KafkaOp = Op<KafkaRequest, KafkaAnswer>;

/// What is known to be in the logs.
#[derive(Default)]
struct Logs<'h> {
    messages: BTreeMap<&'h str, BTreeMap<u64, u64>>,
    offsets: BTreeMap<(&'h str, u64), u64>,
}

impl<'h> Logs<'h> {
    fn learn(
        &mut self,
        op: &KafkaOp,
        key: &'h str,
        (offset, message): (u64, u64),
        found: &mut Findings,
    ) {
        let there = *self.messages.entry(key).or_default().entry(offset).or_insert(message);
        if there != message {
            let what = format!(
                "{}: offset {offset} of log {key} holds {message}, and held {there}",
                op.place()
            );
            found.wrong("two-at-one-offset", what);
        }
        let known = *self.offsets.entry((key, message)).or_insert(offset);
        if known != offset {
            let what = format!(
                "{}: message {message} of log {key} is at {offset}, and was at {known}",
                op.place()
            );
            found.wrong("one-at-two-offsets", what);
        }
    }
}

/// What is wrong with the history.
pub fn judge(ops: &[KafkaOp]) -> Findings {
    let mut found = Findings::default();
    let mut logs = Logs::default();
    for op in ops {
        match (&op.request, op.answer()) {
            (KafkaRequest::Send { key, message }, Some(KafkaAnswer::Sent(offset))) => {
                logs.learn(op, key, (*offset, *message), &mut found);
            }
            (_, Some(KafkaAnswer::Polled(polled))) => {
                for (key, pairs) in polled {
                    pairs.iter().for_each(|pair| logs.learn(op, key, *pair, &mut found));
                }
            }
            _ => {}
        }
    }
    judge_polls(ops, &logs, &mut found);
    judge_sends(ops, &mut found);
    judge_commits(ops, &mut found);
    judge_end(ops, &mut found);
    found
}

fn judge_polls(ops: &[KafkaOp], logs: &Logs<'_>, found: &mut Findings) {
    let mut sent: BTreeSet<(&str, u64)> = BTreeSet::new();
    for op in ops.iter().filter(|op| op.is_possible()) {
        if let KafkaRequest::Send { key, message } = &op.request {
            sent.insert((key, *message));
        }
    }
    for op in ops {
        let (KafkaRequest::Poll(asked), Some(KafkaAnswer::Polled(polled))) =
            (&op.request, op.answer())
        else {
            continue;
        };
        let place = op.place();
        for (key, pairs) in polled.iter().filter(|(_, pairs)| !pairs.is_empty()) {
            let offsets: Vec<u64> = pairs.iter().map(|(offset, _)| *offset).collect();
            let from = asked.get(key).copied().unwrap_or(0);
            if !offsets.is_sorted_by(|one, next| one < next) {
                found.wrong(
                    "poll-not-rising",
                    format!("{place} for log {key} and got offsets {offsets:?}"),
                );
            }
            let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
            if first < from {
                found.wrong(
                    "poll-went-back",
                    format!("{place} for log {key} from {from} on, and got {first}"),
                );
            }
            let invented =
                pairs.iter().filter(|(_, message)| !sent.contains(&(key.as_str(), *message)));
            for (offset, message) in invented {
                let what = format!(
                    "{place} and got {message} at offset {offset} of log {key}, which nobody sent there"
                );
                found.wrong("invented", what);
            }
            let held = logs.messages.get(key.as_str()).into_iter().flatten();
            let skipped: Vec<u64> = held
                .map(|(offset, _)| *offset)
                .filter(|offset| {
                    (from..=last.max(from)).contains(offset) && !offsets.contains(offset)
                })
                .collect();
            if !skipped.is_empty() {
                let what = format!(
                    "{place} for log {key} from {from} on, and got offsets up to {last} without {}",
                    listed(skipped)
                );
                found.wrong("skipped", what);
            }
        }
    }
}

fn judge_sends(ops: &[KafkaOp], found: &mut Findings) {
    let mut last: BTreeMap<(ClientNumber, &str), u64> = BTreeMap::new();
    for op in ops {
        let (KafkaRequest::Send { key, .. }, Some(KafkaAnswer::Sent(offset))) =
            (&op.request, op.answer())
        else {
            continue;
        };
        match last.insert((op.client, key), *offset) {
            Some(before) if before >= *offset => {
                let what = format!(
                    "{}: its message got offset {offset} of log {key}, the one before {before}",
                    op.place()
                );
                found.wrong("send-not-rising", what);
            }
            _ => {}
        }
    }
}

fn judge_commits(ops: &[KafkaOp], found: &mut Findings) {
    let mut known: BTreeMap<(ClientNumber, &str), u64> = BTreeMap::new();
    for op in ops {
        match (&op.request, op.answer()) {
            (KafkaRequest::Commit(offsets), Some(KafkaAnswer::Committed)) => {
                for (key, offset) in offsets {
                    let known = known.entry((op.client, key)).or_insert(*offset);
                    *known = (*known).max(*offset);
                }
            }
            (KafkaRequest::ListCommitted(keys), Some(KafkaAnswer::CommittedUpTo(told))) => {
                for key in keys {
                    let told = told.get(key).copied();
                    let before = known.get(&(op.client, key.as_str())).copied();
                    if told < before {
                        let told = told.map_or("nothing".into(), |told| told.to_string());
                        let before = before.expect("nothing is less than nothing");
                        let what = format!(
                            "{}: log {key} is committed up to {told}, and was up to {before}",
                            op.place()
                        );
                        found.wrong("commit-went-back", what);
                    } else if let Some(told) = told {
                        known.insert((op.client, key), told);
                    }
                    let highest = highest_commit(ops, op, key);
                    if told > highest {
                        let what = format!(
                            "{}: log {key} is committed up to {}, but nobody has asked for more than {}",
                            op.place(),
                            told.expect("more than something"),
                            highest.map_or("nothing".into(), |highest| highest.to_string())
                        );
                        found.wrong("commit-invented", what);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The highest offset that anybody may have committed before `read` was answered.
fn highest_commit(ops: &[KafkaOp], read: &KafkaOp, key: &str) -> Option<u64> {
    let began_before = |op: &&KafkaOp| Some(op.invoked) <= read.answered_at();
    ops.iter()
        .filter(|op| op.is_possible())
        .filter(began_before)
        .filter_map(|op| match &op.request {
            KafkaRequest::Commit(offsets) => offsets.get(key).copied(),
            _ => None,
        })
        .max()
}

fn judge_end(ops: &[KafkaOp], found: &mut Findings) {
    let mut seen: BTreeSet<(&str, u64)> = BTreeSet::new();
    for op in ops.iter().filter(|op| op.is_final) {
        if let Some(KafkaAnswer::Polled(polled)) = op.answer() {
            for (key, pairs) in polled {
                seen.extend(pairs.iter().map(|(_, message)| (key.as_str(), *message)));
            }
        }
    }
    let mut lost = Vec::new();
    for op in ops {
        if let (KafkaRequest::Send { key, message }, Some(KafkaAnswer::Sent(offset))) =
            (&op.request, op.answer())
            && !seen.contains(&(key.as_str(), *message))
        {
            lost.push(format!("{message} at offset {offset} of log {key}"));
        }
    }
    if !lost.is_empty() {
        let count = lost.len();
        let what =
            format!("{count} acknowledged messages were in no poll at the end: {}", listed(lost));
        found.missing("lost", what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::histories::{answered, at_the_end, refused, unknown};

    fn log() -> String {
        "k".into()
    }

    fn sending(message: u64) -> KafkaRequest {
        KafkaRequest::Send { key: log(), message }
    }

    fn send(number: u16, message: u64, offset: u64, at_ms: u64) -> KafkaOp {
        answered(number, sending(message), KafkaAnswer::Sent(offset), at_ms, at_ms + 1)
    }

    fn poll(number: u16, from: u64, pairs: &[(u64, u64)], at_ms: u64) -> KafkaOp {
        let request = KafkaRequest::Poll([(log(), from)].into());
        let answer = KafkaAnswer::Polled([(log(), pairs.to_vec())].into());
        answered(number, request, answer, at_ms, at_ms + 1)
    }

    fn committing(up_to: u64) -> KafkaRequest {
        KafkaRequest::Commit([(log(), up_to)].into())
    }

    fn commit(number: u16, up_to: u64, at_ms: u64) -> KafkaOp {
        answered(number, committing(up_to), KafkaAnswer::Committed, at_ms, at_ms + 1)
    }

    fn list(number: u16, told: Option<u64>, at_ms: u64) -> KafkaOp {
        let told = told.map(|told| (log(), told)).into_iter().collect();
        let request = KafkaRequest::ListCommitted(vec![log()]);
        answered(number, request, KafkaAnswer::CommittedUpTo(told), at_ms, at_ms + 1)
    }

    fn anomalies(ops: &[KafkaOp]) -> Vec<&'static str> {
        judge(ops).anomalies()
    }

    #[test]
    fn sparse_offsets_late_polls_and_doubtful_sends_hold() {
        let ops = [
            send(1, 10, 0, 0),
            unknown(2, sending(11), 5),
            send(1, 12, 7, 10),
            poll(2, 0, &[], 20),
            poll(2, 0, &[(0, 10)], 30),
            poll(2, 1, &[(3, 11), (7, 12)], 40),
            commit(2, 3, 50),
            list(1, None, 55),
            list(2, Some(3), 60),
            refused(2, committing(9), 65),
            unknown(2, committing(7), 66),
            list(1, Some(7), 70),
            at_the_end(poll(1, 0, &[(0, 10), (3, 11)], 100)),
            at_the_end(poll(1, 4, &[(7, 12)], 110)),
        ];
        assert_eq!(judge(&ops), Findings::default());
    }

    #[test]
    fn an_acknowledged_message_that_no_final_poll_shows_is_lost_until_one_does() {
        let mut ops =
            vec![send(1, 10, 0, 0), send(1, 11, 1, 5), at_the_end(poll(2, 0, &[(0, 10)], 50))];
        let found = judge(&ops);
        assert_eq!(found.anomalies(), ["lost"]);
        assert!(found.may_pass());
        ops.push(at_the_end(poll(2, 1, &[(1, 11)], 60)));
        assert_eq!(anomalies(&ops), [""; 0]);
    }

    #[test]
    fn a_poll_that_passes_over_a_message_is_found_whenever_that_was_acknowledged() {
        let end = at_the_end(poll(3, 0, &[(0, 10), (1, 11), (2, 12)], 100));
        let sends = [send(1, 10, 0, 0), send(1, 11, 1, 5), send(2, 12, 2, 10)];
        for passing in [poll(3, 0, &[(0, 10), (2, 12)], 3), poll(3, 1, &[(2, 12)], 30)] {
            let ops = [&sends[..], &[passing, end.clone()]].concat();
            assert_eq!(anomalies(&ops), ["skipped"]);
        }
    }

    #[test]
    fn an_offset_is_one_message_and_a_message_has_one_offset() {
        let end = at_the_end(poll(3, 0, &[(0, 10)], 100));
        let other = unknown(2, sending(11), 0);
        let two = [send(1, 10, 0, 0), other, poll(2, 0, &[(0, 11)], 10), end];
        assert_eq!(anomalies(&two), ["two-at-one-offset"]);
        let moved = [send(1, 10, 0, 0), at_the_end(poll(2, 0, &[(0, 10), (1, 10)], 10))];
        assert_eq!(anomalies(&moved), ["one-at-two-offsets"]);
    }

    #[test]
    fn offsets_that_do_not_rise_are_found() {
        let all = at_the_end(poll(3, 0, &[(0, 10), (1, 11)], 100));
        let sends = [send(1, 10, 0, 0), send(2, 11, 1, 0)];
        let back = [&sends[..], &[poll(3, 0, &[(1, 11), (0, 10)], 10), all.clone()]].concat();
        assert_eq!(anomalies(&back), ["poll-not-rising"]);
        let before = [&sends[..], &[poll(3, 1, &[(0, 10), (1, 11)], 10), all.clone()]].concat();
        assert_eq!(anomalies(&before), ["poll-went-back"]);
        let falling = [send(1, 11, 1, 0), send(1, 10, 0, 5), all];
        assert_eq!(anomalies(&falling), ["send-not-rising"]);
    }

    #[test]
    fn a_message_that_nobody_sent_or_that_was_refused_is_found() {
        assert_eq!(anomalies(&[poll(1, 0, &[(0, 10)], 5)]), ["invented"]);
        let refused = [refused(1, sending(10), 0), poll(1, 0, &[(0, 10)], 5)];
        assert_eq!(anomalies(&refused), ["invented"]);
    }

    #[test]
    fn commits_that_go_back_or_come_from_nowhere_are_found() {
        assert_eq!(anomalies(&[commit(1, 5, 0), list(1, Some(4), 10)]), ["commit-went-back"]);
        assert_eq!(anomalies(&[commit(1, 5, 0), list(1, None, 10)]), ["commit-went-back"]);
        let forgotten = [commit(1, 5, 0), list(2, Some(5), 10), list(2, None, 20)];
        assert_eq!(anomalies(&forgotten), ["commit-went-back"]);
        assert_eq!(anomalies(&[commit(1, 5, 0), list(2, Some(6), 10)]), ["commit-invented"]);
        let refused = [refused(1, committing(5), 0), list(2, Some(5), 10)];
        assert_eq!(anomalies(&refused), ["commit-invented"]);
    }
}
