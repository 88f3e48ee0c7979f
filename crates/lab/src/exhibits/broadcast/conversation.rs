//! What the broadcasts that carry a conversation share on show: who says what, and the claims that all of them make.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Snapshot, Syncs, UNBOUNDED};
use quorate_protocols::broadcast::causal::CausalBroadcast;
use quorate_protocols::broadcast::fifo::FifoBroadcast;
use quorate_protocols::broadcast::reliable::{Config, ReliableBroadcast, Resend};
use quorate_protocols::broadcast::total::TotalOrderBroadcast;
use quorate_protocols::broadcast::{Line, Parcel, ParcelId};

use crate::about::Claim;
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::setup::Setup;

pub(crate) const INTEGRITY: Claim = Claim {
    name: "integrity",
    what: "Nobody delivers a parcel twice, and all deliver it as it was broadcast.",
};

pub(crate) const AGREEMENT: Claim = Claim {
    name: "agreement",
    what: "Once all is well, everybody delivers what anybody has delivered or was told to broadcast.",
};

/// A node that hears the conversation, whatever the order.
pub(crate) trait Hears {
    /// What was delivered here, in that order.
    fn delivered(&self) -> &[Parcel<Line>];

    /// Whether everybody is known to have all that came here.
    fn is_quiet(&self) -> bool;
}

macro_rules! hears {
    ($($protocol:ident),*) => {
        $(impl Hears for $protocol<Line> {
            fn delivered(&self) -> &[Parcel<Line>] {
                self.delivered()
            }

            fn is_quiet(&self) -> bool {
                self.is_quiet()
            }
        })*
    };
}
hears!(ReliableBroadcast, FifoBroadcast, CausalBroadcast, TotalOrderBroadcast);

/// A group of nodes that talk.
pub(crate) struct Conversation {
    nodes: Vec<NodeId>,
    mutants: LabMutants,
}

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Said {
    /// What each parcel says. One that its origin lost in a crash before anybody could hear of it gives its name to the next.
    lines: BTreeMap<ParcelId, Line>,
    /// What was delivered at the origin of each parcel before it.
    before: BTreeMap<ParcelId, BTreeSet<ParcelId>>,
    /// What clients were told is broadcast.
    promised: BTreeSet<ParcelId>,
}

impl Said {
    /// A client was told that this is broadcast.
    pub(crate) fn promise(&mut self, id: ParcelId) {
        self.promised.insert(id);
    }
}

impl Conversation {
    pub(crate) fn new(setup: &Setup, mutants: LabMutants) -> Self {
        Conversation { nodes: setup.ids().collect(), mutants }
    }

    /// Faults that strike a conversation by chance.
    pub(crate) fn setup() -> Setup {
        Setup {
            requests: 6,
            lasts_ms: 1_000,
            loss: 20,
            duplicates: 20,
            crashes: 2,
            partitions: 1,
            ..Setup::default()
        }
    }

    pub(crate) fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        Config { me, nodes: self.nodes.clone(), patience: ms(40)..ms(60), mutants: self.mutants }
    }

    /// The first line is the question; all the others are replies.
    pub(crate) fn line(asked: u32) -> Line {
        if asked == 0 { Line::Question } else { Line::Reply(asked) }
    }
}

/// Takes note of what a node has broadcast, which is among what has come to it, and judges integrity.
pub(crate) fn integrity(
    node: NodeId,
    come: impl Iterator<Item = Parcel<Line>>,
    delivered: &[Parcel<Line>],
    said: &mut Said,
) -> Result<(), Broken> {
    let own = come.filter(|parcel| parcel.id.origin == node);
    said.lines.extend(own.map(|Parcel { id, content }| (id, content)));
    let mut before = BTreeSet::new();
    for Parcel { id, content } in delivered {
        if said.lines.get(id) != Some(content) {
            let what = format!("{node} delivered {content:?} as {id:?}, which its origin did not");
            return Err(Broken::new(INTEGRITY.name, what));
        }
        if !before.insert(*id) {
            return Err(Broken::new(INTEGRITY.name, format!("{node} delivered {id:?} twice")));
        }
    }
    Ok(())
}

/// Judges whether a node delivered the parcels of each origin one after the other.
pub(crate) fn fifo_order(
    claim: &str,
    node: NodeId,
    delivered: &[Parcel<Line>],
) -> Result<(), Broken> {
    let mut counts: BTreeMap<NodeId, u64> = BTreeMap::new();
    for Parcel { id, .. } in delivered {
        let count = counts.entry(id.origin).or_default();
        *count += 1;
        if id.number != *count {
            let what = format!("{node} delivered {id:?} before {}.{count}", id.origin);
            return Err(Broken::new(claim, what));
        }
    }
    Ok(())
}

