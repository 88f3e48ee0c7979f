//! An engine in memory, for simulation and tests: durable is what its [`MemoryDisk`] holds.
//!
//! It keeps the contract and nothing else. A flush that was begun ends with the next [`Engine::poll`]; a crash before
//! that loses it.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::{Batch, BatchNumber, Engine, EngineError, Import, Result, Size, View};

type Map = BTreeMap<Bytes, Bytes>;

/// What survives a crash of a [`MemoryEngine`]. It is a handle: clones are of the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    map: Arc<Map>,
    /// Why nothing can be read from it, if so.
    damage: Option<EngineError>,
    is_full: bool,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        MemoryDisk::default()
    }

    /// A disk with what this one holds now, and a life of its own.
    pub fn copy(&self) -> MemoryDisk {
        MemoryDisk { kept: Arc::new(Mutex::new(self.kept().clone())) }
    }

    /// Puts what `other` holds now in the place of what is here.
    pub fn replace_with(&self, other: &MemoryDisk) {
        let kept = other.kept().clone();
        *self.kept() = kept;
    }

    /// From here on every read finds damage, until an imported map takes the place of this one.
    pub fn rot(&self) {
        self.kept().damage = Some(EngineError::Corrupt {
            what: "the simulated engine".into(),
            why: "its checksum is wrong".into(),
        });
    }

    /// Whether it has rotted, and nothing has taken the place of what was there.
    pub fn is_rotten(&self) -> bool {
        self.kept().damage.is_some()
    }

    /// Says whether there is space for anything more.
    pub fn set_full(&self, is_full: bool) {
        self.kept().is_full = is_full;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An engine in memory. Opened again on the same disk, it holds what was durable.
#[derive(Debug)]
pub struct MemoryEngine {
    disk: MemoryDisk,
    map: Arc<Map>,
    written: BatchNumber,
    durable: BatchNumber,
    unflushed_bytes: u64,
    /// The flush that was begun: what will be durable, and up to which batch.
    flushing: Option<(Arc<Map>, BatchNumber)>,
}

impl MemoryEngine {
    /// Opens the engine on a disk.
    pub fn open(disk: MemoryDisk) -> Self {
        let map = disk.kept().map.clone();
        MemoryEngine {
            disk,
            map,
            written: BatchNumber(0),
            durable: BatchNumber(0),
            unflushed_bytes: 0,
            flushing: None,
        }
    }
}

impl Default for MemoryEngine {
    fn default() -> Self {
        MemoryEngine::open(MemoryDisk::new())
    }
}

impl View for MemoryEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match &self.disk.kept().damage {
            Some(damage) => Err(damage.clone()),
            None => Ok(self.map.get(key).cloned()),
        }
    }

    fn scan(
        &self,
        range: impl RangeBounds<Bytes>,
    ) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes)>> {
        let damage = self.disk.kept().damage.clone();
        let is_whole = damage.is_none();
        damage.map(Err).into_iter().chain(pairs(&self.map, range).filter(move |_| is_whole))
    }
}

impl Engine for MemoryEngine {
    type View = MemoryView;
    type Import = MemoryImport;

    fn write(&mut self, batch: &mut Batch) -> BatchNumber {
        let map = Arc::make_mut(&mut self.map);
        for (key, value) in batch.drain() {
            self.unflushed_bytes += (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64;
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        self.written.0 += 1;
        self.written
    }

    fn view(&self) -> MemoryView {
        MemoryView { map: self.map.clone(), damage: self.disk.kept().damage.clone() }
    }

    fn flush(&mut self) {
        self.flushing = Some((self.map.clone(), self.written));
        self.unflushed_bytes = 0;
    }

    fn poll(&mut self) -> Result<BatchNumber> {
        if self.flushing.is_some() && self.disk.kept().is_full {
            return Err(EngineError::Full { what: "the simulated engine".into() });
        }
        if let Some((map, upto)) = self.flushing.take() {
            self.disk.kept().map = map;
            self.durable = upto;
        }
        Ok(self.durable)
    }

    fn size(&self) -> Size {
        let disk_bytes =
            self.disk.kept().map.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        Size { disk_bytes: disk_bytes as u64, unflushed_bytes: self.unflushed_bytes }
    }

    fn import(&mut self) -> Result<MemoryImport> {
        Ok(MemoryImport { map: Map::new() })
    }

    fn adopt(&mut self, import: MemoryImport) -> Result<()> {
        self.map = Arc::new(import.map);
        self.flushing = None;
        self.unflushed_bytes = 0;
        self.written.0 += 1;
        self.durable = self.written;
        let mut kept = self.disk.kept();
        kept.map = self.map.clone();
        kept.damage = None;
        Ok(())
    }
}

/// A [`MemoryEngine`] as it was.
#[derive(Clone, Debug)]
pub struct MemoryView {
    map: Arc<Map>,
    damage: Option<EngineError>,
}

impl View for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match &self.damage {
            Some(damage) => Err(damage.clone()),
            None => Ok(self.map.get(key).cloned()),
        }
    }

