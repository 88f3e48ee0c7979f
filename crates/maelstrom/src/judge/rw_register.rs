//! The judge of `txn-rw-register`: transactions that write and read registers.
//!
//! A register forgets what it held, so less can be told than of a list. Every value is written once, so who read from
//! whom is known; that one value followed another is known where a transaction wrote over what it had read, and of
//! "nothing yet", which everything follows. Looked for, besides the cycles of
//! [`dependencies`](crate::judge::dependencies) among these:
//! - `invented`: a read shows a value that nobody wrote to that key;
//! - `internal`: a transaction doesn't read what it has itself written last;
//! - `G1a` (from read committed on): a read shows what a refused transaction wrote;
//! - `G1b` (from read committed on): a read shows what its writer wrote over itself.
//!
//! A lost update shows as a cycle from snapshot isolation on: two that wrote over the same value, each of which has
//! read what the other wrote over.
//!
//! Omitted: orders of writes that nobody read in between.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::{Findings, Op};
use crate::judge::dependencies::{Consistency, Dependencies, Why};
use crate::judge::transaction::{Writes, described};

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Micro {
    /// Hold a value, which no other step of any transaction writes.
    Write(u64, u64),
    /// What do you hold? In a request nothing; in an answer a value, or nothing yet.
    Read(u64, Option<u64>),
}

impl fmt::Display for Micro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Micro::Write(key, value) => write!(f, "write {key} {value}"),
            Micro::Read(key, Some(value)) => write!(f, "read {key} {value}"),
            Micro::Read(key, None) => write!(f, "read {key} null"),
        }
    }
}

/// One transaction; the answer has its reads filled in.
pub type RegisterOp = Op<Vec<Micro>, Vec<Micro>>;

/// What is wrong with the history, for a database that promises `bar`.
pub fn judge(ops: &[RegisterOp], bar: Consistency) -> Findings {
    let mut found = Findings::default();
    let writes = Writes::of(ops, |micro| match micro {
        Micro::Write(key, value) => Some((*key, *value)),
        Micro::Read(..) => None,
    });
    let mut readers: BTreeMap<(u64, Option<u64>), Vec<usize>> = BTreeMap::new();
    for (index, op) in ops.iter().enumerate() {
        for (key, value) in reads_of_others(op, &mut found) {
            judge_read(ops, &writes, (index, key, value), bar, &mut found);
            readers.entry((key, value)).or_default().push(index);
        }
    }
    let mut graph = Dependencies::new(ops.len());
    for ((key, value), readers) in &readers {
        let writer = value.and_then(|value| writes.writer.get(&(*key, value)));
        for reader in readers {
            if let Some(writer) = writer {
                graph.add(*writer, *reader, Why::WriteRead, *key);
            }
        }
        // Who is known to have written over the value: whoever read and wrote the key, and, if it was the first
        // of all, everyone whose write is known to have happened.
        let overwriters = ops.iter().enumerate().filter(|(index, op)| {
            let writes_key = writes.last.contains_key(&(*index, *key));
            let is_known = op.answer().is_some() && op.is_possible();
            writes_key && is_known && (value.is_none() || readers.contains(index))
        });
        for (overwriter, _) in overwriters {
            if let Some(writer) = writer {
                graph.add(*writer, overwriter, Why::WriteWrite, *key);
            }
            for reader in readers {
                graph.add(*reader, overwriter, Why::ReadWrite, *key);
            }
        }
    }
    graph.add_real_time(ops);
    graph.judge(bar, &mut found, |index| described(&ops[index]));
    found
}

/// What a transaction read that it had not written before. That it reads what it had is seen to.
fn reads_of_others(op: &RegisterOp, found: &mut Findings) -> Vec<(u64, Option<u64>)> {
    let mut own: BTreeMap<u64, u64> = BTreeMap::new();
    let mut others = Vec::new();
    for micro in op.answer().into_iter().flatten() {
        match micro {
            Micro::Write(key, value) => {
                own.insert(*key, *value);
            }
            Micro::Read(key, value) => match own.get(key) {
                None => others.push((*key, *value)),
                Some(written) if Some(*written) == *value => {}
                Some(_) => {
                    let what = format!("{} doesn't read its own write to key {key}", described(op));
                    found.wrong("internal", what);
                }
            },
        }
    }
    others
}

