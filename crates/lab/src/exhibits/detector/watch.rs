//! The judge of all failure detectors: it sees who is really down, and compares. And what those have in common that listen
//! to heartbeats, by a clock of ticks.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{NodeId, Protocol};
use quorate_explore::Snapshot;

use crate::about::{Knob, Mutant};
use crate::exhibit::{Broken, Exhibit, Members};
use crate::explored::Explorable;

/// How long a tick is, in milliseconds.
pub(super) const TICK_MS: u64 = 10;
/// What a heartbeat may take before it is noticed, in ticks, where delays keep to the usual bound.
pub(super) const DELAY: u64 = 2;

/// Whether mistakes are allowed.
pub(super) const FLAWLESS: Knob = Knob {
    name: "flawless",
    what: "1 if no mistake is allowed at all, 0 if they have to end",
    min: 0,
    max: 1,
    usual: 1,
};

/// A suspicion for ever.
pub(super) const NEVER_FORGIVES: Mutant = Mutant {
    name: "never_forgives",
    what: "Goes on suspecting a node that is heard of again.",
    breaks: "eventual_accuracy",
    setup: "",
};

/// All nodes but one.
pub(super) fn peers(nodes: &[NodeId], me: NodeId) -> Vec<NodeId> {
    nodes.iter().copied().filter(|node| *node != me).collect()
}

/// Whether anybody suspects anybody.
pub(super) fn is_anybody_suspected<E: Exhibit<Protocol: Detector>>(
    cluster: &Snapshot<'_, Explorable<E>>,
) -> bool {
    cluster.states().any(|state| !state.suspects().is_empty())
}

/// Whether all trust each other after a mistake.
pub(super) fn is_a_suspect_trusted_again<E: Exhibit<Protocol: Detector, History = Watch>>(
    cluster: &Snapshot<'_, Explorable<E>>,
) -> bool {
    cluster.history().mistakes > 0 && !is_anybody_suspected(cluster)
}

/// A failure detector, as its judge sees it.
pub(super) trait Detector: Protocol {
    /// Its own time, in whatever it counts, since it started.
    fn now(&self) -> u64;

    /// Whom it holds to be down.
    fn suspects(&self) -> BTreeSet<NodeId>;
}

/// What a detector must keep to. Times are the detectors' own.
pub(super) struct Demands<'a, P> {
    /// How long a node may be down before this one suspects it.
    pub(super) detects_within: &'a dyn Fn(&P, NodeId) -> u64,
    /// How long a node that was down must be up again before suspecting it is a mistake: others may not have heard of it yet.
    pub(super) known_after: u64,
    /// Whether times and mistakes are counted. If not, the judge remembers no more in the long run than at first.
    pub(super) is_timed: bool,
    /// The claim that a mistake breaks, if none is allowed.
    pub(super) flawless: Option<&'static str>,
}

/// What the judge has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Watch {
    /// Who was found down: since when, by the time of whoever is to notice.
    down: BTreeMap<(NodeId, NodeId), u64>,
    /// Who has been found down at some time.
    returned: BTreeSet<NodeId>,
    suspects: BTreeMap<NodeId, BTreeSet<NodeId>>,
    mistakes: u64,
    /// When a node last made a mistake, by its own time.
    mistaken_at: BTreeMap<NodeId, u64>,
    /// How long it took to notice that nodes were down: the sum, and how often.
    noticed: (u64, u64),
}

impl Watch {
    /// Judges a node that has just moved.
    pub(super) fn observe<P: Detector>(
        &mut self,
        members: &Members<'_, P>,
        moved: NodeId,
        demands: &Demands<'_, P>,
    ) -> Result<(), Broken> {
        let Some(detector) = members.state(moved) else { return Ok(()) };
        let now = detector.now();
        let suspects = detector.suspects();
        let before = self.suspects.remove(&moved).unwrap_or_default();
        self.down.retain(|(by, node), since| {
            *by != moved || (*since <= now && members.state(*node).is_none())
        });
        for node in (1..=members.count()).map(NodeId) {
            if node == moved || members.state(node).is_some() {
                continue;
            }
            self.returned.insert(node);
            let since = *self.down.entry((moved, node)).or_insert(now);
            let is_suspected = suspects.contains(&node);
            if is_suspected && !before.contains(&node) {
                self.noticed.0 += now - since;
                self.noticed.1 += 1;
            }
            let allowed = (demands.detects_within)(detector, node);
            if !is_suspected && now - since > allowed {
                let what =
                    format!("{moved} trusts {node}, which has been down for {}", now - since);
                return Err(Broken::new("completeness", what));
            }
        }
        for node in suspects.difference(&before) {
            let uptime = members.state(*node).map(P::now);
            let is_known = |uptime| uptime >= demands.known_after || !self.returned.contains(node);
            if uptime.is_some_and(is_known) {
                if demands.is_timed {
                    self.mistakes += 1;
                    self.mistaken_at.insert(moved, now);
                }
                if let Some(claim) = demands.flawless {
                    return Err(Broken::new(
                        claim,
                        format!("{moved} suspects {node}, which is up"),
                    ));
                }
            }
        }
        if !suspects.is_empty() {
            self.suspects.insert(moved, suspects);
        }
        Ok(())
    }

    /// That nobody who is up suspects another, and that nobody has made a mistake for some time.
    pub(super) fn settled<P: Detector>(
        &self,
        members: &Members<'_, P>,
        quiet: u64,
    ) -> Result<(), String> {
        for (node, detector) in members.live() {
            if let Some(suspect) = detector.suspects().first() {
                return Err(format!("{node} suspects {suspect}"));
            }
            let mistaken_at = self.mistaken_at.get(&node).copied();
            // Who has started again since has forgotten its mistake, and has to be quiet for as long as anybody.
            let since = mistaken_at.filter(|at| *at <= detector.now()).unwrap_or(0);
            if detector.now() - since < quiet {
                return Err(format!("{node} makes mistakes again and again"));
            }
        }
        Ok(())
    }

    /// That mistakes have come to an end, as a claim.
    pub(super) fn is_accurate_in_the_end<P: Detector>(
        &self,
        members: &Members<'_, P>,
        quiet: u64,
    ) -> Result<(), Broken> {
        self.settled(members, quiet).map_err(|what| Broken::new("eventual_accuracy", what))
    }

    /// Of a detector that counts ticks: how often somebody who was up came to be suspected, and how long it took to notice
    /// that somebody was down.
    pub(super) fn measures(&self) -> Vec<(&'static str, f64)> {
        let mut measures = vec![("mistakes", self.mistakes as f64)];
        measures.extend(self.notice().map(|ticks| ("detection_ms", ticks * TICK_MS as f64)));
        measures
    }

    /// How long it took on average to notice that a node was down, in the detectors' time; none if nobody did.
    pub(super) fn notice(&self) -> Option<f64> {
        let (sum, count) = self.noticed;
        (count > 0).then(|| sum as f64 / count as f64)
    }
}
