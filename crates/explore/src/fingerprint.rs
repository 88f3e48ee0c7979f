//! Fingerprints: 64 bits that stand for a state, or for a state up to the names of its nodes.
//!
//! A value is written down once, by its derived `Hash`, as a list of words ([`Words`]); names of nodes stand out among
//! them ([`NodeId::HASHED_AS`]), and so do items that are sorted by such names ([`Mark`]). The list is then folded into 64
//! bits once for each [`Renaming`], with the names put in place; items in any order come to the same. Nothing here is seeded by the system: the same value has the same print everywhere.
//!
//! Two states of the same print are taken for one. Among N states, some two share a print by chance with a probability
//! of about N² / 2⁶⁵: one in four million for three million states. Then a state would go unexplored, and a bug might be
//! missed; none would be invented, since a counterexample is played again before it is shown.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use quorate_core::{Mark, NodeId};

const MULTIPLIER: u64 = 0xa24b_aed4_963e_e407;
const OFFSET: u64 = 0x9fb2_1c65_1e98_df25;

/// Takes one more word into a print.
#[inline]
pub(crate) fn fold(print: u64, word: u64) -> u64 {
    let product = u128::from(print ^ word ^ OFFSET) * u128::from(MULTIPLIER);
    ((product as u64) ^ (product >> 64) as u64).rotate_left(29).wrapping_add(word)
}

/// New names for the nodes of a cluster: the node at `position` in the cluster is given the name `at[position]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renaming {
    at: Vec<usize>,
}

impl Renaming {
    /// All there are, that which changes nothing first; or that one alone.
    pub(crate) fn all(nodes: usize, is_symmetric: bool) -> Vec<Self> {
        let mut all = vec![(0..nodes).collect::<Vec<_>>()];
        while is_symmetric && let Some(next) = next_permutation(&all[all.len() - 1]) {
            all.push(next);
        }
        all.into_iter().map(|at| Renaming { at }).collect()
    }

    /// The print of a node at a position, which is another wherever else the same is found.
    pub(crate) fn put(&self, position: usize, print: u64) -> u64 {
        fold(print, self.at[position] as u64)
    }
}

/// The one that follows in the order of a dictionary.
fn next_permutation(of: &[usize]) -> Option<Vec<usize>> {
    let mut next = of.to_vec();
    let pivot = next.windows(2).rposition(|pair| pair[0] < pair[1])?;
    let other = next.iter().rposition(|item| *item > next[pivot])?;
    next.swap(pivot, other);
    next[pivot + 1..].reverse();
    Some(next)
}

/// A value, written down as words.
#[derive(Default)]
pub(crate) struct Words {
    words: Vec<u64>,
    /// Where among them the name of a node stands.
    names: Vec<usize>,
    /// The marks, each with the number of words before it.
    marks: Vec<(usize, Mark)>,
}

impl Words {
    /// The print of a value under each renaming of the nodes, whose present names are `ids`, in order.
    pub(crate) fn prints(
        &mut self,
        value: &impl Hash,
        ids: &[NodeId],
        renamings: &[Renaming],
    ) -> Box<[u64]> {
        self.words.clear();
        self.names.clear();
        self.marks.clear();
        value.hash(self);
        for at in &self.names {
            // The cluster's own come first; whoever else is named keeps a name of its own behind them.
            let name = self.words[*at];
            let position = ids.iter().position(|id| id.0 == name).map(|position| position as u64);
            self.words[*at] = position.unwrap_or(name.wrapping_add(ids.len() as u64));
        }
        renamings.iter().map(|renaming| self.print(renaming)).collect()
    }

    fn print(&self, renaming: &Renaming) -> u64 {
        let mut names = self.names.iter().copied().peekable();
        let mut marks = self.marks.iter().peekable();
        let mut print = 0;
        // Of what is open: the print of all before it, and the sum of those of its items.
        let mut open: Vec<(u64, u64)> = Vec::new();
        for at in 0..=self.words.len() {
            while let Some((_, mark)) = marks.next_if(|(before, _)| *before == at) {
                print = take_mark(print, *mark, &mut open);
            }
            let Some(word) = self.words.get(at) else { break };
            let is_name = names.next_if_eq(&at).is_some();
            let name = is_name.then(|| renaming.at.get(*word as usize)).flatten();
            print = fold(print, name.map_or(*word, |name| *name as u64));
        }
        fold(print, self.words.len() as u64)
    }
}

/// The print that goes on after a mark.
fn take_mark(print: u64, mark: Mark, open: &mut Vec<(u64, u64)>) -> u64 {
    match mark {
        Mark::Open => {
            open.push((print, 0));
            0
        }
        Mark::Next => {
            let (_, sum) = open.last_mut().expect("items are of something open");
            *sum = sum.wrapping_add(print);
            0
        }
        Mark::Close => {
            let (before, sum) = open.pop().expect("only what is open is closed");
            fold(before, sum)
        }
    }
}