fn judge_read(
    ops: &[RegisterOp],
    writes: &Writes,
    (index, key, value): (usize, u64, Option<u64>),
    bar: Consistency,
    found: &mut Findings,
) {
    let Some(value) = value else { return };
    let reader = || described(&ops[index]);
    let Some(writer) = writes.writer.get(&(key, value)) else {
        found.wrong(
            "invented",
            format!("{} reads {value} in key {key}, which nobody wrote", reader()),
        );
        return;
    };
    if bar < Consistency::ReadCommitted {
        return;
    }
    let writer_described = || described(&ops[*writer]);
    if !ops[*writer].is_possible() {
        let what = format!("{} reads {value} in key {key} of {}", reader(), writer_described());
        found.wrong("G1a", what);
    }
    if writes.last.get(&(*writer, key)) != Some(&value) {
        let what = format!(
            "{} reads {value} in key {key}, in the middle of {}",
            reader(),
            writer_described()
        );
        found.wrong("G1b", what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::histories::{answered, refused, unknown};

    use Micro::{Read, Write};

    fn txn(number: u16, from_ms: u64, to_ms: u64, micros: &[Micro]) -> RegisterOp {
        let ask = |micro: &Micro| match micro {
            Read(key, _) => Read(*key, None),
            write => write.clone(),
        };
        let asked = micros.iter().map(ask).collect();
        answered(number, asked, micros.to_vec(), from_ms, to_ms)
    }

    fn anomalies(ops: &[RegisterOp], bar: Consistency) -> Vec<&'static str> {
        judge(ops, bar).anomalies()
    }

    #[test]
    fn a_serial_history_holds_with_doubtful_writes_seen_or_not() {
        let ops = [
            txn(1, 0, 1, &[Read(1, None), Write(1, 10), Read(1, Some(10))]),
            unknown(2, vec![Write(1, 11), Write(1, 12)], 2),
            unknown(3, vec![Write(1, 13)], 2),
            refused(4, vec![Write(1, 14)], 2),
            txn(1, 5, 6, &[Read(1, Some(10)), Write(2, 20)]),
            txn(2, 7, 8, &[Read(1, Some(12)), Write(1, 15), Read(2, Some(20))]),
        ];
        assert_eq!(judge(&ops, Consistency::StrictSerializable), Findings::default());
    }

    #[test]
    fn what_a_single_read_can_show_is_found() {
        let written = txn(1, 0, 1, &[Write(1, 10), Write(1, 11)]);
        let rolled_back = refused(2, vec![Write(1, 12)], 0);
        for (value, name) in [(99, "invented"), (12, "G1a"), (10, "G1b")] {
            let ops = [written.clone(), rolled_back.clone(), txn(3, 5, 6, &[Read(1, Some(value))])];
            assert_eq!(anomalies(&ops, Consistency::ReadCommitted), [name]);
        }
        let own = [written, txn(2, 5, 6, &[Write(1, 13), Read(1, Some(11))])];
        assert_eq!(anomalies(&own, Consistency::ReadCommitted), ["internal"]);
    }

    #[test]
    fn reads_in_a_circle_are_found() {
        let ops = [
            txn(1, 0, 9, &[Write(1, 10), Read(2, Some(20))]),
            txn(2, 0, 9, &[Write(2, 20), Read(1, Some(10))]),
        ];
        assert_eq!(anomalies(&ops, Consistency::ReadCommitted), ["G1c"]);
        assert_eq!(anomalies(&ops, Consistency::ReadUncommitted), [""; 0]);
    }

    #[test]
    fn a_lost_update_is_found_from_snapshot_isolation_on() {
        let ops = [
            txn(1, 0, 1, &[Write(1, 10)]),
            txn(2, 5, 9, &[Read(1, Some(10)), Write(1, 11)]),
            txn(3, 5, 9, &[Read(1, Some(10)), Write(1, 12)]),
        ];
        assert_eq!(anomalies(&ops, Consistency::ReadCommitted), [""; 0]);
        assert_eq!(anomalies(&ops, Consistency::Serializable), ["G2-item"]);
    }

    #[test]
    fn a_torn_view_and_a_stale_read_are_found() {
        let torn = [
            txn(1, 0, 9, &[Write(1, 10), Write(2, 20)]),
            txn(2, 0, 9, &[Read(1, Some(10)), Read(2, None)]),
        ];
        assert_eq!(anomalies(&torn, Consistency::SnapshotIsolation), ["G-single"]);
        let stale = [txn(1, 0, 1, &[Write(1, 10)]), txn(2, 5, 6, &[Read(1, None)])];
        assert_eq!(anomalies(&stale, Consistency::Serializable), [""; 0]);
        assert_eq!(anomalies(&stale, Consistency::StrictSerializable), ["G-single-realtime"]);
    }
}
