//! Automatic compaction: which revision may be forgotten, and when. The rules are etcd's.
//!
//! By revisions: every five minutes, all but the newest so many. By period: the revision that was the newest a period ago;
//! every period, or every hour if that is shorter. To know it, the revision is noted ten times in that time. All nodes
//! note, so that whoever leads next knows; only the leader compacts.
//!
//! Nothing here reads a clock or asks a node: [`crate::keeper`] does.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::AutoCompaction;

/// How often what is beyond so many revisions is let go.
const REVISIONS_EVERY: Duration = Duration::from_secs(5 * 60);
/// How often what is older than a longer period is let go.
const PERIOD_EVERY_MAX: Duration = Duration::from_secs(3600);
/// How often the revision is noted between two compactions.
const NOTES: u32 = 10;

/// Decides when to compact. Times are counted from whenever one likes.
#[derive(Debug)]
pub(crate) struct Compactor {
    how: AutoCompaction,
    /// When and what was noted: the oldest first.
    notes: VecDeque<(Duration, u64)>,
    /// When something may be due next.
    next: Duration,
    /// When there was a compaction, or there could have been one for the first time.
    last: Duration,
    /// What was compacted last.
    compacted: u64,
}

impl Compactor {
    pub(crate) fn new(how: AutoCompaction, now: Duration) -> Self {
        let mut compactor =
            Compactor { how, notes: VecDeque::new(), next: now, last: now, compacted: 0 };
        if let AutoCompaction::Revisions(_) = how {
            compactor.next = now + REVISIONS_EVERY;
        }
        compactor
    }

    /// The node has this revision now. Returns the one to compact to, if it leads and there is one.
    pub(crate) fn look(&mut self, now: Duration, revision: u64, leads: bool) -> Option<u64> {
        if now < self.next {
            return None;
        }
        let target = match self.how {
            AutoCompaction::Revisions(kept) => {
                self.next = now + REVISIONS_EVERY;
                revision.checked_sub(kept)
            }
            AutoCompaction::Period(period) => {
                let every = period.min(PERIOD_EVERY_MAX);
                self.next = now + every / NOTES;
                self.notes.push_back((now, revision));
                // Of those that are old enough only the newest is needed.
                while self.notes.get(1).is_some_and(|(at, _)| now - *at >= period) {
                    self.notes.pop_front();
                }
                let is_due = now - self.last >= every;
                self.notes
                    .front()
                    .filter(|(at, _)| is_due && now - *at >= period)
                    .map(|note| note.1)
            }
        };
        let target = target.filter(|target| leads && *target > self.compacted)?;
        self.last = now;
        Some(target)
    }

    /// What [`Compactor::look`] returned was compacted, by this node or another one.
    pub(crate) fn done(&mut self, revision: u64) {
        self.compacted = self.compacted.max(revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// What is compacted, and in which minute, by one that leads while one revision is made a minute.
    fn compactions(how: AutoCompaction, minutes: u32) -> Vec<(u32, u64)> {
        let mut compactor = Compactor::new(how, Duration::ZERO);
        let mut made = Vec::new();
        for minute in 0..=minutes {
            if let Some(target) = compactor.look(MINUTE * minute, u64::from(minute) + 1, true) {
                compactor.done(target);
                made.push((minute, target));
            }
        }
        made
    }

    #[test]
    fn so_many_revisions_are_kept_and_looked_after_every_five_minutes() {
        let made = compactions(AutoCompaction::Revisions(7), 20);
        assert_eq!(made, [(10, 4), (15, 9), (20, 14)]);
    }

    #[test]
    fn a_short_period_is_compacted_as_often_as_it_is_long() {
        let made = compactions(AutoCompaction::Period(10 * MINUTE), 35);
        assert_eq!(made, [(10, 1), (20, 11), (30, 21)]);
    }

    #[test]
    fn a_long_period_is_compacted_every_hour() {
        let made = compactions(AutoCompaction::Period(150 * MINUTE), 330);
        let expected: Vec<(u32, u64)> =
            made.iter().map(|(at, _)| (*at, u64::from(at - 150) + 1)).collect();
        assert_eq!(made, expected, "what is 150 minutes old is let go");
        let pauses: Vec<u32> = made.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(made.len() >= 3 && pauses.iter().all(|pause| *pause == 60), "{made:?}");
    }

    #[test]
    fn one_that_follows_notes_but_does_not_compact_until_it_leads() {
        let mut compactor = Compactor::new(AutoCompaction::Period(10 * MINUTE), Duration::ZERO);
        for minute in 0..15 {
            assert_eq!(compactor.look(MINUTE * minute, minute.into(), false), None);
        }
        assert_eq!(compactor.look(MINUTE * 15, 15, true), Some(5));
    }

    #[test]
    fn nothing_is_compacted_twice() {
        let mut compactor = Compactor::new(AutoCompaction::Revisions(5), Duration::ZERO);
        assert_eq!(compactor.look(5 * MINUTE, 20, true), Some(15));
        compactor.done(15);
        assert_eq!(compactor.look(10 * MINUTE, 20, true), None);
        assert_eq!(compactor.look(15 * MINUTE, 21, true), Some(16));
    }
}
