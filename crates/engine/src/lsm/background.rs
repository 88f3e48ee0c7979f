//! The two threads of a tree: one writes memtables to files, the other merges files.
//!
//! Neither holds a lock while it works that a reader or the writer waits for. What they have done becomes visible as a
//! new set of tables, which the engine picks up when it is polled.

use std::collections::{HashSet, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use lsm_tree::compaction::filter::{CompactionFilter, Context, Factory, ItemAccessor, Verdict};
use lsm_tree::compaction::{CompactionStrategy, Leveled};
use lsm_tree::{AbstractTree, AnyTree, InternalValue, SeqNo, Table, ValueType};

use super::fault;
use super::home::{self, Home};
use super::memtable::Memtable;
use super::scan::Merge;
use super::tables::Tables;
use crate::{BatchNumber, EngineError, Result};

/// How large a table becomes before the next is begun.
pub(super) const TABLE_BYTES: u64 = 64 << 20;

/// How long after an error nothing is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// Old versions are for nobody: a view holds the memtables and tables that it reads.
const KEEP_NO_OLD_VERSIONS: SeqNo = SeqNo::MAX;

/// A tree, where it is, and what ends its merges.
pub(super) struct OpenTree {
    pub(super) tree: AnyTree,
    pub(super) home: Arc<Home>,
    pub(super) stop: Arc<AtomicBool>,
}

/// A memtable that is written to no more, and the last batch in it.
#[derive(Clone)]
pub(super) struct Sealed {
    pub(super) memtable: Arc<Memtable>,
    pub(super) upto: BatchNumber,
}

/// What the engine learns when it is polled.
pub(super) struct Progress {
    pub(super) tables: Arc<Tables>,
    pub(super) durable: BatchNumber,
    pub(super) error: Option<EngineError>,
}

/// The threads, and what they share with the engine.
pub(super) struct Background {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    tree: OpenTree,
    state: Mutex<State>,
    /// Something is to be done, or was done.
    changed: Condvar,
    /// Both threads read it while they work, so that who writes it knows that nobody does.
    working: RwLock<()>,
}

/// What the engine reads no more. It takes a while to free a memtable, or to remove the files of tables, so the thread that
/// flushes does it, and not the one that writes.
#[derive(Default)]
pub(super) struct Retired {
    pub(super) memtables: Vec<Arc<Memtable>>,
    pub(super) tables: Vec<Arc<Tables>>,
}

struct State {
    /// Oldest first.
    sealed: VecDeque<Sealed>,
    tables: Arc<Tables>,
    durable: BatchNumber,
    has_new_tables: bool,
    flush_error: Option<EngineError>,
    merge_error: Option<EngineError>,
    /// All tables that ever were part of the tree since it was opened.
    known: HashSet<u64>,
    retired: Retired,
}

impl Background {
    /// Starts the threads for a tree.
    pub(super) fn start(tree: OpenTree, durable: BatchNumber) -> Result<(Self, Arc<Tables>)> {
        let tables = Arc::new(Tables::of(&tree));
        let state = State {
            sealed: VecDeque::new(),
            known: tables.ids().collect(),
            tables: tables.clone(),
            durable,
            has_new_tables: true,
            flush_error: None,
            merge_error: None,
            retired: Retired::default(),
        };
        let shared = Arc::new(Shared {
            tree,
            state: Mutex::new(state),
            changed: Condvar::new(),
            working: RwLock::new(()),
        });
        let mut background = Background { shared, threads: Vec::new() };
        background.spawn("engine-flush", Shared::flush_until_stopped)?;
        background.spawn("engine-merge", Shared::merge_until_stopped)?;
        Ok((background, tables))
    }

    fn spawn(&mut self, name: &str, work: fn(&Shared)) -> Result<()> {
        let shared = self.shared.clone();
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || work(&shared))
            .map_err(|error| fault::of_system(&error, "start a thread for", self.home().path()))?;
        self.threads.push(thread);
        Ok(())
    }

    pub(super) fn home(&self) -> &Home {
        &self.shared.tree.home
    }

    /// Hands over a memtable to be made durable.
    pub(super) fn flush(&self, sealed: Sealed) {
        self.shared.state().sealed.push_back(sealed);
        self.shared.changed.notify_all();
    }

    /// What was done. What failed is tried again from here on.
    pub(super) fn progress(&self) -> Progress {
        let mut state = self.shared.state();
        let error = state.flush_error.take().or_else(|| state.merge_error.take());
        if error.is_some() {
            self.shared.changed.notify_all();
        }
        Progress { tables: state.tables.clone(), durable: state.durable, error }
    }

    /// Frees what is read no more, elsewhere.
    pub(super) fn retire(&self, retired: Retired) {
        let mut state = self.shared.state();
        state.retired.memtables.extend(retired.memtables);
        state.retired.tables.extend(retired.tables);
        self.shared.changed.notify_all();
    }

    /// Waits until a batch is durable, or something went wrong.
    pub(super) fn wait(&self, upto: BatchNumber) {
        let state = self.shared.state();
        let is_waiting = |state: &mut State| {
            state.durable < upto && state.flush_error.is_none() && state.merge_error.is_none()
        };
        drop(self.shared.changed.wait_while(state, is_waiting));
    }

    /// Asks the threads to stop.
    pub(super) fn stop(&self) {
        let state = self.shared.state();
        self.shared.tree.stop.store(true, Ordering::Release);
        drop(state);
        self.shared.changed.notify_all();
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            // A panic of a thread was reported by itself, and there is nothing left to save.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock and has changed half of the state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.tree.stop.load(Ordering::Acquire)
    }

    /// Waits until there is something to do; false if all is over.
    fn wait_for(&self, has_work: impl Fn(&State) -> bool) -> bool {
        let state = self.state();
        drop(
            self.changed
                .wait_while(state, |state| !self.is_stopped() && !has_work(state))
                .unwrap_or_else(PoisonError::into_inner),
        );
        !self.is_stopped()
    }

    fn flush_until_stopped(&self) {
        let has_work = |state: &State| {
            !state.retired.memtables.is_empty()
                || !state.retired.tables.is_empty()
                || !state.sealed.is_empty() && state.flush_error.is_none()
        };
        while self.wait_for(has_work) {
            let retired = std::mem::take(&mut self.state().retired);
            drop(retired);
            let sealed: Vec<Sealed> = {
                let state = self.state();
                let may_try = state.flush_error.is_none();
                state.sealed.iter().filter(|_| may_try).cloned().collect()
            };
            let Some(last) = sealed.last() else { continue };
            let upto = last.upto;
            match self.working(|| self.write_tables(&sealed)) {
                Ok(()) => {
                    let mut state = self.publish();
                    state.sealed.drain(..sealed.len());
                    state.durable = upto;
                    drop(state);
                }
                Err(error) => {
                    self.remove_strays();
                    let mut state = self.state();
                    state.flush_error = Some(error);
                    self.changed.notify_all();
                    self.pause(state);
                }
            }
            self.changed.notify_all();
        }
        // It takes a while to free them, so it is done here.
        let (sealed, retired) = {
            let mut state = self.state();
            (std::mem::take(&mut state.sealed), std::mem::take(&mut state.retired))
        };
        drop((sealed, retired));
    }

    /// Writes memtables to one run of tables, which the tree takes up at once and durably.
    fn write_tables(&self, sealed: &[Sealed]) -> Result<()> {
        let everything = (Bound::Unbounded, Bound::Unbounded);
        let sources = sealed.iter().rev().map(|sealed| -> Box<dyn Iterator<Item = _>> {
            Box::new(sealed.memtable.ascending(&everything).map(Ok))
        });
        let number = highest_number(&self.tree.tree) + 1;
        let changes = Merge::new(sources, true).map(|change: Result<_>| {
            if self.is_stopped() {
                return Err(stopped());
            }
            let (key, value) = change.map_err(|_| stopped())?;
            Ok(match value {
                Some(value) => InternalValue::from_components(key, value, number, ValueType::Value),
                None => InternalValue::new_tombstone(key, number),
            })
        });
        let tables = write_tables(&self.tree, changes)?;
        // There are none if all batches were empty.
        if tables.is_empty() { Ok(()) } else { take_up(&self.tree, &tables) }
    }

    fn merge_until_stopped(&self) {
        let strategy: Arc<dyn CompactionStrategy + Send + Sync> =
            Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES));
        let has_work = |state: &State| state.has_new_tables && state.merge_error.is_none();
        while self.wait_for(has_work) {
            self.state().has_new_tables = false;
            if let Err(error) = self.merge(&strategy)
                && !self.is_stopped()
            {
                self.remove_strays();
                let mut state = self.state();
                state.has_new_tables = true;
                state.merge_error = Some(error);
                self.changed.notify_all();
                self.pause(state);
            }
        }
    }

    /// Merges until there is no reason to go on.
    fn merge(&self, strategy: &Arc<dyn CompactionStrategy + Send + Sync>) -> Result<()> {
        let path = self.tree.home.path();
        while !self.is_stopped() {
            let before = self.tree.tree.current_version().id();
            self.working(|| {
                fault::guarded("merge tables of", path, || {
                    self.tree.tree.compact(strategy.clone(), KEEP_NO_OLD_VERSIONS)
                })
            })?;
            let tables = self.publish().tables.clone();
            if tables.version() != before {
                continue;
            }
            // Nothing presses. But deletions, and what overwrites, sink to the level of what they are about only as more is
            // written above them, which may be never.
            if !tables.is_worth_rewriting() {
                break;
            }
            self.working(|| {
                fault::guarded("rewrite", path, || {
                    self.tree.tree.major_compact(TABLE_BYTES, KEEP_NO_OLD_VERSIONS)
                })
            })?;
            drop(self.publish());
        }
        Ok(())
    }

    /// Lets some time pass after an error, so that trying again does not become all that the disk does.
    fn pause(&self, state: MutexGuard<'_, State>) {
        drop(self.changed.wait_timeout_while(state, PAUSE, |_| !self.is_stopped()));
    }

    fn working<T>(&self, work: impl FnOnce() -> T) -> T {
        let _working = self.working.read().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    /// Makes the tables that the tree has now visible. The state is returned for what goes with them.
    fn publish(&self) -> MutexGuard<'_, State> {
        // The lock of the tree is taken before ours, and waiting for it blocks nobody.
        loop {
            let tables = Arc::new(Tables::of(&self.tree));
            let mut state = self.state();
            // The other thread may have been faster with something newer.
            if tables.version() >= state.tables.version() {
                state.has_new_tables |= tables.version() != state.tables.version();
                state.known.extend(tables.ids());
                let old = std::mem::replace(&mut state.tables, tables);
                state.retired.tables.push(old);
                self.changed.notify_all();
                return state;
            }
        }
    }

    /// Removes what a failed attempt has left, so that trying again on a full disk does not make it worse.
    fn remove_strays(&self) {
        let _alone = self.working.write().unwrap_or_else(PoisonError::into_inner);
        let tables = Tables::of(&self.tree);
        let state = self.state();
        let current: HashSet<u64> = tables.ids().collect();
        home::remove_strays(&self.tree.home, tables.version(), |id| {
            state.known.contains(&id) || current.contains(&id)
        });
    }
}

