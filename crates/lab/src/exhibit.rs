//! An exhibit: a protocol with everything that it takes to show it.
//!
//! The protocol is a state machine and knows nothing of this. An exhibit adds who asks what of it, what must hold at each
//! step ([`Exhibit::observe`]) and in the end ([`Exhibit::settled`]), and within which bounds it is explored. The same claims
//! judge simulations and explorations.

use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::time::Duration;

use quorate_core::{LabMutants, NodeId, Protocol, RequestId};
use quorate_explore::{Bounds, Eventually, Explored, Goal, Syncs};
use quorate_sim::{Describe, Rng};
use quorate_trace::StepLog;

use crate::about::About;
use crate::explored::Explorable;
use crate::setup::Setup;
use crate::stage::printed;

/// A claim that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The claim, by its name.
    pub claim: String,
    /// How, in one sentence.
    pub what: String,
}

impl Broken {
    /// That this claim did not hold, and how.
    pub fn new(claim: &str, what: impl Into<String>) -> Self {
        Broken { claim: claim.to_owned(), what: what.into() }
    }

    /// Tells the log of a run that this broke, with what the claim promises.
    pub(crate) fn tell(&self, log: &mut StepLog, about: &About) {
        match about.claim(&self.claim) {
            Some(claim) => log.fail_claim(claim.name, claim.what, &self.what),
            None => log.fail(&self.claim, &self.what),
        }
    }

    /// Reads back what was printed; all of it is the sentence if it names no claim.
    pub(crate) fn read(printed: &str) -> Self {
        match printed.split_once(": ") {
            Some((claim, what)) => Broken::new(claim, what),
            None => Broken::new("assertion", printed),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.claim, self.what)
    }
}

/// The nodes, to look at.
pub struct Members<'a, P> {
    pub(crate) count: u64,
    pub(crate) of: &'a dyn Fn(NodeId) -> Option<&'a P>,
}

impl<'a, P> Members<'a, P> {
    /// How many there are, live or not.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The state of a node, unless it is down.
    pub fn state(&self, node: NodeId) -> Option<&'a P> {
        (self.of)(node)
    }

    /// The nodes that are not down, with their states.
    pub fn live(&self) -> impl Iterator<Item = (NodeId, &'a P)> {
        (1..=self.count).map(NodeId).filter_map(|node| Some((node, self.state(node)?)))
    }
}

/// What a simulated client knows when it asks.
pub struct Asking<'a> {
    /// How many requests have been put before.
    pub asked: u32,
    /// The virtual time since the start.
    pub now: Duration,
    /// The number of nodes.
    pub nodes: u64,
    /// The clients' own chance.
    pub rng: &'a mut Rng,
}

/// The bounds within which a protocol is explored. Everything that may happen within them is tried.
pub struct Scope<E: Exhibit> {
    /// What is explored, in a few words.
    pub what: &'static str,
    /// The setup: nodes and knobs. Of its faults, a `cut` and a `link` count, all the time; and if it names a `crash`,
    /// nobody else crashes. Delays and times say nothing here.
    pub setup: &'static str,
    /// How often what is rare may happen.
    pub bounds: Bounds,
    /// The timers that may fire, each with how often in one run; or [`quorate_explore::UNBOUNDED`], and then no message is
    /// under way twice at once, so that one that is sent again and again makes no more states. At most eight.
    pub timers: Vec<(<E::Protocol as Protocol>::Timer, u8)>,
    /// When disks sync.
    pub syncs: Syncs,
    /// Whether states that differ in the names of nodes alone are taken for one: only if nothing in the protocol, its
    /// configuration, its requests and its claims treats nodes differently.
    pub is_symmetric: bool,
    /// The claim that some run within the scope breaks, where the protocol cannot keep it: a boundary.
    pub breaks: Option<&'static str>,
    /// What some run must reach.
    pub goals: &'static [Goal<Explorable<E>>],
    /// What every fair run must come to; each name begins with that of a claim and a colon. With any, no two states are taken
    /// for one.
    pub awaited: &'static [Eventually<Explorable<E>>],
}