impl Hasher for Words {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.words.push(u64::from_le_bytes(word));
        }
        self.words.push(bytes.len() as u64);
    }

    fn write_u8(&mut self, number: u8) {
        self.words.push(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.words.push(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.words.push(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.words.push(number);
    }

    fn write_u128(&mut self, number: u128) {
        let (upper, lower) = ((number >> 64) as u64, number as u64);
        match upper {
            Mark::HASHED_AS => {
                return self.marks.push((self.words.len(), Mark::ALL[lower as usize]));
            }
            NodeId::HASHED_AS => self.names.push(self.words.len()),
            _ => self.words.push(upper),
        }
        self.words.push(lower);
    }

    fn write_usize(&mut self, number: usize) {
        self.words.push(number as u64);
    }

    fn finish(&self) -> u64 {
        self.words.iter().fold(0, |print, word| fold(print, *word))
    }
}

/// Something for each of some prints.
#[allow(clippy::disallowed_types, reason = "it is looked up and never walked through")]
pub(crate) type ByPrint<T> = std::collections::HashMap<u64, T, BuildHasherDefault<OfPrints>>;

/// A hasher for prints.
#[derive(Default)]
pub(crate) struct OfPrints(u64);

impl Hasher for OfPrints {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only prints are hashed");
    }

    fn write_u64(&mut self, print: u64) {
        self.0 = fold(self.0, print);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const IDS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn prints(value: &impl Hash) -> Box<[u64]> {
        Words::default().prints(value, &IDS, &Renaming::all(3, true))
    }

    #[test]
    fn there_are_as_many_renamings_as_orders() {
        for (nodes, count) in [(1, 1), (2, 2), (3, 6), (4, 24), (5, 120)] {
            let all = Renaming::all(nodes, true);
            assert_eq!(all.len(), count);
            assert_eq!(all.iter().map(|r| r.at.clone()).collect::<BTreeSet<_>>().len(), count);
            assert_eq!(all[0], Renaming::all(nodes, false)[0]);
        }
    }

    #[test]
    fn names_deep_inside_a_value_are_renamed_and_equal_numbers_are_not() {
        let value = |node: u64| (7u8, Some(NodeId(node)), vec![(NodeId(3), 2u64)], 1u64, 2u64);
        let renamings = Renaming::all(3, true);
        let swapped = renamings.iter().position(|r| r.at == [1, 0, 2]).expect("it is one of them");
        assert_eq!(prints(&value(1))[swapped], prints(&value(2))[0]);
        assert_eq!(prints(&(1u64, 2u64))[swapped], prints(&(1u64, 2u64))[0]);
        assert_ne!(prints(&(1u64, 2u64))[0], prints(&(2u64, 1u64))[0]);
        let strangers = [NodeId(0), NodeId(1), NodeId(4), NodeId(9)].map(|id| prints(&id));
        assert_eq!(BTreeSet::from(strangers).len(), 4);
    }

    /// What is said of each node, as [`NodeId::hash_each`] has it.
    struct Each<T>(BTreeMap<NodeId, T>);

    impl<T: Hash> Hash for Each<T> {
        fn hash<H: Hasher>(&self, state: &mut H) {
            NodeId::hash_each(&self.0, state);
        }
    }

    #[test]
    fn what_is_said_of_each_node_has_no_order() {
        let each = |of: [u64; 3]| Each(IDS.into_iter().zip(of).collect());
        let renamings = Renaming::all(3, true);
        for (at, renaming) in renamings.iter().enumerate() {
            let mut renamed = [0; 3];
            renaming.at.iter().zip([7, 8, 8]).for_each(|(name, said)| renamed[*name] = said);
            assert_eq!(prints(&each([7, 8, 8]))[at], prints(&each(renamed))[0]);
        }
        assert_eq!(prints(&each([7, 7, 7])).iter().collect::<BTreeSet<_>>().len(), 1);
        assert_ne!(prints(&each([7, 8, 8]))[0], prints(&each([8, 7, 8]))[0]);
        assert_ne!(prints(&(each([1, 2, 3]), 4u64))[0], prints(&(each([1, 2, 3]), 5u64))[0]);
        // Each in each, and what has no items.
        let nested =
            |of: [u64; 3]| Each(BTreeMap::from([(NodeId(1), each(of)), (NodeId(9), each([0; 3]))]));
        assert_eq!(prints(&nested([7, 8, 8]))[1], prints(&nested([7, 8, 8]))[0]);
        assert_ne!(prints(&nested([7, 8, 9]))[1], prints(&nested([7, 8, 9]))[0]);
        assert_ne!(prints(&(Each::<u64>(BTreeMap::new()), 1u64))[0], prints(&1u64)[0]);
    }

    #[test]
    fn values_that_differ_have_prints_that_differ() {
        let mut seen = BTreeSet::new();
        for a in 0..30u32 {
            for b in 0..30u64 {
                let map = BTreeMap::from([(a, b), (a + 1, b + 1)]);
                assert!(seen.insert(prints(&(map, "x".repeat(b as usize)))[0]), "{a} {b}");
            }
        }
    }
}
