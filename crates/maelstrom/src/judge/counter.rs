//! The judge of `g-counter` and `pn-counter`: in the end every node shows the sum of what was added.
//!
//! Looked for, in the last final read of each node:
//! - `wrong-sum`: not the sum of all acknowledged addings and some of those that are in doubt;
//! - `disagreement`: sums that are possible each, and differ;
//! - `no-final-read`: a node that has answered no final read.
//!
//! Sums during the run are not judged: a node may be behind.

use std::collections::BTreeSet;

use crate::history::{Findings, Op};
use crate::judge::final_reads;

/// Beyond so many possible sums, all between the lowest and the highest count as possible.
const SUMS_MAX: usize = 100_000;

/// What a counter is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CounterRequest {
    /// Add this, or take it off if it is negative.
    Add(i64),
    /// What is the sum?
    Read,
}

/// What a counter answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CounterAnswer {
    /// To an adding: done.
    Added,
    /// To a read: this.
    Sum(i64),
}

/// One request to a counter.
pub type CounterOp = Op<CounterRequest, CounterAnswer>;

/// What sums are possible in the end.
enum Possible {
    Sums(BTreeSet<i64>),
    Between(i64, i64),
}

impl Possible {
    fn of(ops: &[CounterOp]) -> Self {
        let (mut certain, mut in_doubt) = (0, Vec::new());
        for op in ops {
            match op.request {
                CounterRequest::Add(delta) if op.answer().is_some() => certain += delta,
                CounterRequest::Add(delta) if op.is_possible() => in_doubt.push(delta),
                _ => {}
            }
        }
        let mut sums = BTreeSet::from([certain]);
        for delta in &in_doubt {
            let with: Vec<i64> = sums.iter().map(|sum| sum + delta).collect();
            sums.extend(with);
            if sums.len() > SUMS_MAX {
                let losses: i64 = in_doubt.iter().filter(|delta| **delta < 0).sum();
                let gains: i64 = in_doubt.iter().filter(|delta| **delta > 0).sum();
                return Possible::Between(certain + losses, certain + gains);
            }
        }
        Possible::Sums(sums)
    }

    fn contains(&self, sum: i64) -> bool {
        match self {
            Possible::Sums(sums) => sums.contains(&sum),
            Possible::Between(low, high) => (*low..=*high).contains(&sum),
        }
    }

    fn in_words(&self) -> String {
        let (low, high) = match self {
            Possible::Sums(sums) => {
                (*sums.first().expect("never empty"), *sums.last().expect("never empty"))
            }
            Possible::Between(low, high) => (*low, *high),
        };
        if low == high {
            return format!("{low} was added");
        }
        format!("what was added comes to {low} to {high}, depending on what is in doubt")
    }
}

/// What is wrong with the history of a cluster of that many nodes.
pub fn judge(ops: &[CounterOp], nodes: u16) -> Findings {
    let mut found = Findings::default();
    let possible = Possible::of(ops);
    let mut shown = Vec::new();
    for (node, read) in final_reads(ops, nodes, &mut found) {
        let Some(CounterAnswer::Sum(sum)) = read.answer() else { continue };
        if !possible.contains(*sum) {
            let what = format!("{node} shows {sum} in its last read, but {}", possible.in_words());
            found.missing("wrong-sum", what);
        }
        shown.push((node, *sum));
    }
    let differ = shown.windows(2).find(|two| two[0].1 != two[1].1);
    if let (Some(two), true) = (differ, found.wrong.is_empty()) {
        let ((one, sum), (other, other_sum)) = (two[0], two[1]);
        found.missing(
            "disagreement",
            format!("{one} shows {sum} in its last read, and {other} {other_sum}"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::histories::{answered, at_the_end, refused, unknown};

    fn add(delta: i64) -> CounterOp {
        answered(1, CounterRequest::Add(delta), CounterAnswer::Added, 0, 1)
    }

    fn doubtful(delta: i64) -> CounterOp {
        unknown(1, CounterRequest::Add(delta), 0)
    }

    fn last(number: u16, sum: i64) -> CounterOp {
        at_the_end(answered(number, CounterRequest::Read, CounterAnswer::Sum(sum), 10, 11))
    }

    #[test]
    fn a_sum_with_any_part_of_what_is_in_doubt_holds() {
        for sum in [3, 13, -4, 6] {
            let ops = [
                add(1),
                add(2),
                doubtful(10),
                doubtful(-7),
                refused(1, CounterRequest::Add(100), 0),
                last(1, sum),
                last(2, sum),
            ];
            assert_eq!(judge(&ops, 2), Findings::default(), "{sum}");
        }
    }

    #[test]
    fn a_sum_that_lacks_or_invents_something_is_found() {
        for sum in [0, 2, 4, 103] {
            let ops =
                [add(1), add(2), refused(1, CounterRequest::Add(100), 0), last(1, sum), last(2, 3)];
            let found = judge(&ops, 2);
            assert_eq!(found.anomalies(), ["wrong-sum"], "{sum}");
            assert!(found.wrong[0].what.contains("but 3 was added"), "{}", found.wrong[0]);
        }
    }

    #[test]
    fn nodes_that_differ_about_what_is_in_doubt_have_not_converged() {
        let ops = [add(1), doubtful(4), last(1, 1), last(2, 5)];
        assert_eq!(judge(&ops, 2).anomalies(), ["disagreement"]);
        assert_eq!(judge(&ops, 3).anomalies(), ["no-final-read"]);
    }

    #[test]
    fn very_many_doubts_leave_a_span_and_what_is_outside_is_still_found() {
        let mut ops: Vec<CounterOp> = (0..40).map(|bit| doubtful(1 << bit)).collect();
        ops.push(last(1, 12_345));
        assert_eq!(judge(&ops, 1), Findings::default());
        ops.push(last(1, -1));
        assert_eq!(judge(&ops, 1).anomalies(), ["wrong-sum"]);
    }
}
