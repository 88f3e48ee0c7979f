//! The graph of what depends on what among transactions, and the cycles in it that no correct database shows.
//!
//! Source: Adya, Liskov and O'Neil, "Generalized isolation level definitions", 2000 (the anomalies); Kingsbury and
//! Alvaro, "Elle: inferring isolation anomalies from experimental observations", 2020 (that a history shows them).
//!
//! | cycle | of | ruled out from |
//! |---|---|---|
//! | `G0` | writes over writes | read uncommitted |
//! | `G1c` | these, and reads of what another has written | read committed |
//! | `G-single` | these, and one read of what another has overwritten: a lost update, a torn view | snapshot isolation |
//! | `G2-item` | these, and several such reads: a write skew | serializability |
//! | the same, `-realtime` | these, and one having ended before another began: a stale read | strict serializability |
//!
//! One shortest cycle of each kind is shown. Real time is looked at only where nothing else is wrong.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;

use crate::history::{Findings, Op};

/// What a database promises of its transactions; each promises all that those before it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consistency {
    /// Writes of two transactions don't mix.
    ReadUncommitted,
    /// Nothing is read that isn't, or doesn't stay, committed.
    ReadCommitted,
    /// Each reads from one state.
    SnapshotIsolation,
    /// There is an order.
    Serializable,
    /// There is an order that keeps to real time.
    StrictSerializable,
}

impl Consistency {
    /// All of them, the weakest first.
    pub const ALL: [Consistency; 5] = [
        Consistency::ReadUncommitted,
        Consistency::ReadCommitted,
        Consistency::SnapshotIsolation,
        Consistency::Serializable,
        Consistency::StrictSerializable,
    ];
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Consistency::ReadUncommitted => "read-uncommitted",
            Consistency::ReadCommitted => "read-committed",
            Consistency::SnapshotIsolation => "snapshot-isolation",
            Consistency::Serializable => "serializable",
            Consistency::StrictSerializable => "strict-serializable",
        })
    }
}

impl FromStr for Consistency {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        crate::workload::by_name(&Self::ALL, "consistency", name)
    }
}

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The other wrote over its write.
    WriteWrite,
    /// The other read its write.
    WriteRead,
    /// The other wrote over what it had read.
    ReadWrite,
    /// It had ended before the other began.
    RealTime,
}

/// The transactions of a history, and what is known of their order.
#[derive(Debug)]
pub struct Dependencies {
    after: Vec<BTreeMap<(usize, Why), u64>>,
}

/// A step of a cycle: from one transaction, to another, why, and by which key.
type Step = (usize, usize, Why, u64);

impl Dependencies {
    /// No dependencies among so many transactions.
    pub fn new(transactions: usize) -> Self {
        Dependencies { after: vec![BTreeMap::new(); transactions] }
    }

    /// Notes that `from` comes before `to`, because of `key`. Nothing depends on itself.
    pub fn add(&mut self, from: usize, to: usize, why: Why, key: u64) {
        if from != to {
            self.after[from].entry((to, why)).or_insert(key);
        }
    }

    /// Notes which had ended before which began; what follows from others is left out.
    pub fn add_real_time<Q, A>(&mut self, ops: &[Op<Q, A>]) {
        let mut moments: Vec<(_, bool, usize)> = Vec::new();
        for (index, op) in ops.iter().enumerate() {
            moments.push((op.invoked, false, index));
            moments.extend(op.answered_at().map(|at| (at, true, index)));
        }
        // At one moment beginnings come first: what touches counts as concurrent.
        moments.sort_unstable();
        let mut ended: Vec<usize> = Vec::new();
        for (_, is_end, index) in moments {
            if is_end {
                let began = ops[index].invoked;
                ended.retain(|before| ops[*before].answered_at() >= Some(began));
                ended.push(index);
            } else {
                for before in &ended {
                    self.add(*before, index, Why::RealTime, 0);
                }
            }
        }
    }

