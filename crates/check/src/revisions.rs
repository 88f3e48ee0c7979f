//! The revision audit: a quick necessary condition for histories too long to search.
//!
//! [`audit`] reads a key-value history once and looks for answers that contradict each other. It
//! takes time in proportion to the history (times a logarithm), so hundreds of thousands of
//! operations are no matter. What it reports is certainly wrong; what it passes may still not be
//! linearizable, which [`crate::kv_model::check`] decides. What it holds a history to:
//!
//! - no two acknowledged writes have the same revision;
//! - in real time revisions never go back: what was invoked after something completed has at least
//!   its revision, and a greater one if it wrote;
//! - a key seen at a revision was put there, with that value, by an operation invoked early enough,
//!   and all who see it agree on it;
//! - an acknowledged change of a key is seen by everyone who looks at a later revision;
//! - the store has not done more writes than were asked of it (a retried write applied twice);
//! - in the end, all this holds of the store's whole contents too: every acknowledged put is there,
//!   at the revision it was acknowledged with, unless an operation that was there too replaced it.
//!
//! It assumes that every write to the store is in the history. Omitted: the expiry of leases
//! (record it as a delete of unknown outcome).

mod facts;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::history::{History, OpId};
use crate::kv_model::{
    Absence, Contents, KeyValue, KvHistory, KvInput, KvOutput, Revision, Sighting, Span, absences,
    sightings,
};
use facts::{Change, Facts};

/// An audit stops after this many findings: the first few tell the story.
pub const FINDINGS_MAX: usize = 100;

/// Which rule a history breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Two acknowledged writes have one revision.
    RevisionsAreUnique,
    /// An operation has a revision before that of one that had completed before it was invoked.
    RevisionsNeverGoBack,
    /// A key is shown with revisions or a version that no store could give it.
    EntriesMakeSense,
    /// A key is shown with something else than what was put at that revision.
    SightingsAgree,
    /// A key is shown as put by a write that had not been invoked.
    NothingComesFromTheFuture,
    /// A key is shown with a value that nobody put.
    NothingComesFromNowhere,
    /// A change that was acknowledged is not to be seen afterwards.
    AcknowledgedChangesStay,
    /// The store did more writes than it was asked for.
    WritesHappenOnce,
}

/// One contradiction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule is broken.
    pub rule: Rule,
    /// By which operations.
    pub operations: Vec<OpId>,
    /// How, in one sentence.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Looks for contradictions in `history`, whose store held `start` before it and, where that is
/// known, `end` after it. `end` has to be read once every client has stopped and every operation
/// still under way has ended or died. An empty answer means that none was found.
pub fn audit(start: &Contents, history: &KvHistory, end: Option<&Contents>) -> Vec<Finding> {
    let facts = Facts::gather(start, history);
    let mut audit = Audit { history, facts, seen: HashMap::new(), findings: Vec::new() };
    audit.revisions_are_unique();
    audit.revisions_never_go_back(end);
    for (op, operation) in history.operations() {
        let Some(output) = operation.output() else { continue };
        let witness = By { op: Some(op), at_ns: operation.completed_ns().unwrap_or(u64::MAX) };
        for sighting in sightings(output) {
            audit.sighting(witness, sighting);
        }
        for absence in absences(&operation.input, output) {
            audit.absence(witness, absence);
        }
    }
    if let Some(end) = end {
        let witness = By { op: None, at_ns: u64::MAX };
        for entry in &end.entries {
            audit.sighting(witness, Sighting { entry, until: end.revision });
        }
        let absence = Absence { span: &Span::All, shown: &end.entries, at: end.revision };
        audit.absence(witness, absence);
    }
    audit.writes_happen_once(start, end);
    audit.findings
}

/// Who saw something, and when at the latest. Without an operation it is the last look.
#[derive(Clone, Copy)]
struct By {
    op: Option<OpId>,
    at_ns: u64,
}

struct Audit<'h> {
    history: &'h History<KvInput, KvOutput>,
    facts: Facts<'h>,
    /// Who first saw a key as put at a revision, and how it looked.
    seen: HashMap<(&'h [u8], Revision), (By, &'h KeyValue)>,
    findings: Vec<Finding>,
}

