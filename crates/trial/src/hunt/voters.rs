//! The hunt for voters: who has voted crashes, and is back while somebody else asks for the same vote.
//!
//! A vote must outlive its voter (Raft, figure 2: `votedFor` is persistent). That shows only where several campaign in
//! one term and a voter crashes between two of their questions, so the hunt has all campaign at once, and the voters
//! crash.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::{Host, NodeId};
use quorate_kv::node::Node;
use quorate_protocols::consensus::raft::Term;
use quorate_sim::{Cluster, Fault, Ppm};

use super::Means;

/// How often a voter crashes before its vote is durable, rather than once it has left.
const EARLY: Ppm = Ppm::percent(30);

/// Who has voted.
#[derive(Default)]
pub(crate) struct Voters {
    /// The newest term whose leader was taken away.
    led: Term,
    /// The newest term that each member was seen in.
    terms: BTreeMap<NodeId, Term>,
    /// Who has just voted, most likely, and is about to crash.
    voter: Option<NodeId>,
}

impl Voters {
    pub(super) fn strike(
        &mut self,
        node: NodeId,
        cluster: &Cluster<'_, Node>,
        means: &mut Means,
    ) -> Vec<Fault> {
        let Some(member) = means.member(node, cluster) else { return Vec::new() };
        if member.is_leader() {
            let has_opened_term = member.log().term_at(member.commit()) == Some(member.term());
            if !has_opened_term || member.term() <= self.led {
                return Vec::new();
            }
            self.led = member.term();
            return take_away(node, cluster, means);
        }
        let before = self.terms.insert(node, member.term()).unwrap_or_default();
        if member.term() > before && !member.is_candidate() {
            self.voter = Some(node);
        }
        let is_durable = cluster.host(node).is_some_and(is_durable);
        if self.voter != Some(node) || !(is_durable || means.rng.happens(EARLY)) {
            return Vec::new();
        }
        self.voter = None;
        let downs = Duration::from_micros(1)..Duration::from_millis(1);
        let down = means.rng.duration_by_magnitude(&downs);
        vec![Fault::Crash { node, down, mid_write: false }]
    }
}

/// Silences a leader, and tells everybody at once that it is lost, so that they all campaign.
fn take_away(leader: NodeId, cluster: &Cluster<'_, Node>, means: &mut Means) -> Vec<Fault> {
    let others = cluster.nodes().filter(|other| *other != leader);
    let alarms = others.map(|node| Fault::FalseAlarm { node, peer: leader });
    alarms.chain([Fault::Pause { node: leader, lasts: means.timeouts(1..3) }]).collect()
}

fn is_durable(host: &Host<Node>) -> bool {
    host.durable() == host.persisted()
}
