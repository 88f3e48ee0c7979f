//! The explorer beside stateright: the same protocols, the same states, one thread each.
//!
//! A protocol's rules are written once where the two ask for the same, and once for each where they don't. Both judge
//! every state by the same promise and look for the same goal. Runs alternate, and of several the fastest counts, since
//! whatever else the machine does can only slow one down.
//!
//! Open first: [`paxos`], then [`two_phase`].

mod paxos;
mod two_phase;

use std::time::{Duration, Instant};

/// How often each is run.
const ROUNDS: usize = 3;

/// What one exploration came to.
struct Run {
    states: u64,
    took: Duration,
}

fn timed(explored: impl FnOnce() -> u64) -> Run {
    let began = Instant::now();
    let states = explored();
    Run { states, took: began.elapsed() }
}

/// A protocol of some size, and how each of the two explores it.
struct Pair {
    name: &'static str,
    size: usize,
    ours: fn(usize) -> u64,
    theirs: fn(usize) -> u64,
}

fn main() {
    let paxos = |size| Pair { name: "Paxos", size, ours: paxos::ours, theirs: paxos::theirs };
    let commit = |size| Pair {
        name: "two-phase commit",
        size,
        ours: two_phase::ours,
        theirs: two_phase::theirs,
    };
    println!("{:24} {:>9} {:>9} {:>9} {:>11}  ratio", "", "states", "seconds", "", "states/s");
    // For a profile: one of them, alone.
    match std::env::args().nth(1).as_deref() {
        Some("commit") => drop(timed(|| two_phase::ours(7))),
        Some("paxos") => drop(timed(|| paxos::ours(3))),
        _ => [commit(5), commit(7), paxos(2), paxos(3)].iter().for_each(compare),
    }
}

fn compare(pair: &Pair) {
    let mut best: [Option<Run>; 2] = [None, None];
    for _ in 0..ROUNDS {
        for (best, explored) in best.iter_mut().zip([pair.ours, pair.theirs]) {
            let run = timed(|| explored(pair.size));
            if best.as_ref().is_none_or(|best| run.took < best.took) {
                *best = Some(run);
            }
        }
    }
    let speed = |run: &Run| run.states as f64 / run.took.as_secs_f64();
    let [Some(ours), Some(theirs)] = best else { unreachable!("each was run") };
    let name = format!("{}, {}", pair.name, pair.size);
    let line = |name: &str, who: &str, run: &Run, ratio: String| {
        let seconds = run.took.as_secs_f64();
        println!("{name:20} {who:>12} {:>9} {seconds:>9.3} {:>11.0}  {ratio}", run.states, speed(run));
    };
    line(&name, "quorate", &ours, format!("{:.2}", speed(&ours) / speed(&theirs)));
    line("", "stateright", &theirs, "1".into());
}
