//! The judge of `txn-list-append`: transactions that append to lists and read them.
//!
//! A list shows the order of its writes, so nearly everything that a history can tell of isolation can be read off
//! it. Looked for, besides the cycles of [`dependencies`](crate::judge::dependencies):
//! - `invented`: a read shows an element that nobody appended to that key;
//! - `repeated`: a read shows an element twice;
//! - `incompatible-order`: two reads of a key, neither of which begins the other;
//! - `internal`: a transaction doesn't read what it has itself appended at the list's end;
//! - `G1a` (from read committed on): a read shows what a refused transaction appended;
//! - `G1b` (from read committed on): a read ends in the middle of what another transaction appended.
//!
//! A lost update, a lost append and a stale read show as cycles: `G-single` or `G2-item`, with `-realtime` if only
//! the clock tells. A transaction in doubt counts once something it wrote is read.
//!
//! Omitted: orders of one client's transactions other than by real time; reads of predicates, of which there are none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::history::{Findings, Op, listed};
use crate::judge::dependencies::{Consistency, Dependencies, Why};
use crate::judge::transaction::{Writes, described};

/// How many elements of a list are shown.
const SHOWN_MAX: usize = 5;

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Micro {
    /// Put an element, which no other transaction appends, at the end.
    Append(u64, u64),
    /// What is there? In a request nothing; in an answer the list.
    Read(u64, Vec<u64>),
}

impl fmt::Display for Micro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Micro::Append(key, element) => write!(f, "append {key} {element}"),
            // A list is told from another by its end.
            Micro::Read(key, list) if list.len() > SHOWN_MAX => {
                let end = &list[list.len() - SHOWN_MAX..];
                write!(f, "read {key} {} elements up to {end:?}", list.len())
            }
            Micro::Read(key, list) => write!(f, "read {key} {list:?}"),
        }
    }
}

/// One transaction; the answer has its reads filled in.
pub type ListOp = Op<Vec<Micro>, Vec<Micro>>;

/// What is wrong with the history, for a database that promises `bar`.
pub fn judge(ops: &[ListOp], bar: Consistency) -> Findings {
    let mut found = Findings::default();
    let writes = Writes::of(ops, |micro| match micro {
        Micro::Append(key, element) => Some((*key, *element)),
        Micro::Read(..) => None,
    });
    for (index, op) in ops.iter().enumerate() {
        judge_internal(op, &mut found);
        for (key, list) in reads(op) {
            judge_read(ops, &writes, (index, key, list), bar, &mut found);
        }
    }
    let longest = longest_reads(ops, &mut found);
    let mut graph = Dependencies::new(ops.len());
    for (key, list) in &longest {
        let writers: Vec<_> =
            list.iter().map(|element| writes.writer.get(&(*key, *element)).copied()).collect();
        for two in writers.windows(2) {
            if let [Some(one), Some(other)] = two {
                graph.add(*one, *other, Why::WriteWrite, *key);
            }
        }
        for (index, op) in ops.iter().enumerate() {
            for (_, read) in reads(op).filter(|(read_key, _)| read_key == key) {
                // An incompatible one is found already, and tells nothing of the order.
                if !list.starts_with(read) {
                    continue;
                }
                if let Some(writer) = read.len().checked_sub(1).and_then(|last| writers[last]) {
                    graph.add(writer, index, Why::WriteRead, *key);
                }
                if let Some(Some(next)) = writers.get(read.len()) {
                    graph.add(index, *next, Why::ReadWrite, *key);
                }
            }
        }
    }
    add_unread_appends(ops, &longest, &mut graph);
    graph.add_real_time(ops);
    graph.judge(bar, &mut found, |index| described(&ops[index]));
    found
}

fn reads(op: &ListOp) -> impl Iterator<Item = (u64, &[u64])> {
    op.answer().into_iter().flatten().filter_map(|micro| match micro {
        Micro::Read(key, list) => Some((*key, list.as_slice())),
        Micro::Append(..) => None,
    })
}

fn judge_internal(op: &ListOp, found: &mut Findings) {
    let mut own: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for micro in op.answer().into_iter().flatten() {
        match micro {
            Micro::Append(key, element) => own.entry(*key).or_default().push(*element),
            Micro::Read(key, list) => {
                if own.get(key).is_some_and(|own| !list.ends_with(own)) {
                    let what =
                        format!("{} doesn't read its own appends to key {key}", described(op));
                    found.wrong("internal", what);
                }
            }
        }
    }
}

