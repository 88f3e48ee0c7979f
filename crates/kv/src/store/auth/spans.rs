//! Sets of keys that are made of ranges.

use bytes::Bytes;
use quorate_core::Mutants;

use crate::request::{KeyRange, RangeEnd};

/// A union of ranges: a request is permitted if it lies within all that was permitted, though no single permission
/// may reach from its one end to the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans {
    /// Where each begins, and the first key behind it, if it has an end. In order, and none touches another.
    spans: Vec<(Bytes, Option<Bytes>)>,
}

impl Spans {
    /// The keys of all these ranges.
    pub(super) fn of<'a>(ranges: impl Iterator<Item = &'a KeyRange>) -> Self {
        let mut sorted: Vec<_> = ranges.filter(|range| !range.is_empty()).map(bounds).collect();
        sorted.sort();
        let mut spans: Vec<(Bytes, Option<Bytes>)> = Vec::new();
        for (start, end) in sorted {
            match spans.last_mut() {
                Some((_, None)) => break,
                Some((_, Some(last))) if start <= *last => match &end {
                    Some(end) => *last = last.clone().max(end.clone()),
                    None => spans.last_mut().expect("there is a last one").1 = None,
                },
                _ => spans.push((start, end)),
            }
        }
        Spans { spans }
    }

    /// Whether every key that could be in a range is in here. Of a range that holds none by its bounds, its start must be.
    pub(super) fn cover(&self, range: &KeyRange, mutants: Mutants) -> bool {
        let start = &range.start[..];
        let ends_behind = |key: &[u8]| {
            let spans = self.spans.iter().filter(move |(first, _)| first[..] <= *key);
            spans.last().is_some_and(|(_, end)| end.as_ref().is_none_or(|end| end[..] > *key))
        };
        if mutants.has("auth_checks_range_ends_only")
            && let RangeEnd::Before(end) = &range.end
        {
            let mut reaches = self.spans.iter().filter(|(first, _)| first < end);
            let reaches = reaches.any(|(_, last)| last.as_ref().is_none_or(|last| last >= end));
            return ends_behind(start) && reaches;
        }
        // The only one that can hold the start is the last that begins at or before it.
        let after = self.spans.partition_point(|(first, _)| first[..] <= *start);
        let Some((_, end)) = after.checked_sub(1).map(|at| &self.spans[at]) else { return false };
        let Some(end) = end else { return true };
        match &range.end {
            RangeEnd::Unbounded => false,
            RangeEnd::Before(asked) if !range.is_empty() => asked <= end,
            RangeEnd::Before(_) | RangeEnd::Single => start < &end[..],
        }
    }
}

/// Where a range begins, and the first key behind it, if it has an end.
fn bounds(range: &KeyRange) -> (Bytes, Option<Bytes>) {
    let start = range.start.clone();
    let end = match &range.end {
        // No key lies between one and itself with a zero byte behind it.
        RangeEnd::Single => Some([&start[..], &[0]].concat().into()),
        RangeEnd::Before(end) => Some(end.clone()),
        RangeEnd::Unbounded => None,
    };
    (start, end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys of up to two of three letters: few enough to look at all of them, and at all that lies between.
    fn any_key() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(0..3_u8, 0..3).prop_map(Bytes::from)
    }

    fn any_range() -> impl Strategy<Value = KeyRange> {
        let end = prop_oneof![
            3 => Just(RangeEnd::Single),
            6 => any_key().prop_map(RangeEnd::Before),
            1 => Just(RangeEnd::Unbounded),
        ];
        (any_key(), end).prop_map(|(start, end)| KeyRange { start, end })
    }

    /// Every key that the ranges above can tell apart: those of up to three letters.
    fn every_key() -> Vec<Bytes> {
        let mut keys = vec![Vec::new()];
        let mut longest = vec![Vec::new()];
        for _ in 0..3 {
            longest = longest
                .iter()
                .flat_map(|key: &Vec<u8>| {
                    (0..4_u8).map(move |letter| [&key[..], &[letter]].concat())
                })
                .collect();
            keys.extend(longest.iter().cloned());
        }
        keys.into_iter().map(Bytes::from).collect()
    }

    /// What it means, said plainly: each key of the range is in one of those that are permitted.
    fn is_permitted(permitted: &[KeyRange], asked: &KeyRange) -> bool {
        let is_held = |key: &Bytes| permitted.iter().any(|range| range.holds(key));
        if asked.is_empty() {
            return is_held(&asked.start);
        }
        every_key().iter().filter(|key| asked.holds(key)).all(is_held)
    }

    fn agree(permitted: &[KeyRange], asked: &KeyRange, mutants: Mutants) -> bool {
        Spans::of(permitted.iter()).cover(asked, mutants) == is_permitted(permitted, asked)
    }

    proptest! {
        #[test]
        fn a_range_is_permitted_if_each_of_its_keys_is(
            permitted in prop::collection::vec(any_range(), 0..5),
            asked in any_range(),
        ) {
            prop_assert!(agree(&permitted, &asked, Mutants::NONE));
        }
    }

    fn range(start: &'static str, end: &'static str) -> KeyRange {
        KeyRange { start: start.into(), end: RangeEnd::Before(end.into()) }
    }

    #[test]
    fn ranges_that_touch_permit_what_reaches_over_both_and_a_gap_between_them_does_not() {
        let touching = Spans::of([range("a", "c"), range("c", "e")].iter());
        assert!(touching.cover(&range("b", "d"), Mutants::NONE));
        let apart = Spans::of([range("a", "c"), range("d", "f")].iter());
        assert!(!apart.cover(&range("b", "e"), Mutants::NONE));
        let bug = Mutants::only("auth_checks_range_ends_only");
        assert!(apart.cover(&range("b", "e"), bug), "the mutant is not noticed");
    }
}