impl<'h> Audit<'h> {
    fn report(&mut self, rule: Rule, operations: impl IntoIterator<Item = OpId>, message: String) {
        if self.findings.len() < FINDINGS_MAX {
            let operations = operations.into_iter().collect();
            self.findings.push(Finding { rule, operations, message });
        }
    }

    /// An operation as a message names it.
    fn name(&self, op: OpId) -> String {
        let operation = &self.history[op];
        let until = operation.completed_ns().map_or("never".to_string(), |ns| ns.to_string());
        format!(
            "{op} ({:?} by client {}, {} to {until} ns)",
            operation.input, operation.client.0, operation.invoked_ns
        )
    }

    fn name_by(&self, by: By) -> String {
        by.op.map_or("the last look at the store".to_string(), |op| self.name(op))
    }

    fn revisions_are_unique(&mut self) {
        for (revision, first, second) in std::mem::take(&mut self.facts.shared) {
            let (one, other) = (self.name(first), self.name(second));
            let message = format!("{one} and {other} were both acknowledged as {revision}");
            self.report(Rule::RevisionsAreUnique, [first, second], message);
        }
    }

    fn revisions_never_go_back(&mut self, end: Option<&Contents>) {
        let mut completed: Vec<(u64, OpId, Revision)> = Vec::new();
        let mut invoked: Vec<(u64, OpId, Revision, bool)> = Vec::new();
        for (op, operation) in self.history.operations() {
            let (Some(at_ns), Some(output)) = (operation.completed_ns(), operation.output()) else {
                continue;
            };
            completed.push((at_ns, op, output.revision));
            invoked.push((operation.invoked_ns, op, output.revision, output.is_write()));
        }
        completed.sort_unstable();
        invoked.sort_unstable();
        let mut before = completed.into_iter().peekable();
        let mut highest: Option<(Revision, OpId)> = None;
        for (invoked_ns, op, revision, is_write) in invoked {
            while let Some((_, earlier, seen)) = before.next_if(|(at_ns, ..)| *at_ns < invoked_ns) {
                highest = highest.max(Some((seen, earlier)));
            }
            let Some((seen, earlier)) = highest else { continue };
            if revision < seen || (is_write && revision == seen) {
                let did = if is_write { "was acknowledged as" } else { "saw" };
                let (name, earlier_name) = (self.name(op), self.name(earlier));
                let message = format!(
                    "{name} {did} {revision}, although {earlier_name} had completed at {seen} \
                     before it was invoked"
                );
                self.report(Rule::RevisionsNeverGoBack, [earlier, op], message);
            }
        }
        let highest = before.fold(highest, |highest, (_, op, seen)| highest.max(Some((seen, op))));
        if let (Some(end), Some((seen, op))) = (end, highest)
            && end.revision < seen
        {
            let name = self.name(op);
            let message = format!("the store ended at {}, but {name} saw {seen}", end.revision);
            self.report(Rule::RevisionsNeverGoBack, [op], message);
        }
    }

    fn sighting(&mut self, by: By, sighting: Sighting<'h>) {
        let Sighting { entry, until } = sighting;
        let makes_sense = entry.version >= 1
            && entry.create_revision <= entry.mod_revision
            // One transaction may put a key twice, so a key may be older in versions than in revisions.
            && (entry.version > 1 || entry.create_revision == entry.mod_revision)
            && entry.mod_revision <= until;
        if !makes_sense {
            let message = format!("{} saw {entry:?} at {until}, which cannot be", self.name_by(by));
            self.report(Rule::EntriesMakeSense, by.op, message);
            return;
        }
        self.agrees_with_others(by, entry);
        self.comes_from_somewhere(by, entry);
        if let Some((revision, change)) =
            self.facts.last_change(&entry.key, entry.mod_revision.next(), until)
        {
            let message = format!(
                "{} saw {entry:?} at {until}, although {} had been acknowledged as {revision}",
                self.name_by(by),
                self.name(change.op)
            );
            self.report(
                Rule::AcknowledgedChangesStay,
                [Some(change.op), by.op].into_iter().flatten(),
                message,
            );
        }
    }