fn judge_read(
    ops: &[ListOp],
    writes: &Writes,
    (index, key, list): (usize, u64, &[u64]),
    bar: Consistency,
    found: &mut Findings,
) {
    let reader = || described(&ops[index]);
    let mut seen = BTreeSet::new();
    let repeated: Vec<_> = list.iter().filter(|element| !seen.insert(**element)).collect();
    if !repeated.is_empty() {
        found.wrong(
            "repeated",
            format!("{} has twice in key {key}: {}", reader(), listed(repeated)),
        );
    }
    for element in &seen {
        match writes.writer.get(&(key, *element)) {
            None => {
                let what =
                    format!("{} reads {element} in key {key}, which nobody appended", reader());
                found.wrong("invented", what);
            }
            Some(writer) if !ops[*writer].is_possible() && bar >= Consistency::ReadCommitted => {
                let what = format!("{} reads {element} of {}", reader(), described(&ops[*writer]));
                found.wrong("G1a", what);
            }
            Some(_) => {}
        }
    }
    let Some(last) = list.last() else { return };
    let Some(writer) = writes.writer.get(&(key, *last)) else { return };
    let is_middle = writes.last.get(&(*writer, key)) != Some(last);
    if is_middle && *writer != index && bar >= Consistency::ReadCommitted {
        let what = format!(
            "{} reads key {key} up to {last}, in the middle of {}",
            reader(),
            described(&ops[*writer])
        );
        found.wrong("G1b", what);
    }
}

/// For each key the longest list that was read. Every other has to be the beginning of it.
fn longest_reads<'h>(ops: &'h [ListOp], found: &mut Findings) -> BTreeMap<u64, &'h [u64]> {
    let mut longest: BTreeMap<u64, (&[u64], &ListOp)> = BTreeMap::new();
    for op in ops {
        for (key, list) in reads(op) {
            let (known, _) = longest.entry(key).or_insert((list, op));
            if list.len() > known.len() {
                longest.insert(key, (list, op));
            }
        }
    }
    for op in ops {
        for (key, list) in reads(op) {
            let (known, other) = longest[&key];
            if !known.starts_with(list) {
                let differs =
                    list.iter().zip(known).take_while(|(one, other)| one == other).count();
                let what = format!(
                    "of key {key} neither list begins the other: at {differs} is {} in {}, and {} in {}",
                    list[differs],
                    described(op),
                    known[differs],
                    described(other)
                );
                found.wrong("incompatible-order", what);
            }
        }
    }
    longest.into_iter().map(|(key, (list, _))| (key, list)).collect()
}