/// Takes note of what a node had delivered before it broadcast, and judges whether it delivered, before each parcel, what its
/// origin had delivered before.
pub(crate) fn causal_order(
    claim: &str,
    node: NodeId,
    delivered: &[Parcel<Line>],
    said: &mut Said,
) -> Result<(), Broken> {
    let mut seen = BTreeSet::new();
    for Parcel { id, .. } in delivered {
        if id.origin == node {
            said.before.insert(*id, seen.clone());
        }
        let mut needed = said.before.get(id).into_iter().flatten();
        if let Some(missing) = needed.find(|before| !seen.contains(before)) {
            let what = format!(
                "{node} delivered {id:?} without {missing:?}, which {} had delivered before",
                id.origin
            );
            return Err(Broken::new(claim, what));
        }
        seen.insert(*id);
    }
    Ok(())
}

/// Judges whether of what two nodes have delivered one is the beginning of the other.
pub(crate) fn total_order<'a>(
    claim: &str,
    (node, delivered): (NodeId, &[Parcel<Line>]),
    others: impl Iterator<Item = (NodeId, &'a [Parcel<Line>])>,
) -> Result<(), Broken> {
    for (other, theirs) in others {
        let mut both = delivered.iter().zip(theirs);
        if let Some((ours, theirs)) = both.find(|(ours, theirs)| ours.id != theirs.id) {
            let (ours, theirs) = (ours.id, theirs.id);
            let what = format!("{node} delivered {ours:?} where {other} delivered {theirs:?}");
            return Err(Broken::new(claim, what));
        }
    }
    Ok(())
}

/// Judges whether everybody has delivered what anybody has, and what clients were told is broadcast, and whether nobody knows
/// of somebody who lacks something.
pub(crate) fn agreement<P: Hears>(members: &Members<'_, P>, said: &Said) -> Result<(), Broken> {
    let names = |node: &P| -> BTreeSet<ParcelId> {
        node.delivered().iter().map(|parcel| parcel.id).collect()
    };
    let mut due = said.promised.clone();
    members.live().for_each(|(_, node)| due.extend(names(node)));
    for (id, node) in members.live() {
        if let Some(missing) = due.difference(&names(node)).next() {
            let what = format!("{id} has not delivered {missing:?}");
            return Err(Broken::new(AGREEMENT.name, what));
        }
    }
    match members.live().find(|(_, node)| !node.is_quiet()) {
        Some((id, _)) => {
            let what = format!("{id} doesn't know that everybody has what it has");
            Err(Broken::new(AGREEMENT.name, what))
        }
        None => Ok(()),
    }
}

/// What every fair run of a conversation comes to.
struct Due<E>(PhantomData<E>);

impl<E: Exhibit<Protocol: Hears>> Due<E> {
    /// Agreement, of each of three nodes.
    const AGREEMENT: &'static [Eventually<Explorable<E>>] = &[
        Eventually {
            name: "agreement: n1 delivers whatever anybody does",
            after: Some(|cluster| !has_all(cluster, 0)),
            comes: |cluster| has_all(cluster, 0),
        },
        Eventually {
            name: "agreement: n2 delivers whatever anybody does",
            after: Some(|cluster| !has_all(cluster, 1)),
            comes: |cluster| has_all(cluster, 1),
        },
        Eventually {
            name: "agreement: n3 delivers whatever anybody does",
            after: Some(|cluster| !has_all(cluster, 2)),
            comes: |cluster| has_all(cluster, 2),
        },
    ];
}

/// Whether a node has delivered all that anybody has.
pub(crate) fn has_all<E>(cluster: &Snapshot<'_, Explorable<E>>, place: usize) -> bool
where
    E: Exhibit<Protocol: Hears>,
{
    let delivered = cluster.state(place).delivered();
    cluster.states().flat_map(Hears::delivered).all(|parcel| delivered.contains(parcel))
}

/// Within which bounds a conversation is explored in which nobody but the origin of a parcel decides when it may be delivered.
pub(crate) fn scopes<E>(goals: &'static [Goal<Explorable<E>>]) -> Vec<Scope<E>>
where
    E: Exhibit<Protocol: Hears + quorate_core::Protocol<Timer = Resend>>,
{
    let scope = |what, setup| Scope {
        what,
        setup,
        bounds: Bounds { requests: 2, ..Bounds::default() },
        // Where nothing is lost, nobody need send again.
        timers: Vec::new(),
        syncs: Syncs::EachTurn,
        // A parcel is named after its origin, and its number says which came first.
        is_symmetric: false,
        breaks: None,
        goals,
        awaited: Due::<E>::AGREEMENT,
    };
    vec![
        scope("two parcels of three nodes", "nodes=3"),
        scope(
            "two parcels of three nodes, of which two never hear each other",
            "nodes=3&faults=link:n1.n3@0+0",
        ),
        Scope {
            bounds: Bounds { crashes: 1, repeats: 1, requests: 2, hints: 0 },
            timers: vec![(Resend, UNBOUNDED)],
            awaited: Due::<E>::AGREEMENT.split_at(2).0,
            ..scope("two parcels, a crash, a repeat", "nodes=2")
        },
    ]
}