/// Writes changes whose keys rise to tables, durably, that are part of no tree yet.
pub(super) fn write_tables(
    tree: &OpenTree,
    changes: impl Iterator<Item = lsm_tree::Result<InternalValue>>,
) -> Result<Vec<Table>> {
    let path = tree.home.path();
    let written = fault::guarded("write tables of", path, || tree.tree.flush_to_tables(changes))?;
    Ok(written.map(|(tables, _)| tables).unwrap_or_default())
}

/// Makes tables part of a tree, durably and all at once.
pub(super) fn take_up(tree: &OpenTree, tables: &[Table]) -> Result<()> {
    fault::guarded("write the list of tables of", tree.home.path(), || {
        tree.tree.register_tables(tables, None, None, &[], KEEP_NO_OLD_VERSIONS)
    })
}

/// The highest number that a change in the tables has.
fn highest_number(tree: &AnyTree) -> SeqNo {
    tree.get_highest_persisted_seqno().unwrap_or(0)
}

fn stopped() -> lsm_tree::Error {
    lsm_tree::Error::Io(io::Error::new(io::ErrorKind::Interrupted, "the engine is closing"))
}

/// Ends merges when the engine is closed: it looks at each entry, and keeps all of them.
pub(super) struct StopFilter {
    pub(super) stop: Arc<AtomicBool>,
}

impl Factory for StopFilter {
    fn name(&self) -> &str {
        "stop"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(StopFilter { stop: self.stop.clone() })
    }
}

impl CompactionFilter for StopFilter {
    fn filter_item(&mut self, _: ItemAccessor<'_>, _: &Context) -> lsm_tree::Result<Verdict> {
        if self.stop.load(Ordering::Relaxed) { Err(stopped()) } else { Ok(Verdict::Keep) }
    }
}