/// What was acknowledged and is in no read comes after all that was read: its place in the order is open, but every
/// reader of the key has read what it wrote over.
fn add_unread_appends(ops: &[ListOp], longest: &BTreeMap<u64, &[u64]>, graph: &mut Dependencies) {
    let mut readers: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, op) in ops.iter().enumerate() {
        for (key, list) in reads(op) {
            // Whoever has read less comes before one that is in the list, and so before this, too.
            if longest.get(&key) == Some(&list) {
                readers.entry(key).or_default().push(index);
            }
        }
    }
    for (writer, op) in ops.iter().enumerate().filter(|(_, op)| op.answer().is_some()) {
        for micro in &op.request {
            let Micro::Append(key, element) = micro else { continue };
            if longest.get(key).is_some_and(|list| list.contains(element)) {
                continue;
            }
            for reader in readers.get(key).into_iter().flatten() {
                graph.add(*reader, writer, Why::ReadWrite, *key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::histories::{answered, refused, unknown};

    use Micro::{Append, Read};

    fn asked(answer: &[Micro]) -> Vec<Micro> {
        let ask = |micro: &Micro| match micro {
            Read(key, _) => Read(*key, Vec::new()),
            append => append.clone(),
        };
        answer.iter().map(ask).collect()
    }

    fn txn(number: u16, from_ms: u64, to_ms: u64, micros: &[Micro]) -> ListOp {
        answered(number, asked(micros), micros.to_vec(), from_ms, to_ms)
    }

    fn anomalies(ops: &[ListOp]) -> Vec<&'static str> {
        judge(ops, Consistency::StrictSerializable).anomalies()
    }

    fn read(key: u64, list: &[u64]) -> Micro {
        Read(key, list.to_vec())
    }

    #[test]
    fn a_serial_history_holds_with_doubtful_appends_seen_or_not() {
        let ops = [
            txn(1, 0, 1, &[read(1, &[]), Append(1, 10), read(1, &[10])]),
            unknown(2, vec![Append(1, 11), Append(1, 12)], 2),
            unknown(3, vec![Append(1, 13)], 2),
            refused(4, vec![Append(1, 14)], 2),
            txn(1, 5, 6, &[Append(2, 20), read(1, &[10])]),
            txn(2, 7, 8, &[read(1, &[10, 11, 12]), read(2, &[20])]),
        ];
        assert_eq!(judge(&ops, Consistency::StrictSerializable), Findings::default());
    }

    #[test]
    fn what_a_single_read_can_show_is_found() {
        let appended = txn(1, 0, 1, &[Append(1, 10), Append(1, 11)]);
        let rolled_back = refused(2, vec![Append(1, 12)], 0);
        for (list, name) in [
            (&[10, 11, 99][..], "invented"),
            (&[10, 11, 10], "repeated"),
            (&[10, 11, 12], "G1a"),
            (&[10], "G1b"),
        ] {
            let ops = [appended.clone(), rolled_back.clone(), txn(3, 5, 6, &[read(1, list)])];
            assert!(anomalies(&ops).contains(&name), "{list:?}: {:?}", anomalies(&ops));
        }
        let own = txn(1, 0, 1, &[Append(1, 10), read(1, &[])]);
        assert!(anomalies(&[own]).contains(&"internal"));
    }

    #[test]
    fn read_uncommitted_lets_dirty_reads_pass() {
        let ops = [
            refused(2, vec![Append(1, 12)], 0),
            txn(1, 0, 1, &[Append(1, 10), Append(1, 11)]),
            txn(3, 0, 1, &[read(1, &[12, 10])]),
        ];
        assert_eq!(judge(&ops, Consistency::ReadUncommitted), Findings::default());
        assert_eq!(judge(&ops, Consistency::ReadCommitted).anomalies(), ["G1a", "G1b"]);
    }

    #[test]
    fn two_reads_that_disagree_about_the_order_are_found() {
        let ops = [
            txn(1, 0, 9, &[Append(1, 10)]),
            txn(2, 0, 9, &[Append(1, 11)]),
            txn(3, 0, 9, &[read(1, &[10])]),
            txn(4, 0, 9, &[read(1, &[11, 10])]),
        ];
        assert_eq!(anomalies(&ops), ["incompatible-order"]);
    }

    #[test]
    fn writes_and_reads_in_a_circle_are_found() {
        let order = txn(3, 0, 9, &[read(1, &[10, 11]), read(2, &[21, 20])]);
        let g0 = [
            txn(1, 0, 9, &[Append(1, 10), Append(2, 20)]),
            txn(2, 0, 9, &[Append(1, 11), Append(2, 21)]),
            order,
        ];
        assert!(anomalies(&g0).contains(&"G0"), "{:?}", anomalies(&g0));
        let g1c = [
            txn(1, 0, 9, &[Append(1, 10), read(2, &[20])]),
            txn(2, 0, 9, &[Append(2, 20), read(1, &[10])]),
        ];
        assert_eq!(anomalies(&g1c), ["G1c"]);
    }

    #[test]
    fn a_lost_update_a_torn_view_and_a_write_skew_are_found() {
        let lost_update = [
            txn(1, 0, 9, &[read(1, &[]), Append(1, 10)]),
            txn(2, 0, 9, &[read(1, &[]), Append(1, 11)]),
            txn(3, 0, 9, &[read(1, &[10, 11])]),
        ];
        assert_eq!(anomalies(&lost_update), ["G-single"]);
        let torn = [
            txn(1, 0, 9, &[Append(1, 10), Append(2, 20)]),
            txn(2, 0, 9, &[read(1, &[10]), read(2, &[])]),
            txn(3, 0, 9, &[read(2, &[20])]),
        ];
        assert_eq!(anomalies(&torn), ["G-single"]);
        let skew = [
            txn(1, 0, 9, &[read(1, &[]), Append(2, 20)]),
            txn(2, 0, 9, &[read(2, &[]), Append(1, 10)]),
            txn(3, 0, 9, &[read(1, &[10]), read(2, &[20])]),
        ];
        assert_eq!(anomalies(&skew), ["G2-item"]);
        assert_eq!(judge(&skew, Consistency::SnapshotIsolation), Findings::default());
    }

    #[test]
    fn a_stale_read_and_an_acknowledged_append_that_is_gone_are_found_by_the_clock() {
        let stale = [
            txn(1, 0, 1, &[Append(1, 10)]),
            txn(2, 5, 6, &[read(1, &[])]),
            txn(2, 7, 8, &[read(1, &[10])]),
        ];
        assert_eq!(anomalies(&stale), ["G-single-realtime"]);
        assert_eq!(judge(&stale, Consistency::Serializable), Findings::default());
        let gone = [
            txn(1, 0, 1, &[Append(1, 10)]),
            txn(1, 2, 3, &[Append(1, 11)]),
            txn(2, 5, 6, &[read(1, &[10])]),
        ];
        assert_eq!(anomalies(&gone), ["G-single-realtime"]);
    }
}