    /// Notes the cycles that `bar` rules out. `describe` says what a transaction did.
    pub fn judge(
        &self,
        bar: Consistency,
        found: &mut Findings,
        describe: impl Fn(usize) -> String,
    ) {
        const WRITES: &[Why] = &[Why::WriteWrite];
        const READS: &[Why] = &[Why::WriteWrite, Why::WriteRead];
        const ALL: &[Why] = &[Why::WriteWrite, Why::WriteRead, Why::ReadWrite];
        let kinds: [(Consistency, &str, &str, Why, &[Why]); 4] = [
            (Consistency::ReadUncommitted, "G0", "G0-realtime", Why::WriteWrite, WRITES),
            (Consistency::ReadCommitted, "G1c", "G1c-realtime", Why::WriteRead, READS),
            (
                Consistency::SnapshotIsolation,
                "G-single",
                "G-single-realtime",
                Why::ReadWrite,
                READS,
            ),
            (Consistency::Serializable, "G2-item", "G2-item-realtime", Why::ReadWrite, ALL),
        ];
        for has_real_time in [false, true] {
            if has_real_time && (bar < Consistency::StrictSerializable || !found.wrong.is_empty()) {
                return;
            }
            let mut is_single = false;
            for (needs, plain, realtime, through, over) in kinds {
                // A write skew of one reading is the torn view already found.
                if needs > bar || (needs == Consistency::Serializable && is_single) {
                    continue;
                }
                let extra: &[Why] = if has_real_time { &[Why::RealTime] } else { &[] };
                let over = [over, extra].concat();
                if let Some(cycle) = self.shortest_cycle(through, &over) {
                    is_single |= needs == Consistency::SnapshotIsolation;
                    let name = if has_real_time { realtime } else { plain };
                    found.wrong(name, in_words(&cycle, &describe));
                }
            }
        }
    }

    /// A shortest cycle of one step of the kind `through` and any number of the kinds `over`.
    fn shortest_cycle(&self, through: Why, over: &[Why]) -> Option<Vec<Step>> {
        let components = self.components(&[over, &[through]].concat());
        let mut shortest: Option<Vec<Step>> = None;
        for (from, after) in self.after.iter().enumerate() {
            for (&(to, why), &key) in after {
                if why != through || components[from] != components[to] {
                    continue;
                }
                let Some(back) = self.path(to, from, over, &components) else { continue };
                if shortest.as_ref().is_none_or(|cycle| back.len() + 1 < cycle.len()) {
                    shortest = Some([vec![(from, to, why, key)], back].concat());
                }
            }
        }
        shortest
    }

    fn path(
        &self,
        from: usize,
        to: usize,
        over: &[Why],
        components: &[usize],
    ) -> Option<Vec<Step>> {
        let mut came: BTreeMap<usize, Step> = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        while let Some(here) = open.pop_front() {
            for (&(next, why), &key) in &self.after[here] {
                let is_new = next != from && !came.contains_key(&next);
                if is_new && over.contains(&why) && components[next] == components[from] {
                    came.insert(next, (here, next, why, key));
                    open.push_back(next);
                }
            }
            if came.contains_key(&to) {
                break;
            }
        }
        let mut steps = Vec::new();
        let mut here = to;
        while here != from {
            let step = *came.get(&here)?;
            steps.push(step);
            here = step.0;
        }
        steps.reverse();
        Some(steps)
    }

    /// For each transaction the number of its strongly connected component (Tarjan, 1972, without recursion: a chain
    /// of dependencies is as long as the run).
    fn components(&self, over: &[Why]) -> Vec<usize> {
        const NONE: usize = usize::MAX;
        let count = self.after.len();
        let after: Vec<Vec<usize>> = self
            .after
            .iter()
            .map(|after| {
                after.keys().filter(|(_, why)| over.contains(why)).map(|key| key.0).collect()
            })
            .collect();
        let (mut order, mut low, mut component) =
            (vec![NONE; count], vec![0; count], vec![NONE; count]);
        let (mut next_order, mut next_component) = (0, 0);
        let mut stack = Vec::new();
        for root in 0..count {
            let mut calls = Vec::new();
            if order[root] == NONE {
                calls.push((root, 0));
            }
            while let Some((here, child)) = calls.pop() {
                if child == 0 {
                    (order[here], low[here]) = (next_order, next_order);
                    next_order += 1;
                    stack.push(here);
                }
                if let Some(&next) = after[here].get(child) {
                    calls.push((here, child + 1));
                    if order[next] == NONE {
                        calls.push((next, 0));
                    } else if component[next] == NONE {
                        low[here] = low[here].min(order[next]);
                    }
                    continue;
                }
                if low[here] == order[here] {
                    while let Some(member) = stack.pop() {
                        component[member] = next_component;
                        if member == here {
                            break;
                        }
                    }
                    next_component += 1;
                }
                if let Some((caller, _)) = calls.last() {
                    low[*caller] = low[*caller].min(low[here]);
                }
            }
        }
        component
    }
}

