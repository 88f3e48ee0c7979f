//! What is explored: a protocol, its configuration, the bounds within which, and what must hold.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use quorate_core::{NodeId, Protocol, RequestId};

use crate::node::Node;

/// A protocol that can be explored: all of its state can be copied, compared and hashed.
pub trait Explored:
    Protocol<
        Config: Sync,
        Message: Clone + Debug + Eq + Hash + Send + Sync,
        Timer: Debug + Send + Sync,
        Record: Clone + Debug + Eq + Hash + Send + Sync,
        Durable: Clone + Eq + Hash + Send + Sync,
        Request: Clone + Debug + Send + Sync,
        Response: Clone + Debug + Eq + Hash + Send + Sync,
    > + Clone
    + Eq
    + Hash
    + Send
    + Sync
{
}

impl<P> Explored for P where
    P: Protocol<
            Config: Sync,
            Message: Clone + Debug + Eq + Hash + Send + Sync,
            Timer: Debug + Send + Sync,
            Record: Clone + Debug + Eq + Hash + Send + Sync,
            Durable: Clone + Eq + Hash + Send + Sync,
            Request: Clone + Debug + Send + Sync,
            Response: Clone + Debug + Eq + Hash + Send + Sync,
        > + Clone
        + Eq
        + Hash
        + Send
        + Sync
{
}

/// When a node's disk syncs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Syncs {
    /// At the end of each turn, before the node takes another input, as the event loop of production does. A crash may
    /// come in the middle, when any number of the records, from the front, are on the disk.
    #[default]
    EachTurn,
    /// At any time, and inputs come meanwhile: what a loop may do that doesn't wait for its disk. Each sync covers all
    /// that was written before it ends. Many more states.
    Anytime,
}

/// Of a timer, that it may fire again and again. Without such, every run ends: no counter of the bounds goes back. It is
/// for the protocol, [`Model::copies_max`] and [`Model::is_within`] to keep the states few.
pub const UNBOUNDED: u8 = u8::MAX;

/// How often what is rare may happen, in one run of the whole cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// The crashes, at most. A node that crashed starts again at once: one that is down for long looks to the others
    /// like one that no message reaches.
    pub crashes: u8,
    /// The messages that arrive once more than they were sent, at most.
    pub repeats: u8,
    /// The requests that clients put to nodes, at most.
    pub requests: u8,
    /// The lost connections that nodes are told of, at most.
    pub hints: u8,
}

/// What is explored.
pub trait Model: Sync {
    /// The protocol.
    type Protocol: Explored;
    /// What the cluster itself forgets and its promises speak of: who led, what was decided. Part of the state, so keep
    /// it small, and a function of what happened rather than of the order in which it did.
    type History: Clone + Debug + Default + Eq + Hash + Send + Sync;

    /// The nodes, each with its configuration.
    fn nodes(&self) -> &[(NodeId, <Self::Protocol as Protocol>::Config)];

    /// What a node's records are folded onto.
    fn blank(&self) -> <Self::Protocol as Protocol>::Durable;

    /// How often what is rare may happen.
    fn bounds(&self) -> Bounds;

    /// When disks sync.
    fn syncs(&self) -> Syncs {
        Syncs::default()
    }

    /// What has happened when the exploration begins: every message that was sent at the start arrived, in some order; then
    /// each of these timers fired, at the node of that position, and again every message arrived before the next did. It
    /// uses up nothing of the bounds.
    fn prelude(&self) -> &[(usize, <Self::Protocol as Protocol>::Timer)] {
        &[]
    }

    /// Whether the exploration begins only when what was sent at the start has arrived, as [`Model::prelude`] has it. If not,
    /// all that is still under way, and there is no prelude.
    fn begins_settled(&self) -> bool {
        true
    }

    /// The timers that may fire, each with how often in one run of the whole cluster; or [`UNBOUNDED`]. One that is not
    /// named never does, unless it is armed with no delay: then it fires at the end of the turn. At most 32.
    fn timers(&self) -> &[(<Self::Protocol as Protocol>::Timer, u8)];

    /// What a client may ask of a node, when so many requests have been put to the cluster.
    fn requests(&self, asked: u8, node: NodeId) -> Vec<<Self::Protocol as Protocol>::Request>;

