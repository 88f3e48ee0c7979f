//! The judge of all failure detectors: it sees who is really down, and compares.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{NodeId, Protocol};

use crate::exhibit::{Broken, Members};

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
                self.mistakes += 1;
                self.mistaken_at.insert(moved, now);
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

    /// How often somebody who was up came to be suspected.
    pub(super) fn mistakes(&self) -> u64 {
        self.mistakes
    }

    /// How long it took on average to notice that a node was down, in the detectors' time; none if nobody did.
    pub(super) fn notice(&self) -> Option<f64> {
        let (sum, count) = self.noticed;
        (count > 0).then(|| sum as f64 / count as f64)
    }
}
