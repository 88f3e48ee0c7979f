//! How a run ends: with a report, or with a failure that says how to see it again.

use std::fmt;
use std::time::Duration;

use crate::counters::Counters;
use crate::plan::{Plan, Replay};
use crate::time::Time;
use crate::trace::Digest;

/// What kind of rule was broken. A shrunk run counts only if it breaks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The workload's invariant.
    Invariant,
    /// The workload's verdict.
    Verdict,
    /// An assertion: something panicked.
    Assertion,
    /// A request is answered once, by the node it was put to, and not by a later boot of it.
    Answer,
    /// A disk gives back what it took.
    Disk,
    /// A message is read as it was written, as far as its reader knows the words.
    Wire,
    /// Time passes: a cluster doesn't do things for ever in one instant.
    Time,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Invariant => "invariant",
            Rule::Verdict => "verdict",
            Rule::Assertion => "assertion",
            Rule::Answer => "answer",
            Rule::Disk => "disk",
            Rule::Wire => "wire",
            Rule::Time => "time",
        })
    }
}

/// A run in which something did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How to run it again. Boxed, so that the results of runs stay small.
    pub replay: Box<Replay>,
    /// When it was noticed.
    pub at: Time,
    /// Which rule was broken.
    pub rule: Rule,
    /// How.
    pub what: String,
    /// The command that runs it again.
    pub command: String,
}

impl Failure {
    pub(crate) fn new(plan: &Plan, at: Time, broken: Broken) -> Self {
        let replay = Box::new(plan.replay.clone());
        let command = plan.bounds.command.replace("{replay}", &replay.to_string());
        Failure { replay, at, rule: broken.rule, what: broken.what, command }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { replay, at, rule, what, command } = self;
        let seed = replay.seed;
        write!(f, "seed {seed} broke the {rule} rule at {at} s: {what}; see it again: {command}")
    }
}

impl std::error::Error for Failure {}

/// A rule that was just broken, before anybody knows when and in which run.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

/// A run in which everything held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The number that another run of the same plan must share.
    pub digest: Digest,
    /// How much virtual time was judged.
    pub judged: Duration,
    /// What happened.
    pub counters: Counters,
}
