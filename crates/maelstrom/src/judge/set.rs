//! The judge of `broadcast` and `g-set`: what was acknowledged is everywhere in the end, and nothing else ever.
//!
//! Looked for:
//! - `lost`: an element that was acknowledged, and isn't in the last final read of some node;
//! - `invented`: an element in any read that nobody had asked to add by then, or whose adding was refused;
//! - `repeated`: an element that a read shows twice;
//! - `no-final-read`: a node that has answered no final read.
//!
//! An element whose adding is in doubt may be there or not.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Findings, Op, listed};
use crate::judge::final_reads;

/// What a set is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetRequest {
    /// Take this in. No two requests name the same.
    Add(u64),
    /// What do you hold?
    Read,
}

/// What a set answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetAnswer {
    /// To an adding: done.
    Added,
    /// To a read: these.
    Elements(Vec<u64>),
}

/// One request to a set.
pub type SetOp = Op<SetRequest, SetAnswer>;

/// What is wrong with the history of a cluster of that many nodes.
pub fn judge(ops: &[SetOp], nodes: u16) -> Findings {
    let mut found = Findings::default();
    let mut added: BTreeMap<u64, &SetOp> = BTreeMap::new();
    for op in ops {
        if let SetRequest::Add(element) = op.request {
            added.insert(element, op);
        }
    }
    for read in ops {
        let Some(SetAnswer::Elements(elements)) = read.answer() else { continue };
        let mut seen = BTreeSet::new();
        let is_known = |element: &u64| {
            added
                .get(element)
                .is_some_and(|add| add.is_possible() && Some(add.invoked) <= read.answered_at())
        };
        let repeated: Vec<_> = elements.iter().filter(|element| !seen.insert(**element)).collect();
        let invented: Vec<_> = seen.iter().filter(|element| !is_known(element)).collect();
        if !repeated.is_empty() {
            let what = format!("{} and got twice: {}", read.place(), listed(repeated));
            found.wrong("repeated", what);
        }
        if !invented.is_empty() {
            let what = format!("{} and got what nobody added: {}", read.place(), listed(invented));
            found.wrong("invented", what);
        }
    }
    let acknowledged: BTreeSet<u64> = added
        .iter()
        .filter(|(_, add)| add.answer().is_some())
        .map(|(element, _)| *element)
        .collect();
    for (node, read) in final_reads(ops, nodes, &mut found) {
        let Some(SetAnswer::Elements(elements)) = read.answer() else { continue };
        let held: BTreeSet<u64> = elements.iter().copied().collect();
        let lost: Vec<_> = acknowledged.difference(&held).collect();
        if !lost.is_empty() {
            let of = acknowledged.len();
            let what = format!(
                "{node} lacks {} of {of} acknowledged elements in its last read: {}",
                lost.len(),
                listed(lost)
            );
            found.missing("lost", what);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::histories::{answered, at_the_end, refused, unknown};

    fn add(number: u16, element: u64, at_ms: u64) -> SetOp {
        answered(number, SetRequest::Add(element), SetAnswer::Added, at_ms, at_ms + 1)
    }

    fn read(number: u16, elements: &[u64], at_ms: u64) -> SetOp {
        let answer = SetAnswer::Elements(elements.to_vec());
        answered(number, SetRequest::Read, answer, at_ms, at_ms + 1)
    }

    fn last(number: u16, elements: &[u64]) -> SetOp {
        at_the_end(read(number, elements, 1_000))
    }

    #[test]
    fn a_set_that_has_all_in_the_end_holds_with_what_is_in_doubt_or_without() {
        let ops = [
            add(1, 1, 0),
            read(2, &[], 5),
            unknown(1, SetRequest::Add(2), 10),
            unknown(2, SetRequest::Add(3), 10),
            refused(2, SetRequest::Add(4), 20),
            add(2, 5, 30),
            last(1, &[5, 1, 2]),
            last(2, &[1, 2, 5]),
        ];
        assert_eq!(judge(&ops, 2), Findings::default());
    }

    #[test]
    fn what_one_node_lacks_in_the_end_is_lost_until_a_later_read_has_it() {
        let mut ops = vec![add(1, 1, 0), add(2, 2, 0), last(1, &[1, 2]), last(2, &[2])];
        let found = judge(&ops, 2);
        assert_eq!(found.anomalies(), ["lost"]);
        assert!(found.wrong[0].what.starts_with("n2 lacks 1 of 2"), "{}", found.wrong[0]);
        assert!(found.may_pass());
        ops.push(last(2, &[1, 2]));
        assert_eq!(judge(&ops, 2), Findings::default());
    }

    #[test]
    fn what_nobody_added_is_found_in_any_read() {
        for wrong in [
            vec![read(1, &[9], 0)],
            vec![refused(1, SetRequest::Add(9), 0), read(1, &[9], 5)],
            vec![read(1, &[9], 0), add(2, 9, 50)],
        ] {
            let mut ops = wrong;
            ops.extend([last(1, &[9]), last(2, &[9])]);
            let found = judge(&ops, 2);
            assert_eq!(found.anomalies(), ["invented"], "{ops:?}");
            assert!(!found.may_pass());
        }
    }

    #[test]
    fn an_element_shown_twice_and_a_node_that_says_nothing_are_found() {
        let ops = [add(1, 1, 0), last(1, &[1, 1]), at_the_end(unknown(2, SetRequest::Read, 1_000))];
        assert_eq!(judge(&ops, 2).anomalies(), ["no-final-read", "repeated"]);
    }
}