    /// Whether a message may arrive once the exploration has begun. One that may not is lost as soon as it is sent.
    fn may_arrive(&self, _: &<Self::Protocol as Protocol>::Message) -> bool {
        true
    }

    /// Whether two nodes are cut off from each other. What one sends the other stays under way for ever.
    fn are_cut(&self, _from: NodeId, _to: NodeId) -> bool {
        false
    }

    /// Whether a node is one of those that crash, as often as [`Bounds::crashes`] has it.
    fn may_crash(&self, _: NodeId) -> bool {
        true
    }

    /// Whether nodes are told apart that differ only in how many records they ever wrote. They must be if the protocol keeps
    /// the number of a record. If it keeps none, let them not be: a node that goes on writing is then again as it was.
    fn counts_records(&self) -> bool {
        true
    }

    /// How many messages that are the same may be under way at once. One more is lost, since another will do for it: so a
    /// timer that is [`UNBOUNDED`] and sends the same again and again makes no more states.
    fn copies_max(&self) -> usize {
        usize::MAX
    }

    /// Whether a state is to be explored. One that is not is judged, and then left alone.
    fn is_within(&self, _: &Snapshot<'_, Self>) -> bool {
        true
    }

    /// Judges a cluster in which one node has just moved, and writes history: what it is from now on if it changes. An
    /// error is one sentence that names the broken promise.
    fn observe(
        &self,
        cluster: &Snapshot<'_, Self>,
        moved: usize,
    ) -> Result<Option<Self::History>, String>;

    /// What some run must reach, each in a few words: a run in which nothing happens breaks no promise.
    fn goals(&self) -> &[Goal<Self>];

    /// What every fair run must come to, as `live.rs` has it. At most 16. With any, all states and changes are kept,
    /// and symmetry is off.
    fn eventually(&self) -> &[Eventually<Self>] {
        &[]
    }
}

/// A state that some run must reach.
pub type Goal<M> = (&'static str, fn(&Snapshot<'_, M>) -> bool);

/// Something that every fair run must come to.
pub struct Eventually<M: Model + ?Sized> {
    /// What it is, in a few words.
    pub name: &'static str,
    /// From which states on it is awaited. None: from the start.
    pub after: Option<fn(&Snapshot<'_, M>) -> bool>,
    /// Whether it has come. A state that is awaited from and where it is already owes nothing.
    pub comes: fn(&Snapshot<'_, M>) -> bool,
}

/// A cluster at one moment.
pub struct Snapshot<'a, M: Model + ?Sized> {
    pub(crate) nodes: &'a [Arc<Node<M::Protocol>>],
    /// A node that is not as it is in `nodes`.
    pub(crate) moved: Option<(usize, &'a M::Protocol)>,
    pub(crate) history: &'a M::History,
    pub(crate) happened: Happened<'a, M::Protocol>,
}

/// What was asked, answered and chosen in a turn, for [`Model::observe`].
///
/// Of the states that a node passes through in one turn, the first comes with what was asked, and the last with all else.
pub struct Happened<'a, P: Protocol> {
    /// The request that the node was given.
    pub asked: Option<(RequestId, &'a P::Request)>,
    /// The answers that left it.
    pub answered: &'a [(RequestId, P::Response)],
    /// The numbers that it chose.
    pub chosen: &'a [u32],
    /// Whether it crashed, and started again.
    pub has_restarted: bool,
}

impl<P: Protocol> Clone for Happened<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Protocol> Copy for Happened<'_, P> {}

impl<P: Protocol> Default for Happened<'_, P> {
    fn default() -> Self {
        Happened { asked: None, answered: &[], chosen: &[], has_restarted: false }
    }
}

impl<'a, M: Model + ?Sized> Snapshot<'a, M> {
    /// The state of the node at a position.
    pub fn state(&self, position: usize) -> &'a M::Protocol {
        match self.moved {
            Some((moved, state)) if moved == position => state,
            _ => self.nodes[position].state(),
        }
    }

    /// The states of all nodes, in order.
    pub fn states(&self) -> impl Iterator<Item = &'a M::Protocol> {
        (0..self.nodes.len()).map(|position| self.state(position))
    }

    /// What happened before.
    pub fn history(&self) -> &'a M::History {
        self.history
    }

    /// What the node did that has just moved. Nothing, for whoever looks at a state and not at a change.
    pub fn happened(&self) -> Happened<'a, M::Protocol> {
        self.happened
    }
}
