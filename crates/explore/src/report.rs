//! What came of an exploration.

use std::fmt;

use quorate_core::Protocol;

use crate::model::Explored;
use crate::trace::Counterexample;

/// How far an exploration has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// States found, those that differ in the names of nodes alone taken for one if so wished.
    pub states: u64,
    /// Changes tried.
    pub changes: u64,
    /// States found outside the model's bounds: they were judged, and left alone.
    pub outside: u64,
    /// The number of steps from the start to the states that are explored now.
    pub depth: u32,
    /// States that wait to be explored.
    pub waiting: u64,
}

/// Whether the promises hold.
pub enum Verdict<P: Protocol> {
    /// In every state within the bounds.
    Exhausted,
    /// In every state looked at, but there are more.
    Bounded(Stop),
    /// No: this run breaks one, or is fair and never comes to what is awaited.
    Broken(Counterexample<P>),
}

/// What ended an exploration before it was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// [`crate::Options::depth_max`].
    Depth,
    /// [`crate::Options::states_max`].
    States,
    /// Whoever called for it.
    Caller,
}

/// A goal of the model, and the number of steps after which it was first reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The goal.
    pub goal: &'static str,
    /// None if it was not.
    pub depth: Option<u32>,
}

/// What the model awaits, and how much of what was explored says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// What it is.
    pub name: &'static str,
    /// The states in which it has not come yet. None: nothing was asked.
    pub pending: u64,
    /// Those of them from which runs go on beyond the bounds, where nobody looked. None: it comes in every fair run.
    pub cut: u64,
}

/// What came of an exploration.
pub struct Report<P: Protocol> {
    /// Whether the promises hold.
    pub verdict: Verdict<P>,
    /// See [`Progress::states`].
    pub states: u64,
    /// See [`Progress::changes`].
    pub changes: u64,
    /// See [`Progress::outside`].
    pub outside: u64,
    /// The number of steps to the states that are furthest from the start.
    pub depth: u32,
    /// The model's goals.
    pub goals: Vec<Reached>,
    /// What the model awaits. Empty if a promise was broken before the end.
    pub awaited: Vec<Awaited>,
    /// The largest number of states that were in memory at once.
    pub frontier_max: u64,
    /// The size of the table of states seen. The states in memory come on top; they share most of what they are made of.
    pub table_bytes: u64,
}

impl<P: Protocol> Report<P> {
    /// The counterexample, if there is one.
    pub fn counterexample(&self) -> Option<&Counterexample<P>> {
        match &self.verdict {
            Verdict::Broken(counterexample) => Some(counterexample),
            Verdict::Exhausted | Verdict::Bounded(_) => None,
        }
    }

    /// Whether every state within the bounds was looked at, and no promise was broken.
    pub fn is_exhausted(&self) -> bool {
        matches!(self.verdict, Verdict::Exhausted)
    }

    /// The goals that were not reached.
    pub fn missed(&self) -> Vec<&'static str> {
        self.goals.iter().filter(|goal| goal.depth.is_none()).map(|goal| goal.goal).collect()
    }

    /// The probability that two of the states had one fingerprint by chance, so that one was not explored.
    pub fn collision_probability(&self) -> f64 {
        let states = (self.states + self.outside) as f64;
        states * (states - 1.0) / 2f64.powi(65)
    }
}

impl<P: Explored> fmt::Display for Report<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Exhausted => write!(f, "exhausted: ")?,
            Verdict::Bounded(Stop::Depth) => write!(f, "stopped at the depth that was set: ")?,
            Verdict::Bounded(Stop::States) => write!(f, "stopped at the number that was set: ")?,
            Verdict::Bounded(Stop::Caller) => write!(f, "stopped: ")?,
            Verdict::Broken(counterexample) => {
                write!(f, "broken in {} steps: ", counterexample.steps.len())?;
            }
        }
        let Report { states, changes, outside, depth, .. } = self;
        write!(f, "{states} states, {outside} outside, {changes} changes, depth {depth}")
    }
}
