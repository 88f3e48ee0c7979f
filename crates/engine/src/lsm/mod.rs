//! An engine on a disk: a log-structured merge tree without a log.
//!
//! What is written goes to a memtable in memory. A memtable that is full, or is to be flushed, is sealed, and a thread
//! writes it to a table: a file of sorted changes. Another thread merges tables into larger ones, and drops what is
//! overwritten or deleted. `benches/ENGINES.md` says why this and not another.
//!
//! *Durable whole or not at all.* A memtable is sealed between batches only, and becomes part of the tree by one renaming.
//! So a crash leaves all batches up to some point, whole.
//!
//! *Nobody waits.* The writer and the readers take no lock that is held over a sync: memtables are read without any, and
//! tables never change. A view is a handle on the memtables and tables of its moment; their files stay for as long.
//!
//! *Space.* Tables are levelled, so overwritten values cost about a tenth of a large tree, and no more than the whole of a
//! small one. Deletions are values until they reach the last level; where they have become a quarter of all and nothing
//! else is to be done, everything is rewritten without them.
//!
//! *Damage.* Every block of a table carries a checksum, the list of tables another, the pointer to the tree a third. The
//! library that reads tables panics on some contradictions; that is caught, and is damage.
//!
//! Open first: this file, `background`, `home`.

mod background;
mod fault;
mod home;
mod import;
mod memtable;
mod scan;
mod tables;

use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use lsm_tree::config::CompressionPolicy;
use lsm_tree::{Cache, CompressionType, Config, SequenceNumberCounter};

use crate::{Batch, BatchNumber, Engine, Result, Size, View};
use background::{Background, OpenTree, Retired, Sealed, StopFilter};
use home::Home;
use memtable::Memtable;
use scan::Snapshot;

pub use import::LsmImport;

/// How values are kept in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// With LZ4.
    #[default]
    Lz4,
}

/// What may be chosen about an engine. All of it may change from one opening to the next.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// At what size a memtable is flushed without being asked. Several of them may be in memory at once.
    pub memtable_bytes: u64,
    /// How much memory keeps blocks that were read.
    pub cache_bytes: u64,
    /// How what is written from now on is kept.
    pub compression: Compression,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            memtable_bytes: 64 << 20,
            cache_bytes: 128 << 20,
            compression: Compression::default(),
        }
    }
}

/// An engine on a disk (see the [module](self)). Dropped, it behaves as if it had crashed; [`LsmEngine::close`] flushes
/// first.
pub struct LsmEngine {
    dir: PathBuf,
    options: EngineOptions,
    cache: Arc<Cache>,
    /// The map as it is now. The first memtable is the one written to.
    now: Snapshot,
    /// The last batch of each sealed memtable, in the order of the snapshot.
    sealed_upto: Vec<BatchNumber>,
    written: BatchNumber,
    durable: BatchNumber,
    background: Background,
    /// Of trees whose place was taken, until their threads have ended.
    leaving: Vec<Background>,
}

impl LsmEngine {
    /// Opens the engine in a directory, which is made if it is missing.
    pub fn open(dir: impl AsRef<Path>, options: EngineOptions) -> Result<Self> {
        let dir = dir.as_ref().to_path_buf();
        let cache = Arc::new(Cache::with_capacity_bytes(options.cache_bytes));
        let (home, is_new) = home::open(&dir)?;
        let tree = open_tree(home, &options, &cache)?;
        if is_new {
            home::point_to(&dir, &tree.home)?;
        }
        let (background, tables) = Background::start(tree, BatchNumber(0))?;
        let now = Snapshot { memtables: vec![Arc::default()], tables };
        Ok(LsmEngine {
            dir,
            options,
            cache,
            now,
            sealed_upto: Vec::new(),
            written: BatchNumber(0),
            durable: BatchNumber(0),
            background,
            leaving: Vec::new(),
        })
    }

    /// Flushes, and waits until all is durable.
    pub fn close(mut self) -> Result<()> {
        self.flush();
        while self.poll()? < self.written {
            self.background.wait(self.written);
        }
        Ok(())
    }

    /// Picks up what was done behind.
    fn pick_up(&mut self) -> Result<()> {
        let progress = self.background.progress();
        self.durable = self.durable.max(progress.durable);
        // Of the sealed memtables the oldest is last.
        let flushed = self.sealed_upto.iter().rev().take_while(|upto| **upto <= progress.durable);
        let kept = self.sealed_upto.len() - flushed.count();
        self.sealed_upto.truncate(kept);
        if !Arc::ptr_eq(&self.now.tables, &progress.tables) {
            let memtables = self.now.memtables.split_off(kept + 1);
            let tables = std::mem::replace(&mut self.now.tables, progress.tables);
            self.background.retire(Retired { memtables, tables: vec![tables] });
        }
        self.leaving.retain(|background| !background.has_stopped());
        progress.error.map_or(Ok(()), Err)
    }

