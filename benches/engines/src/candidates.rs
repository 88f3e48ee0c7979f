//! The candidates, behind the little that the load asks of them.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fjall::KeyspaceCreateOptions;
use quorate_engine::lsm::Compression;
use quorate_engine::{Batch, Engine, EngineOptions, LsmEngine, View};
use redb::{Durability, ReadableDatabase, TableDefinition};

/// Changes of one batch: a key, and its new value or none.
pub(crate) type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

const CACHE_BYTES: usize = 128 << 20;
/// After how many bytes the candidates that do not flush by themselves are flushed.
const FLUSH_BYTES: usize = 64 << 20;

/// What the load asks for.
pub(crate) trait Candidate {
    fn get(&self, key: &[u8]) -> Option<Bytes>;
    fn write(&mut self, changes: Changes);
    /// Visits so many pairs from a key on, and returns their bytes.
    fn scan(&self, from: &[u8], pairs: usize) -> usize;
    /// Makes all durable.
    fn flush(&mut self);
    /// Takes note of what was done behind.
    fn poll(&mut self) {}
    /// Waits until nothing goes on behind.
    fn settle(&mut self, dir: &Path) {
        let mut before = crate::disk_bytes(dir);
        loop {
            std::thread::sleep(Duration::from_secs(2));
            self.poll();
            let now = crate::disk_bytes(dir);
            if now == before {
                return;
            }
            before = now;
        }
    }
}

/// Opens a candidate by name.
pub(crate) fn open(name: &str, dir: &Path) -> Option<Box<dyn Candidate>> {
    match name {
        "quorate" => Some(Box::new(Quorate::open(dir, Compression::Lz4))),
        "quorate-plain" => Some(Box::new(Quorate::open(dir, Compression::None))),
        "fjall" => Some(Box::new(Fjall::open(dir))),
        "redb" => Some(Box::new(Redb::open(dir))),
        _ => None,
    }
}

struct Quorate {
    engine: LsmEngine,
    waited: Duration,
}

impl Drop for Quorate {
    fn drop(&mut self) {
        println!("waited {:.2} s since it was behind", self.waited.as_secs_f64());
    }
}

impl Quorate {
    fn open(dir: &Path, compression: Compression) -> Self {
        let options = EngineOptions { compression, ..EngineOptions::default() };
        let engine = LsmEngine::open(dir, options).expect("the engine opens");
        Quorate { engine, waited: Duration::ZERO }
    }
}

impl Candidate for Quorate {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.engine.get(key).expect("the disk is well")
    }

    fn write(&mut self, changes: Changes) {
        let mut batch = Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        self.engine.write(&mut batch);
        self.engine.poll().expect("the disk is well");
        // As the others do by themselves.
        while self.engine.is_behind() {
            std::thread::sleep(Duration::from_millis(1));
            self.waited += Duration::from_millis(1);
            self.engine.poll().expect("the disk is well");
        }
    }

    fn poll(&mut self) {
        self.engine.poll().expect("the disk is well");
    }

    fn scan(&self, from: &[u8], pairs: usize) -> usize {
        let scan = self.engine.scan(Bytes::copy_from_slice(from)..);
        scan.take(pairs).map(|pair| pair.expect("the disk is well").1.len()).sum()
    }

    fn flush(&mut self) {
        let written = self.engine.write(&mut Batch::default());
        self.engine.flush();
        while self.engine.poll().expect("the disk is well") < written {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

struct Fjall {
    database: fjall::Database,
    pairs: fjall::Keyspace,
}

impl Fjall {
    fn open(dir: &Path) -> Self {
        let database = fjall::Database::builder(dir)
            .cache_size(CACHE_BYTES as u64)
            .manual_journal_persist(true)
            .worker_threads(2)
            .open()
            .expect("the database opens");
        let pairs =
            database.keyspace("pairs", KeyspaceCreateOptions::default).expect("the keyspace opens");
        Fjall { database, pairs }
    }
}

impl Candidate for Fjall {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.pairs.get(key).expect("the disk is well").map(Bytes::from)
    }

    fn write(&mut self, changes: Changes) {
        let mut batch = self.database.batch();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&self.pairs, key, value),
                None => batch.remove(&self.pairs, key),
            }
        }
        batch.commit().expect("the disk is well");
    }

    fn scan(&self, from: &[u8], pairs: usize) -> usize {
        let scan = self.pairs.range(from..).take(pairs);
        scan.map(|pair| pair.into_inner().expect("the disk is well").1.len()).sum()
    }

    fn flush(&mut self) {
        self.database.persist(fjall::PersistMode::SyncAll).expect("the disk is well");
    }
}

const PAIRS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("pairs");

struct Redb {
    database: redb::Database,
    unflushed_bytes: usize,
}

impl Redb {
    fn open(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).expect("a directory");
        let database = redb::Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(dir.join("pairs.redb"))
            .expect("the database opens");
        let mut opened = Redb { database, unflushed_bytes: 0 };
        opened.commit(Vec::new(), Durability::Immediate);
        opened
    }

    fn commit(&mut self, changes: Changes, durability: Durability) {
        let mut transaction = self.database.begin_write().expect("the disk is well");
        transaction.set_durability(durability).expect("nothing forbids it");
        {
            let mut pairs = transaction.open_table(PAIRS).expect("the disk is well");
            for (key, value) in changes {
                self.unflushed_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
                match value {
                    Some(value) => pairs.insert(&*key, &*value).expect("the disk is well"),
                    None => pairs.remove(&*key).expect("the disk is well"),
                };
            }
        }
        transaction.commit().expect("the disk is well");
    }
}

impl Candidate for Redb {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        let pairs = self.database.begin_read().expect("sound").open_table(PAIRS).expect("sound");
        let found = pairs.get(key).expect("the disk is well");
        found.map(|value| Bytes::copy_from_slice(value.value()))
    }

    fn write(&mut self, changes: Changes) {
        self.commit(changes, Durability::None);
        if self.unflushed_bytes > FLUSH_BYTES {
            self.flush();
        }
    }

    fn scan(&self, from: &[u8], pairs: usize) -> usize {
        let table = self.database.begin_read().expect("sound").open_table(PAIRS).expect("sound");
        let scan = table.range(from..).expect("the disk is well").take(pairs);
        scan.map(|pair| pair.expect("the disk is well").1.value().len()).sum()
    }

    fn flush(&mut self) {
        self.unflushed_bytes = 0;
        self.commit(Vec::new(), Durability::Immediate);
    }
}
