//! A run, step by step: what a counterexample is made of.

use std::fmt;

use quorate_core::{NodeId, Protocol, RequestId};

use crate::model::Explored;
pub use crate::node::Interruption;

/// A message and its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter<P: Protocol> {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The message.
    pub message: P::Message,
}

/// What a node is given to do, or what befalls it.
pub enum Action<P: Protocol> {
    /// A message arrives.
    Deliver {
        /// Its sender.
        from: NodeId,
        /// The message.
        message: P::Message,
        /// Whether it will arrive once more.
        is_repeated: bool,
    },
    /// A timer fires.
    Fire(P::Timer),
    /// A client asks.
    Ask {
        /// The name of the request.
        id: RequestId,
        /// The request.
        request: P::Request,
    },
    /// The node is told that it lost its connection with a peer.
    Lost {
        /// The peer.
        peer: NodeId,
    },
    /// The disk syncs so many records.
    Sync {
        /// Their number.
        records: usize,
    },
    /// The node crashes between two turns, and starts again.
    Crash {
        /// The unsynced records that are on its disk all the same.
        kept: usize,
        /// Those that are lost.
        lost: usize,
    },
}

/// One step of a run.
pub struct Step<P: Protocol> {
    /// Who moved.
    pub node: NodeId,
    /// What it did.
    pub action: Action<P>,
    /// The numbers that it chose.
    pub chosen: Vec<u32>,
    /// The crash in which its turn ended, after which it started again.
    pub interruption: Option<Interruption>,
    /// What left it. It arrives in a later step, or never.
    pub sent: Vec<Letter<P>>,
    /// The answers that left it.
    pub answered: Vec<(RequestId, P::Response)>,
    /// Every node as it is after the step, in one line.
    pub views: Vec<(NodeId, String)>,
}

impl<P: Explored> fmt::Display for Step<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node;
        match &self.action {
            Action::Deliver { from, message, is_repeated } => {
                let again = if *is_repeated { " (and will again)" } else { "" };
                write!(f, "{from} → {node} {message:?}{again}")?;
            }
            Action::Fire(timer) => write!(f, "{node} fires {timer:?}")?,
            Action::Ask { id, request } => write!(f, "{node} is asked {id}: {request:?}")?,
            Action::Lost { peer } => write!(f, "{node} lost its connection with {peer}")?,
            Action::Sync { records } => write!(f, "{node} syncs {}", counted(*records))?,
            Action::Crash { kept, lost } => {
                write!(f, "{node} crashes, {}", damage(*kept, *lost))?;
            }
        }
        if !self.chosen.is_empty() {
            write!(f, ", and chooses {:?}", self.chosen)?;
        }
        if let Some(Interruption { kept, lost }) = self.interruption {
            write!(f, "\n     {node} crashes before its disk has synced, {}", damage(kept, lost))?;
        }
        for Letter { to, message, .. } in &self.sent {
            write!(f, "\n     sends {to} {message:?}")?;
        }
        for (id, response) in &self.answered {
            write!(f, "\n     answers {id}: {response:?}")?;
        }
        for (id, view) in &self.views {
            if *id == node {
                write!(f, "\n     {id} is {view}")?;
            }
        }
        Ok(())
    }
}

fn counted(records: usize) -> String {
    format!("{records} record{}", if records == 1 { "" } else { "s" })
}

fn damage(kept: usize, lost: usize) -> String {
    match (kept, lost) {
        (_, 0) => "loses nothing, and starts again".into(),
        (0, _) => format!("loses {}, and starts again", counted(lost)),
        _ => format!("keeps {} of {}, and starts again", kept, counted(kept + lost)),
    }
}

/// How a counterexample ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its last step breaks a promise.
    Breaks,
    /// Nothing is due any more, and what is awaited has not come.
    Stuck,
    /// Its last step leads back to before the step of this position, and so on for ever.
    Repeats {
        /// As many steps come before the cycle.
        from: usize,
    },
}

/// A run that must not be: a shortest one that breaks a promise, or a short one that never comes to what is awaited. Of
/// several such, always the same one.
pub struct Counterexample<P: Protocol> {
    /// What it breaks, in one sentence.
    pub broken: String,
    /// How the cluster came to be as it was when the exploration began; empty if it had just started.
    pub prelude: Vec<Step<P>>,
    /// From there to the step that breaks it, or until nothing is due, or once round the cycle.
    pub steps: Vec<Step<P>>,
    /// How it ends.
    pub ending: Ending,
}

impl<P: Explored> fmt::Display for Counterexample<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(last) = self.prelude.last() {
            writeln!(f, "At the beginning:")?;
            for (id, view) in &last.views {
                writeln!(f, "     {id} is {view}")?;
            }
        }
        for (number, step) in self.steps.iter().enumerate() {
            if self.ending == (Ending::Repeats { from: number }) {
                writeln!(f, "From here on, for ever:")?;
            }
            writeln!(f, "{:3}. {step}", number + 1)?;
        }
        match self.ending {
            Ending::Breaks => {}
            Ending::Stuck => writeln!(f, "Nothing is due any more.")?,
            Ending::Repeats { from } => writeln!(f, "And so on, from step {}.", from + 1)?,
        }
        if let Some(last) = self.steps.last() {
            writeln!(f, "At the end:")?;
            for (id, view) in &last.views {
                writeln!(f, "     {id} is {view}")?;
            }
        }
        write!(f, "Broken: {}", self.broken)
    }
}
