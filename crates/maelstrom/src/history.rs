//! What clients asked and were told, and what a judge found in it.

use std::fmt;
use std::time::Duration;

use crate::address::{ClientNumber, NodeIndex};

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<A> {
    /// It was answered.
    Answered {
        /// With this.
        answer: A,
        /// At that time since the start of the run.
        at: Duration,
    },
    /// It has not happened and never will.
    Refused,
    /// It may have happened, or may yet.
    Unknown,
}

/// One request of one client.
#[derive(Clone, Debug, PartialEq)]
pub struct Op<Q, A> {
    /// Who asked. A client asks one thing at a time, and nothing any more once it was left without an answer.
    pub client: ClientNumber,
    /// Whom.
    pub node: NodeIndex,
    /// For what.
    pub request: Q,
    /// When, since the start of the run.
    pub invoked: Duration,
    /// Whether it was asked at the end, after the network had healed.
    pub is_final: bool,
    /// What came of it.
    pub outcome: Outcome<A>,
}

impl<Q, A> Op<Q, A> {
    /// The answer, if there was one.
    pub fn answer(&self) -> Option<&A> {
        match &self.outcome {
            Outcome::Answered { answer, .. } => Some(answer),
            Outcome::Refused | Outcome::Unknown => None,
        }
    }

    /// When it was answered, if it was.
    pub fn answered_at(&self) -> Option<Duration> {
        match self.outcome {
            Outcome::Answered { at, .. } => Some(at),
            Outcome::Refused | Outcome::Unknown => None,
        }
    }

    /// Whether it may have happened.
    pub fn is_possible(&self) -> bool {
        !matches!(self.outcome, Outcome::Refused)
    }

    /// Who asked whom and when, for people.
    pub fn place(&self) -> String {
        let seconds = self.invoked.as_secs_f64();
        format!("{} asked {} at {seconds:.3} s", self.client, self.node)
    }
}

/// One thing that is wrong with a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What this is called: `lost`, `G1a`, `not-linearizable`.
    pub anomaly: &'static str,
    /// What was seen, for people.
    pub what: String,
    /// Whether later reads can make it good: what has not arrived yet.
    pub may_pass: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.anomaly, self.what)
    }
}

/// All that a judge found. Nothing: the history holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is wrong, the first found first.
    pub wrong: Vec<Finding>,
    /// What could not be decided, and why.
    pub undecided: Option<String>,
}

impl Findings {
    /// Notes what nothing can make good.
    pub fn wrong(&mut self, anomaly: &'static str, what: impl Into<String>) {
        self.wrong.push(Finding { anomaly, what: what.into(), may_pass: false });
    }

    /// Notes what is missing so far.
    pub fn missing(&mut self, anomaly: &'static str, what: impl Into<String>) {
        self.wrong.push(Finding { anomaly, what: what.into(), may_pass: true });
    }

    /// Whether asking once more could change what was found.
    pub fn may_pass(&self) -> bool {
        !self.wrong.is_empty() && self.wrong.iter().all(|finding| finding.may_pass)
    }

    /// The names of what was found, each once.
    pub fn anomalies(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.wrong.iter().map(|finding| finding.anomaly).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The first few of many, and how many there are.
pub(crate) fn listed<T: fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 8;
    let all: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    let more = all.len().saturating_sub(SHOWN);
    let shown = all[..all.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