/// A protocol with everything that it takes to show it.
pub trait Exhibit: Sized + Send + Sync + 'static {
    /// The protocol.
    type Protocol: Explored<Durable: Default>;
    /// What nodes may forget and claims speak of. A function of what happened, and small: it is part of every state that
    /// is explored.
    type History: Clone + Debug + Default + Eq + Hash + Send + Sync;

    /// What the row says of itself.
    const ABOUT: About;

    /// The setup in which its claims are tried, unless another is given.
    fn setup() -> Setup;

    /// The exhibit under a setup. An error is a sentence that names the bound that the setup breaks.
    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String>;

    /// What a node is configured with.
    fn config(&self, node: NodeId) -> <Self::Protocol as Protocol>::Config;

    /// What a client may ask of a node, when so many requests have been put. An exploration tries each, at each node.
    fn requests(&self, asked: u32, node: NodeId) -> Vec<<Self::Protocol as Protocol>::Request>;

    /// What a simulated client asks next, and of whom: any request of any node, unless the exhibit knows better.
    fn ask(
        &self,
        asking: &mut Asking<'_>,
    ) -> Option<(NodeId, <Self::Protocol as Protocol>::Request)> {
        let node = NodeId(asking.rng.below(asking.nodes) + 1);
        let mut requests = self.requests(asking.asked, node);
        let count = requests.len() as u64;
        (count > 0).then(|| (node, requests.swap_remove(asking.rng.below(count) as usize)))
    }

    /// Judges the nodes after a step of one of them, and takes note of what they may forget.
    fn observe(
        &self,
        members: &Members<'_, Self::Protocol>,
        moved: NodeId,
        history: &mut Self::History,
    ) -> Result<(), Broken>;

    /// A request was put to a node. Simulations tell, and explorations if it [hears clients](Exhibit::hears_clients).
    fn asked(
        &self,
        _node: NodeId,
        _id: RequestId,
        _request: &<Self::Protocol as Protocol>::Request,
        _history: &mut Self::History,
    ) {
    }

    /// Judges an answer to a client. Simulations show them, and explorations if it [hears clients](Exhibit::hears_clients).
    fn answered(
        &self,
        _node: NodeId,
        _id: RequestId,
        _response: &<Self::Protocol as Protocol>::Response,
        _history: &mut Self::History,
    ) -> Result<(), Broken> {
        Ok(())
    }

    /// A node has crashed, and these requests will not be answered. Only simulations tell.
    fn crashed(&self, _node: NodeId, _orphans: &BTreeSet<RequestId>, _history: &mut Self::History) {
    }

    /// Whether all has happened that the claims of liveness demand. Asked once everything is well and every request was
    /// put; an error says what has not happened yet, and is the verdict if it never does.
    fn settled(
        &self,
        members: &Members<'_, Self::Protocol>,
        history: &Self::History,
    ) -> Result<(), Broken>;

    /// How its messages, timers, records, requests and answers are put into words: as they print, unless the protocol has
    /// better words.
    fn describe() -> Describe<Self::Protocol> {
        printed()
    }

    /// Within which bounds it is explored. None only if its states have no end, and then its header says so.
    fn scopes() -> Vec<Scope<Self>>;

    /// Whether the protocol keeps the numbers of records. If not, states that differ in nothing but how many were written are
    /// one, so that a run which writes again and again may come back to where it was.
    fn counts_records() -> bool {
        true
    }

    /// Whether explorations tell what clients ask and are answered. What is noted of it is part of each state.
    fn hears_clients(&self) -> bool {
        false
    }

    /// The timers that have fired when an exploration begins, each at the node of that position, every message having
    /// arrived before the next; they use up nothing of the bounds.
    fn prelude(&self) -> Vec<(usize, <Self::Protocol as Protocol>::Timer)> {
        Vec::new()
    }

    /// Whether a message may arrive in an exploration. One that may not is lost as soon as it is sent.
    fn may_arrive(&self, _: &<Self::Protocol as Protocol>::Message) -> bool {
        true
    }

    /// Whether an exploration goes on from nodes that are such. If not, they are judged, and left alone.
    fn is_within(&self, _: &Members<'_, Self::Protocol>) -> bool {
        true
    }

    /// What a run measures besides messages and time.
    fn measures(
        &self,
        _members: &Members<'_, Self::Protocol>,
        _history: &Self::History,
    ) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// What one request costs without faults: message delays, and messages in a cluster of so many nodes. Measured by a
    /// test. None if the row has no such figure.
    fn cost(_nodes: u64) -> Option<(f64, u64)> {
        None
    }
}
