//! What a member writes, and what it knows of it after a crash.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use quorate_core::NodeId;

use super::log::{Entry, Index, Log, Term};
use super::memory::Met;
use super::snapshot::{Needed, Snapshot};

/// A durable write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The member started for the `boot`-th time.
    Booted {
        /// Counted from 1.
        boot: u64,
        /// The run in which its life began; 0 for the first. Who has written none says its newest run: it doesn't know
        /// whom it told of which.
        born: u64,
    },
    /// The member lost its memory, and goes on under another life.
    Reborn {
        /// The life.
        life: u64,
        /// The run, instead of [`Record::Booted`].
        boot: u64,
    },
    /// The member heard of a newer run of another, or was told, for the first time in a run, what that one knew.
    Met {
        /// The other.
        peer: NodeId,
        /// What it remembers of it from now on.
        met: Met,
    },
    /// The member entered a term, or voted in it.
    Voted {
        /// The term.
        term: Term,
        /// Whom it voted for, if anybody.
        vote: Option<NodeId>,
    },
    /// Entries follow the one at `after`; what was there before is gone.
    Appended {
        /// The index before the first of them.
        after: Index,
        /// The entries.
        entries: Vec<Entry>,
        /// What is known to be committed. Older records may say more than newer ones; the largest counts.
        commit: Index,
    },
    /// The log begins behind `snapshot`. Repeats all that older records said, entries apart: they may be released.
    Compacted {
        /// What stands for the entries before.
        snapshot: Snapshot,
        /// Whether the entries behind it stay; else they are gone as well.
        keeps_tail: bool,
        /// As in [`Record::Reborn`].
        life: u64,
        /// As in [`Record::Booted`].
        born: u64,
        /// As in [`Record::Booted`].
        boot: u64,
        /// All that [`Record::Met`] ever said.
        met: BTreeMap<NodeId, Met>,
        /// As in [`Record::Voted`].
        term: Term,
        /// As in [`Record::Voted`].
        vote: Option<NodeId>,
        /// As in [`Record::Appended`].
        commit: Index,
    },
}

/// What a member knows after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// How often it has started, with a leap for each life begun.
    pub boot: u64,
    /// The life of its memory; 0 is that of a member that never lost it.
    pub life: u64,
    /// The run in which that life began; 0 for the first.
    pub born: u64,
    /// Whether something that was durable is lost. For the world to say, if it knows; the rest may then be nothing.
    pub memory_lost: bool,
    /// What it has heard of the others.
    pub met: BTreeMap<NodeId, Met>,
    /// The newest term it has seen.
    pub term: Term,
    /// Its vote in that term.
    pub vote: Option<NodeId>,
    /// An index that was committed.
    pub commit: Index,
    /// Its log.
    pub log: Log,
    /// Which records say all this.
    pub needed: Needed,
    /// What the application's own durable state stands for, for it to fill in before the start. The state may be ahead
    /// of the log; if it is behind the log's beginning, or there is none, a snapshot is asked for.
    pub applied: Option<Snapshot>,
}

impl Hash for Durable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Durable { boot, life, born, memory_lost, met, term, vote, commit, log, .. } = self;
        let Durable { needed, applied, .. } = self;
        NodeId::hash_each(met, state);
        (boot, life, born, memory_lost, term, vote, commit, log, needed, applied).hash(state);
    }
}

impl Durable {
    /// Takes in one more record, of this number.
    pub(super) fn fold(&mut self, number: u64, record: Record) {
        match record {
            Record::Booted { boot, born } => {
                self.boot = boot;
                self.born = born;
            }
            Record::Reborn { life, boot } => {
                self.life = life;
                self.born = boot;
                self.boot = boot;
                self.memory_lost = false;
            }
            Record::Met { peer, met } => {
                self.met.insert(peer, met);
            }
            Record::Voted { term, vote } => {
                self.term = term;
                self.vote = vote;
            }
            Record::Appended { after, entries, commit } => {
                self.makes_room_after(after);
                for entry in entries {
                    self.log.push(entry);
                }
                self.needed.appended(number, self.log.last_index());
                self.commit = self.commit.max(commit);
            }
            Record::Compacted {
                snapshot,
                keeps_tail,
                life,
                born,
                boot,
                met,
                term,
                vote,
                commit,
            } => {
                self.life = life;
                self.born = born;
                self.boot = boot;
                self.met = met;
                self.term = term;
                self.vote = vote;
                self.commit = self.commit.max(commit);
                // As in the records that it repeats: whoever writes this has begun a new life if it had to.
                self.memory_lost = false;
                self.compacted(number, snapshot, keeps_tail);
            }
        }
    }

    /// What is lost may be the very record that stood for the beginning of the log, when those before it had been
    /// released. What follows an unknown beginning is then of no use.
    pub(super) fn drop_groundless_log(&mut self) {
        if self.memory_lost && self.log.base().index > Index(0) && self.log.base().term == Term(0) {
            self.log = Log::default();
            self.commit = Index(0);
            self.needed = Needed::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_whose_beginning_was_lost_is_dropped_only_if_memory_was() {
        let entry =
            Entry { term: Term(2), origin: None, payload: Default::default(), membership: None };
        let record = Record::Appended { after: Index(7), entries: vec![entry], commit: Index(8) };
        let mut durable = Durable { boot: 3, ..Durable::default() };
        durable.fold(9, record);
        durable.drop_groundless_log();
        assert_eq!(
            durable.log.last_index(),
            Index(8),
            "that is a bug of ours, and is seen at the start"
        );
        durable.memory_lost = true;
        durable.drop_groundless_log();
        let nothing = Durable { boot: 3, memory_lost: true, ..Durable::default() };
        assert_eq!(durable, nothing);
    }

    #[test]
    fn a_loss_that_was_taken_note_of_stays_so_once_the_log_is_compacted() {
        let mut durable = Durable { memory_lost: true, ..Durable::default() };
        durable.fold(9, Record::Booted { boot: 1, born: 0 });
        assert!(durable.memory_lost, "nobody has taken note");
        // The record of the new life is released; this one repeats it.
        let compacted = Record::Compacted {
            snapshot: Snapshot::default(),
            keeps_tail: false,
            life: 7,
            born: 3,
            boot: 3,
            met: BTreeMap::new(),
            term: Term(1),
            vote: None,
            commit: Index(0),
        };
        durable.fold(10, compacted);
        assert_eq!((durable.memory_lost, durable.life), (false, 7));
    }
}
