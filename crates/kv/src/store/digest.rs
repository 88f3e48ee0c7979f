//! One number for all that a store can answer, so that replicas can be compared.

use bytes::Bytes;

use super::Store;
use super::history::{History, Version};

impl Store {
    /// A hash of everything that can still be read, at every revision. Stores that were given the same commands have
    /// the same digest on every machine, however much garbage each has freed. It is no defence against someone who
    /// looks for two stores with one digest. It takes time in proportion to the store.
    pub fn digest(&self) -> u64 {
        let mut digest = Digest::new();
        digest.add(self.revision.0);
        digest.add(self.compacted.0);
        for (key, history) in &self.keys {
            let mut readable = self.readable(history).peekable();
            if readable.peek().is_none() {
                continue;
            }
            digest.add_bytes(key);
            for version in readable {
                digest.add(version.mod_revision.0);
                digest.add(version.is_live().into());
                let Some(value) = &version.value else { continue };
                digest.add(version.create_revision.0);
                digest.add(version.version);
                digest.add(version.lease.0);
                digest.add_bytes(value);
            }
            // No version has a revision below 0, so this ends the list of them.
            digest.add(-1);
        }
        digest.finish()
    }

    /// The versions of a key that compaction keeps.
    fn readable<'a>(&self, history: &'a History) -> impl Iterator<Item = &'a Version> {
        let compacted = self.compacted;
        let is_old = move |version: &&Version| version.mod_revision <= compacted;
        let oldest = history.versions().rev().find(is_old).filter(|version| version.is_live());
        oldest.into_iter().chain(history.versions().skip_while(is_old))
    }
}

/// Multiply, rotate and xor, a word at a time.
struct Digest(u64);

impl Digest {
    /// 2⁶⁴ divided by the golden ratio, made odd: its bits have no pattern.
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

    fn new() -> Self {
        Self(Self::MULTIPLIER)
    }

    fn add(&mut self, number: i64) {
        self.add_word(number.cast_unsigned());
    }

    fn add_bytes(&mut self, bytes: &Bytes) {
        // The length goes first, so that no two sequences of strings run into the same words.
        self.add_word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add_word(u64::from_le_bytes(word));
        }
    }

    fn add_word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(Self::MULTIPLIER);
    }

    fn finish(self) -> u64 {
        // The low bits of a product depend on few bits of its factors; the high ones depend on all.
        self.0 ^ (self.0 >> 32)
    }
}