fn in_words(cycle: &[Step], describe: impl Fn(usize) -> String) -> String {
    let names: BTreeMap<usize, usize> =
        cycle.iter().enumerate().map(|(place, step)| (step.0, place + 1)).collect();
    let mut text =
        String::from("each of these comes before the next, and the last before the first:");
    for (from, to, why, key) in cycle {
        let (one, other) = (names[from], names[to]);
        let why = match why {
            Why::WriteWrite => format!("T{other} wrote key {key} after it"),
            Why::WriteRead => format!("T{other} read what it wrote to key {key}"),
            Why::ReadWrite => format!("T{other} wrote over what it read of key {key}"),
            Why::RealTime => format!("it had ended before T{other} began"),
        };
        text.push_str(&format!("\n  T{one} {}; {why}", describe(*from)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::histories::{answered, unknown};
    use Why::{ReadWrite as Rw, WriteRead as Wr, WriteWrite as Ww};

    fn anomalies(
        count: usize,
        edges: &[(usize, usize, Why)],
        bar: Consistency,
    ) -> Vec<&'static str> {
        let mut graph = Dependencies::new(count);
        for (from, to, why) in edges {
            graph.add(*from, *to, *why, 1);
        }
        let mut found = Findings::default();
        graph.judge(bar, &mut found, |index| format!("is {index}"));
        found.anomalies()
    }

    #[test]
    fn each_kind_of_cycle_is_found_from_its_level_on() {
        use Consistency::{ReadCommitted, ReadUncommitted, Serializable, SnapshotIsolation};
        for (edges, name, level) in [
            (&[(0, 1, Ww), (1, 0, Ww)][..], "G0", ReadUncommitted),
            (&[(0, 1, Ww), (1, 2, Wr), (2, 0, Wr)], "G1c", ReadCommitted),
            (&[(0, 1, Rw), (1, 2, Wr), (2, 0, Ww)], "G-single", SnapshotIsolation),
            (&[(0, 1, Rw), (1, 0, Rw)], "G2-item", Serializable),
        ] {
            for bar in Consistency::ALL {
                let expected: &[&str] = if bar >= level { &[name] } else { &[] };
                assert_eq!(anomalies(4, edges, bar), expected, "{bar}");
            }
        }
    }

    #[test]
    fn what_has_no_cycle_holds() {
        let edges = [(0, 1, Ww), (0, 2, Rw), (1, 2, Wr), (2, 3, Rw), (1, 3, Ww)];
        assert_eq!(anomalies(4, &edges, Consistency::StrictSerializable), [""; 0]);
    }

    #[test]
    fn the_cycle_shown_is_a_shortest_one_with_its_reasons() {
        let mut graph = Dependencies::new(6);
        for step in 0..5 {
            graph.add(step, step + 1, Wr, 7);
        }
        graph.add(5, 0, Wr, 8);
        graph.add(4, 3, Ww, 9);
        let mut found = Findings::default();
        graph.judge(Consistency::ReadCommitted, &mut found, |index| format!("is {index}"));
        let what = &found.wrong[0].what;
        assert_eq!(what.lines().count(), 3, "{what}");
        assert!(what.contains("T1 is 3; T2 read what it wrote to key 7"), "{what}");
        assert!(what.contains("T2 is 4; T1 wrote key 9 after it"), "{what}");
    }

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let count = 200_000;
        let edges: Vec<_> = (1..count).map(|index| (index - 1, index, Ww)).collect();
        assert_eq!(anomalies(count, &edges, Consistency::ReadUncommitted), [""; 0]);
    }

    #[test]
    fn real_time_orders_what_had_ended_and_nothing_that_is_open() {
        let ops = [
            answered(1, (), (), 0, 10),
            answered(2, (), (), 5, 20),
            unknown(3, (), 12),
            answered(4, (), (), 20, 30),
            answered(1, (), (), 40, 50),
        ];
        let mut graph = Dependencies::new(ops.len());
        graph.add_real_time(&ops);
        let after =
            |index: usize| graph.after[index].keys().map(|(to, _)| *to).collect::<Vec<usize>>();
        assert_eq!(after(0), [2, 3]);
        assert_eq!(after(1), [4]);
        assert_eq!(after(2), [0; 0]);
        assert_eq!(after(3), [4]);
    }

    #[test]
    fn a_stale_read_is_a_cycle_in_real_time_only() {
        let ops = [answered(1, (), (), 0, 10), answered(2, (), (), 20, 30)];
        let mut graph = Dependencies::new(2);
        graph.add(1, 0, Rw, 1);
        graph.add_real_time(&ops);
        let judged = |bar| {
            let mut found = Findings::default();
            graph.judge(bar, &mut found, |_| String::new());
            found.anomalies()
        };
        assert_eq!(judged(Consistency::Serializable), [""; 0]);
        assert_eq!(judged(Consistency::StrictSerializable), ["G-single-realtime"]);
    }
}