    fn agrees_with_others(&mut self, by: By, entry: &'h KeyValue) {
        let place = (entry.key.as_slice(), entry.mod_revision);
        let (first, seen) = *self.seen.entry(place).or_insert((by, entry));
        if seen != entry {
            let (one, other) = (self.name_by(first), self.name_by(by));
            let message = format!("{one} saw {seen:?}, but {other} saw {entry:?}");
            self.report(Rule::SightingsAgree, first.op.into_iter().chain(by.op), message);
        }
    }

    /// Whether someone put what was seen: at the start, by an acknowledged write, or perhaps by
    /// one of unknown outcome.
    fn comes_from_somewhere(&mut self, by: By, entry: &'h KeyValue) {
        let revision = entry.mod_revision;
        if revision <= self.facts.start_revision {
            if self.facts.start_entries.get(&entry.key[..]) != Some(&entry) {
                let message = format!(
                    "{} saw {entry:?}, but the store started without it at {}",
                    self.name_by(by),
                    self.facts.start_revision
                );
                self.report(Rule::NothingComesFromNowhere, by.op, message);
            }
            return;
        }
        let Some(&writer) = self.facts.acknowledged.get(&revision) else {
            let first = self.facts.unknown_puts.get(&(&entry.key, &entry.value));
            if first.is_none_or(|invoked_ns| *invoked_ns > by.at_ns) {
                let message = format!(
                    "{} saw {entry:?}, but by then no operation that may have happened had asked \
                     to put \"{}\"",
                    self.name_by(by),
                    entry.value.escape_ascii()
                );
                self.report(Rule::NothingComesFromNowhere, by.op, message);
            }
            return;
        };
        let change = self.facts.change_at(&entry.key, revision);
        if change.and_then(|change| change.value) != Some(&entry.value) {
            let message = format!(
                "{} saw {entry:?}, but {revision} is {}, which did not put that",
                self.name_by(by),
                self.name(writer)
            );
            self.report(Rule::SightingsAgree, by.op.into_iter().chain([writer]), message);
        } else if self.history[writer].invoked_ns > by.at_ns {
            let message = format!(
                "{} saw {entry:?} before {} was invoked",
                self.name_by(by),
                self.name(writer)
            );
            self.report(
                Rule::NothingComesFromTheFuture,
                by.op.into_iter().chain([writer]),
                message,
            );
        }
    }

    /// Whether each key that was not there may have been gone: never put, deleted by an
    /// acknowledged write, or perhaps by one of unknown outcome that still finds a free revision.
    fn absence(&mut self, by: By, absence: Absence<'h>) {
        let shown: BTreeSet<&[u8]> =
            absence.shown.iter().map(|entry| entry.key.as_slice()).collect();
        let missing: Vec<(&'h [u8], Revision, Option<Change<'h>>)> = self
            .facts
            .keys_in(absence.span)
            .filter(|key| !shown.contains(key))
            .filter_map(|key| self.facts.last_put(key, absence.at).map(|(at, put)| (key, at, put)))
            .collect();
        for (key, put_at, put) in missing {
            if self.facts.may_have_been_deleted(key, put_at, absence.at, by.at_ns) {
                continue;
            }
            let writer = put.map_or("the start".to_string(), |put| self.name(put.op));
            let message = format!(
                "{} found no key \"{}\" at {}, although {writer} had put it at {put_at} and nothing \
                 can have deleted it",
                self.name_by(by),
                key.escape_ascii(),
                absence.at
            );
            let operations = put.map(|put| put.op).into_iter().chain(by.op);
            self.report(Rule::AcknowledgedChangesStay, operations, message);
        }
    }

    fn writes_happen_once(&mut self, start: &Contents, end: Option<&Contents>) {
        let outputs = self.history.operations().filter_map(|(_, operation)| operation.output());
        let seen = outputs.map(|output| output.revision).chain(end.map(|end| end.revision)).max();
        let Some(last) = seen else { return };
        let done = last.0.saturating_sub(start.revision.0);
        let (acknowledged, unknown) = (self.facts.acknowledged.len(), self.facts.unknown_writes);
        if done > (acknowledged + unknown) as u64 {
            let message = format!(
                "the store did {done} writes from {} to {last}, but only {acknowledged} were \
                 acknowledged and {unknown} more may have happened: some write was done twice",
                start.revision
            );
            self.report(Rule::WritesHappenOnce, [], message);
        }
    }
}
