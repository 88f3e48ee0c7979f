//! The files as they are at one moment, for reading.
//!
//! A tree changes its tables under a lock that it holds while it syncs. Nobody who reads or writes may wait for that, so
//! reading goes past the tree: to its tables, which never change, and whose files stay for as long as somebody holds
//! them. This is the one place that knows how the library lays out a tree; it is why its version is pinned.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use lsm_tree::table::filter::standard_bloom;
use lsm_tree::{AbstractTree, InternalValue, Slice, Table, TableId};

use super::background::OpenTree;
use super::fault;
use super::home::Home;
use super::memtable::Change;
use crate::Result;

/// The tables of a tree: runs of tables that do not overlap, newest run first.
pub(super) struct Tables {
    runs: Vec<Vec<Table>>,
    newest_runs: usize,
    newest_bytes: u64,
    disk_bytes: u64,
    entries: u64,
    tombstones: u64,
    version: u64,
    /// Keeps the directory.
    _home: Arc<Home>,
}

impl Tables {
    /// The tables that the tree has now.
    pub(super) fn of(tree: &OpenTree) -> Self {
        let version = tree.tree.current_version();
        let runs: Vec<Vec<Table>> =
            version.iter_levels().flat_map(|level| level.iter()).map(|run| run.to_vec()).collect();
        let all = || runs.iter().flatten();
        Tables {
            newest_runs: version.l0().run_count(),
            newest_bytes: version.l0().size(),
            disk_bytes: all().map(|table| table.metadata.file_size).sum(),
            entries: all().map(|table| table.metadata.item_count).sum(),
            tombstones: all().map(Table::tombstone_count).sum(),
            version: version.id(),
            _home: tree.home.clone(),
            runs,
        }
    }

    /// How often the tree has changed.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// What the files occupy.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.disk_bytes
    }

    /// Whether rewriting everything is worth the space, when nothing else is to be done: where a quarter of the entries
    /// are deletions, or more is in the newest runs than below them. Either way a byte pays for few others.
    pub(super) fn is_worth_rewriting(&self) -> bool {
        let is_mostly_gone = self.tombstones > 0 && self.tombstones * 4 >= self.entries;
        let is_mostly_new = self.newest_runs >= 2 && self.newest_bytes * 2 > self.disk_bytes;
        is_mostly_gone || is_mostly_new
    }

    /// The ids of the tables.
    pub(super) fn ids(&self) -> impl Iterator<Item = TableId> + '_ {
        self.runs.iter().flatten().map(|table| table.id())
    }

    /// The newest change to a key, if there is one.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Option<Bytes>>> {
        let hash = standard_bloom::Builder::get_hash(key);
        for run in &self.runs {
            let place =
                run.partition_point(|table| *table.metadata.key_range.max().as_ref() < *key);
            let Some(table) = run.get(place) else { continue };
            if *table.metadata.key_range.min().as_ref() > *key {
                continue;
            }
            let found = fault::guarded("read", &table.path, || table.get(key, u64::MAX, hash))?;
            if let Some(found) = found {
                return Ok(Some(change(found).1));
            }
        }
        Ok(None)
    }

    /// For each run the changes in a range, keys rising or falling.
    pub(super) fn sources<'a>(
        &'a self,
        range: &(Bound<Bytes>, Bound<Bytes>),
        is_rising: bool,
    ) -> impl Iterator<Item = Box<dyn Iterator<Item = Result<Change>> + 'a>> {
        let bounds = (range.0.clone().map(Slice::from), range.1.clone().map(Slice::from));
        self.runs.iter().map(move |run| {
            let first = run.partition_point(|table| is_before(table, &bounds.0));
            let end = run.partition_point(|table| !is_after(table, &bounds.1));
            let tables = run.get(first..end).unwrap_or_default().iter();
            let bounds = bounds.clone();
            // One table after the other, each opened when its turn comes.
            let source: Box<dyn Iterator<Item = Result<Change>> + 'a> = if is_rising {
                Box::new(tables.flat_map(move |table| {
                    let mut pairs = table.range(bounds.clone());
                    checked(table, move || pairs.next())
                }))
            } else {
                Box::new(tables.rev().flat_map(move |table| {
                    let mut pairs = table.range(bounds.clone());
                    checked(table, move || pairs.next_back())
                }))
            };
            source
        })
    }
}

/// Whether all keys of a table lie before a range that starts so.
fn is_before(table: &Table, start: &Bound<Slice>) -> bool {
    let last = table.metadata.key_range.max();
    match start {
        Bound::Included(key) => last < key,
        Bound::Excluded(key) => last <= key,
        Bound::Unbounded => false,
    }
}

/// Whether all keys of a table lie after a range that ends so.
fn is_after(table: &Table, end: &Bound<Slice>) -> bool {
    let first = table.metadata.key_range.min();
    match end {
        Bound::Included(key) => first > key,
        Bound::Excluded(key) => first >= key,
        Bound::Unbounded => false,
    }
}

/// What a table yields, up to the first error.
fn checked(
    table: &Table,
    mut next: impl FnMut() -> Option<lsm_tree::Result<InternalValue>>,
) -> impl Iterator<Item = Result<Change>> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let item = fault::guarded("read", &table.path, || next().transpose());
        is_over = item.is_err();
        item.map(|found| found.map(change)).transpose()
    })
}

fn change(found: InternalValue) -> Change {
    let is_gone = found.key.is_tombstone();
    (found.key.user_key.into(), (!is_gone).then(|| found.value.into()))
}