    fn active(&self) -> &Memtable {
        &self.now.memtables[0]
    }
}

impl View for LsmEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.now.get(key)
    }

    fn scan(
        &self,
        range: impl RangeBounds<Bytes>,
    ) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes)>> {
        self.now.scan((range.start_bound().cloned(), range.end_bound().cloned()))
    }
}

impl Engine for LsmEngine {
    type View = LsmView;
    type Import = LsmImport;

    fn write(&mut self, batch: &mut Batch) -> BatchNumber {
        let active = Arc::make_mut(&mut self.now.memtables[0]);
        for (key, value) in batch.drain() {
            active.insert(key, value);
        }
        self.written.0 += 1;
        self.written
    }

    fn view(&self) -> LsmView {
        LsmView { snapshot: Arc::new(self.now.clone()) }
    }

    fn flush(&mut self) {
        let sealed = self.sealed_upto.first().copied().unwrap_or(self.durable);
        if sealed == self.written {
            return;
        }
        let upto = self.written;
        self.background.flush(Sealed { memtable: self.now.memtables[0].clone(), upto });
        self.sealed_upto.insert(0, upto);
        self.now.memtables.insert(0, Arc::default());
    }

    fn poll(&mut self) -> Result<BatchNumber> {
        if self.active().footprint() >= self.options.memtable_bytes {
            self.flush();
        }
        self.pick_up()?;
        Ok(self.durable)
    }

    fn size(&self) -> Size {
        Size {
            disk_bytes: self.now.tables.disk_bytes(),
            unflushed_bytes: self.now.memtables.iter().map(|memtable| memtable.bytes()).sum(),
        }
    }

    fn import(&mut self) -> Result<LsmImport> {
        let home = home::beside(&self.dir, self.background.home())?;
        Ok(LsmImport::new(open_tree(home, &self.options, &self.cache)?))
    }

    fn adopt(&mut self, import: LsmImport) -> Result<()> {
        let tree = import.finish()?;
        let home = tree.home.clone();
        let adopted = BatchNumber(self.written.0 + 1);
        let (background, tables) = Background::start(tree, adopted)?;
        home.give_up(false);
        if let Err(error) = home::point_to(&self.dir, &home) {
            // Where it is not known which of the two a crash would leave, both stay.
            home.give_up(!home::is_pointed_to(&self.dir, &home));
            return Err(error);
        }
        let old = std::mem::replace(&mut self.background, background);
        let new = Snapshot { memtables: vec![Arc::default()], tables };
        let now = std::mem::replace(&mut self.now, new);
        old.home().give_up(true);
        old.retire(Retired { memtables: now.memtables, tables: vec![now.tables] });
        old.stop();
        self.leaving.push(old);
        self.sealed_upto.clear();
        self.written = adopted;
        self.durable = adopted;
        Ok(())
    }
}

/// An [`LsmEngine`] as it was.
#[derive(Clone)]
pub struct LsmView {
    snapshot: Arc<Snapshot>,
}

impl View for LsmView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.snapshot.get(key)
    }

    fn scan(
        &self,
        range: impl RangeBounds<Bytes>,
    ) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes)>> {
        self.snapshot.scan((range.start_bound().cloned(), range.end_bound().cloned()))
    }
}

/// Opens the tree in a directory, or makes it.
fn open_tree(home: Arc<Home>, options: &EngineOptions, cache: &Arc<Cache>) -> Result<OpenTree> {
    let stop = Arc::new(AtomicBool::new(false));
    let compression = match options.compression {
        Compression::None => CompressionType::None,
        Compression::Lz4 => CompressionType::Lz4,
    };
    let tree = fault::guarded("open", home.path(), || {
        // The numbers that the library counts are for trees that keep old versions; ours does not.
        let unused = SequenceNumberCounter::default;
        Config::new(home.path(), unused(), unused())
            .use_cache(cache.clone())
            .data_block_compression_policy(CompressionPolicy::all(compression))
            .with_compaction_filter_factory(Some(Arc::new(StopFilter { stop: stop.clone() })))
            .open()
    })?;
    Ok(OpenTree { tree, home, stop })
}
