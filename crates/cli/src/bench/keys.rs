//! Which keys and values are written and read.

use bytes::Bytes;

/// What every key begins with, so that a benchmark's keys can be told from others, and removed.
pub(crate) const PREFIX: u8 = b'_';

/// A key space: the prefix, and an index in decimal, padded with zeros to one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    count: u64,
    key_bytes: usize,
    prefix: u8,
}

impl Keys {
    /// So many keys of this length, if they fit.
    pub(crate) fn new(count: u64, key_bytes: usize) -> Option<Self> {
        let digits = count.checked_sub(1)?.to_string().len();
        (digits < key_bytes).then_some(Keys { count, key_bytes, prefix: PREFIX })
    }

    /// As many keys of the same length, and none of these.
    pub(crate) fn beginning_with(self, prefix: u8) -> Self {
        Keys { prefix, ..self }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The key with this index.
    pub(crate) fn key(&self, mut index: u64) -> Bytes {
        let mut key = vec![b'0'; self.key_bytes];
        key[0] = self.prefix;
        for digit in key[1..].iter_mut().rev() {
            *digit = b'0' + (index % 10) as u8;
            index /= 10;
        }
        key.into()
    }

    /// The first key, and the end of the range of all keys.
    pub(crate) fn range(&self) -> (Bytes, Bytes) {
        (self.key(0), Bytes::from(vec![self.prefix + 1]))
    }
}

/// Random bytes that values are cut from, so that none has to be made or copied for each operation.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    pool: Bytes,
    value_bytes: usize,
}

impl Values {
    pub(crate) fn new(value_bytes: usize) -> Self {
        const DIFFERENT: usize = 1 << 18;
        let mut random = Random::new(0);
        let pool = (0..DIFFERENT + value_bytes).map(|_| random.next() as u8).collect();
        Values { pool, value_bytes }
    }

    /// One of many values.
    pub(crate) fn pick(&self, random: &mut Random) -> Bytes {
        let start = random.below((self.pool.len() - self.value_bytes) as u64) as usize;
        self.pool.slice(start..start + self.value_bytes)
    }
}

/// Numbers that are random enough to choose keys, from a seed: SplitMix64 (Steele, Lea, Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The upper half of the product: as even as 64 bits are for any bound that a key space has.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True this part of the time.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        const UNIT: f64 = (1_u64 << 53) as f64;
        ((self.next() >> 11) as f64) < share * UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_length_and_lie_in_their_range() {
        let keys = Keys::new(10_000, 8).unwrap();
        assert_eq!(keys.key(42), "_0000042");
        assert_eq!(keys.key(9_999), "_0009999");
        let (start, end) = keys.range();
        assert!((0..10_000).map(|at| keys.key(at)).all(|key| start <= key && key < end));
    }

    #[test]
    fn a_key_space_that_does_not_fit_its_keys_is_none() {
        assert!(Keys::new(10_000_000, 8).is_some());
        assert!(Keys::new(10_000_001, 8).is_none());
        assert!(Keys::new(10, 2).is_some());
        assert!(Keys::new(11, 2).is_none());
    }

    #[test]
    fn values_have_the_length_that_was_asked_for() {
        let mut random = Random::new(7);
        for value_bytes in [0, 1, 256] {
            assert_eq!(Values::new(value_bytes).pick(&mut random).len(), value_bytes);
        }
    }

    #[test]
    fn random_numbers_spread_over_their_range() {
        let mut random = Random::new(1);
        let mut seen = [0; 10];
        (0..10_000).for_each(|_| seen[random.below(10) as usize] += 1);
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        let read = (0..10_000).filter(|_| random.chance(0.25)).count();
        assert!((2300..2700).contains(&read), "{read}");
        assert!(!random.chance(0.0) && random.chance(1.0));
    }
}
