//! The seam between a run and whatever plays its nodes.
//!
//! A run hands lines to nodes and hears lines from them; it asks nobody but [`Nodes`] for the time. [`Processes`]
//! are programs with pipes and a real clock. The tests of this crate play nodes in memory, with a clock that jumps to
//! whatever is next: then the whole run is a function of its seed.
//!
//! The crate `quorate-maelstrom-nodes` implements it over the protocols of the catalogue, with one `quorate_core::Host` a
//! node. Nothing in the run, the network or the judges knows.
//!
//! [`Processes`]: crate::process::Processes

use std::time::Duration;

use crate::address::NodeIndex;
use crate::fault::StartError;
use crate::message::Message;

/// What a node did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It wrote a line.
    Line(String),
    /// It is no more; in words, how it ended.
    Ended(String),
}

/// The nodes of a cluster.
pub trait Nodes {
    /// The time since the start. It never goes back.
    fn now(&mut self) -> Duration;

    /// Gives a node a message. One that has ended takes it silently.
    fn deliver(&mut self, node: NodeIndex, message: &Message);

    /// Waits until a node has said something, but no longer than until the time `until`.
    fn hear(&mut self, until: Duration) -> Option<(NodeIndex, Said)>;

    /// Kills a node, as losing power would: it does nothing more, and what it said that was not heard yet never is.
    fn kill(&mut self, node: NodeIndex);

    /// Starts a node again that was killed. What it finds is what it had made durable.
    fn start_again(&mut self, node: NodeIndex) -> Result<(), StartError>;

    /// The last lines that a node wrote for people. It is stopped for that.
    fn last_words(&mut self, node: NodeIndex) -> Vec<String>;
}