    fn scan(
        &self,
        range: impl RangeBounds<Bytes>,
    ) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes)>> {
        let is_whole = self.damage.is_none();
        let damage = self.damage.clone().map(Err);
        damage.into_iter().chain(pairs(&self.map, range).filter(move |_| is_whole))
    }
}

/// A map that is to take the place of a [`MemoryEngine`]'s.
#[derive(Debug, Default)]
pub struct MemoryImport {
    map: Map,
}

impl Import for MemoryImport {
    fn add(&mut self, key: Bytes, value: Bytes) -> Result<()> {
        crate::assert_key(&key);
        if let Some((last, _)) = self.map.last_key_value() {
            assert!(*last < key, "imported keys must rise");
        }
        self.map.insert(key, value);
        Ok(())
    }
}

/// The pairs of a range; none for a range that is empty by its bounds alone.
fn pairs(
    map: &Map,
    range: impl RangeBounds<Bytes>,
) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes)>> {
    crate::may_hold_a_key(&range)
        .then(|| map.range(range))
        .into_iter()
        .flatten()
        .map(|(key, value)| Ok((key.clone(), value.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(engine: &mut MemoryEngine, key: &'static str, value: &'static str) -> BatchNumber {
        let mut batch = Batch::default();
        batch.put(key, value);
        engine.write(&mut batch)
    }

    fn value(view: &impl View, key: &str) -> Option<Bytes> {
        view.get(key.as_bytes()).expect("nothing is damaged")
    }

    #[test]
    fn a_batch_is_visible_at_once_and_durable_once_a_flush_has_ended() {
        let disk = MemoryDisk::new();
        let mut engine = MemoryEngine::open(disk.clone());
        let first = put(&mut engine, "a", "1");
        assert_eq!(value(&engine, "a"), Some(Bytes::from("1")));
        assert_eq!(engine.poll(), Ok(BatchNumber(0)));
        engine.flush();
        put(&mut engine, "b", "2");
        assert_eq!(value(&MemoryEngine::open(disk.clone()), "a"), None, "the flush has not ended");
        assert_eq!(engine.poll(), Ok(first));
        let opened = MemoryEngine::open(disk);
        assert_eq!(value(&opened, "a"), Some(Bytes::from("1")));
        assert_eq!(value(&opened, "b"), None);
    }

    #[test]
    fn a_view_stays_as_it_was() {
        let mut engine = MemoryEngine::default();
        put(&mut engine, "a", "1");
        let view = engine.view();
        put(&mut engine, "a", "2");
        assert_eq!(value(&view, "a"), Some(Bytes::from("1")));
        assert_eq!(value(&engine, "a"), Some(Bytes::from("2")));
    }

    #[test]
    fn an_import_takes_the_place_of_everything_damage_included() {
        let disk = MemoryDisk::new();
        let mut engine = MemoryEngine::open(disk.clone());
        put(&mut engine, "a", "1");
        disk.rot();
        assert!(engine.get(b"a").is_err());
        assert!(engine.scan(..).next().is_some_and(|pair| pair.is_err()));
        let mut import = engine.import().expect("an import begins");
        import.add("b".into(), "2".into()).expect("a pair is added");
        engine.adopt(import).expect("the import is adopted");
        assert_eq!(value(&MemoryEngine::open(disk), "b"), Some(Bytes::from("2")));
        assert_eq!(value(&engine, "a"), None);
    }

    #[test]
    fn a_full_disk_loses_nothing_and_is_reported_until_there_is_space() {
        let disk = MemoryDisk::new();
        let mut engine = MemoryEngine::open(disk.clone());
        let first = put(&mut engine, "a", "1");
        disk.set_full(true);
        engine.flush();
        assert!(matches!(engine.poll(), Err(EngineError::Full { .. })));
        disk.set_full(false);
        assert_eq!(engine.poll(), Ok(first));
    }
}
