//! A tree that is being filled beside the one in use.

use bytes::Bytes;
use lsm_tree::{InternalValue, Table, ValueType};

use super::background::{OpenTree, take_up, write_tables};
use crate::{Import, Result};

/// How much is gathered before it is written. It is what an import takes of memory, and the least size of a table.
const CHUNK_BYTES: usize = 16 << 20;

/// The number of all changes of an import: they are the first of their tree.
const NUMBER: u64 = 1;

/// A map that is to take the place of an [`LsmEngine`](super::LsmEngine)'s. Dropped, it takes its files with it.
pub struct LsmImport {
    tree: OpenTree,
    tables: Vec<Table>,
    chunk: Vec<(Bytes, Bytes)>,
    chunk_bytes: usize,
    last: Option<Bytes>,
}

impl LsmImport {
    pub(super) fn new(tree: OpenTree) -> Self {
        LsmImport { tree, tables: Vec::new(), chunk: Vec::new(), chunk_bytes: 0, last: None }
    }

    /// Makes all that was added durable, and part of the tree.
    pub(super) fn finish(mut self) -> Result<OpenTree> {
        self.write_chunk()?;
        if !self.tables.is_empty() {
            take_up(&self.tree, &self.tables)?;
        }
        Ok(self.tree)
    }

    fn write_chunk(&mut self) -> Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let pairs = self.chunk.iter().map(|(key, value)| {
            Ok(InternalValue::from_components(key.clone(), value.clone(), NUMBER, ValueType::Value))
        });
        let tables = write_tables(&self.tree, pairs)?;
        self.tables.extend(tables);
        self.chunk.clear();
        self.chunk_bytes = 0;
        Ok(())
    }
}

impl Import for LsmImport {
    fn add(&mut self, key: Bytes, value: Bytes) -> Result<()> {
        crate::assert_key(&key);
        assert!(self.last.as_ref().is_none_or(|last| *last < key), "imported keys must rise");
        self.last = Some(key.clone());
        self.chunk_bytes += key.len() + value.len();
        self.chunk.push((key, value));
        if self.chunk_bytes >= CHUNK_BYTES { self.write_chunk() } else { Ok(()) }
    }
}
