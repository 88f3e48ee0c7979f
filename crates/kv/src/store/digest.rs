//! One number for all that a store can answer, so that replicas can be compared.

use bytes::Bytes;
use quorate_engine::{Engine, EngineError, View};

use super::Store;
use super::layout::{all_keys, history_bounds, history_prefix, split_history};
use super::map::Map;
use super::version::Version;
use crate::error::Error;
use crate::request::Revision;

impl<E: Engine> Store<E> {
    /// A hash of everything that can still be read, at every revision. Stores that were given the same commands have
    /// the same digest on every machine, however much garbage each has collected. It is no defence against someone who
    /// looks for two stores with one digest. It takes time in proportion to the store.
    ///
    /// # Errors
    /// What the engine could not read.
    pub fn digest(&self) -> Result<u64, EngineError> {
        digest(self.map(), self.meta.compacted, self.meta.revision)
    }

    /// Prepares a digest, to be computed elsewhere, of what can be read up to a revision; all, if none is given. What was
    /// applied and not committed is committed. Stores that have come further have the same, unless they were compacted.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision`, as etcd.
    pub fn prepare_digest(
        &mut self,
        upto: Option<Revision>,
    ) -> Result<PreparedDigest<E::View>, Error> {
        let (now, compacted) = (self.meta.revision, self.meta.compacted);
        let upto = upto.unwrap_or(now);
        if upto < compacted {
            return Err(Error::Compacted);
        }
        if upto > now {
            return Err(Error::FutureRevision);
        }
        self.commit();
        Ok(PreparedDigest { view: self.engine.view(), compacted, upto })
    }
}

/// A digest that is ready to be computed.
#[derive(Clone, Debug)]
pub struct PreparedDigest<V> {
    view: V,
    /// The oldest revision that is looked at.
    pub compacted: Revision,
    /// The newest.
    pub upto: Revision,
}

impl<V: View> PreparedDigest<V> {
    /// Computes it, as [`Store::digest`].
    ///
    /// # Errors
    /// What the engine could not read.
    pub fn compute(&self) -> Result<u64, EngineError> {
        digest(Map::new(&self.view), self.compacted, self.upto)
    }
}

fn digest<V: View>(
    map: Map<'_, V>,
    compacted: Revision,
    upto: Revision,
) -> Result<u64, EngineError> {
    let mut digest = Digest::new();
    digest.add(upto.0);
    digest.add(compacted.0);
    let older = history_bounds(&all_keys()).map(|bounds| map.scan(bounds));
    let mut older = older.into_iter().flatten().peekable();
    let mut key = KeyDigest::new(compacted, upto);
    let mut prefix = Vec::new();
    for found in map.visible_now(&all_keys()) {
        let (name, record) = found?;
        history_prefix(&name, &mut prefix);
        // Keys that are there no more come before this one; its own older versions come after its newest.
        while let Some((raw, record)) =
            older.next_if(|pair| is_under(pair, |of| of < &prefix[..])).transpose()?
        {
            key.add(split_history(&raw)?.0, &record, &mut digest)?;
        }
        key.add(&prefix, &record, &mut digest)?;
        while let Some((raw, record)) =
            older.next_if(|pair| is_under(pair, |of| of == &prefix[..])).transpose()?
        {
            key.add(split_history(&raw)?.0, &record, &mut digest)?;
        }
    }
    for found in older {
        let (raw, record) = found?;
        key.add(split_history(&raw)?.0, &record, &mut digest)?;
    }
    Ok(digest.finish())
}

/// Whether the prefix of a pair of the history is as asked. A pair that could not be read is taken, to be told of.
fn is_under(
    pair: &Result<(Bytes, Bytes), EngineError>,
    is_as_asked: impl FnOnce(&[u8]) -> bool,
) -> bool {
    match pair {
        Ok((raw, _)) => split_history(raw).map_or(true, |(prefix, _)| is_as_asked(prefix)),
        Err(_) => true,
    }
}

/// The part of a digest that is about one key after the other: its versions, newest first.
struct KeyDigest {
    compacted: Revision,
    upto: Revision,
    prefix: Vec<u8>,
    /// Compaction keeps no version that is older than the one before.
    is_over: bool,
}

impl KeyDigest {
    fn new(compacted: Revision, upto: Revision) -> Self {
        KeyDigest { compacted, upto, prefix: Vec::new(), is_over: false }
    }

    fn add(
        &mut self,
        prefix: &[u8],
        record: &Bytes,
        digest: &mut Digest,
    ) -> Result<(), EngineError> {
        if self.prefix != prefix {
            self.prefix.clear();
            self.prefix.extend_from_slice(prefix);
            self.is_over = false;
        }
        if self.is_over {
            return Ok(());
        }
        let version = Version::decode(record.clone())?;
        if version.place.revision > self.upto {
            return Ok(());
        }
        self.is_over = version.place.revision <= self.compacted;
        if self.is_over && !version.is_live() {
            return Ok(());
        }
        digest.add_bytes(prefix);
        digest.add(version.place.revision.0);
        digest.add(version.is_live().into());
        if let Some(value) = &version.value {
            digest.add(version.create_revision.0);
            digest.add(version.version);
            digest.add(version.lease.0);
            digest.add_bytes(value);
        }
        Ok(())
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

    fn add_bytes(&mut self, bytes: &[u8]) {
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
