//! Nodes that are killed, as `kill -9` does, and started again a while later.
//!
//! Who is killed and when is drawn ahead from the seed, one node at a time. A killed node hears nothing, and clients
//! beside it ask nothing, until it has been started and introduced again. What they had asked is in doubt. All are back
//! before the network heals.

use std::ops::Range;
use std::time::Duration;

use quorate_sim::Rng;

use super::{Due, Run};
use crate::address::NodeIndex;
use crate::fault::{Complaint, NodeFault};
use crate::history::Outcome;
use crate::nodes::Nodes;
use crate::workload::Script;

/// How long a node is down, and how long it is until the next goes.
const DOWN: Range<Duration> = Duration::from_millis(100)..Duration::from_millis(1_200);
const BETWEEN: Range<Duration> = Duration::from_millis(200)..Duration::from_millis(1_200);

const PURPOSE_KILLS: u64 = 2;

impl<N: Nodes, S: Script> Run<'_, N, S> {
    pub(super) fn plan_kills(&mut self, now: Duration) {
        if !self.options.has_kills {
            return;
        }
        let Self { options, .. } = self;
        for (node, span) in draw(options.seed, options.nodes, options.requests_last) {
            self.later(now + span.start, Due::Dies(node));
            self.later(now + span.end, Due::Returns(node));
        }
    }

    pub(super) fn kill(&mut self, node: NodeIndex, now: Duration) {
        if !self.down.insert(node) {
            // It has not come back from the last time yet.
            return;
        }
        self.nodes.kill(node);
        self.kills += 1;
        for place in 0..self.clients.len() {
            let client = &self.clients[place];
            if let Some((op, _)) = client.open.filter(|_| client.node == node) {
                self.settle(place, op, Outcome::Unknown, now);
            }
        }
    }

    pub(super) fn start_again(&mut self, node: NodeIndex) -> Result<(), NodeFault> {
        if self.introductions.contains_key(&node) || !self.down.contains(&node) {
            return Ok(());
        }
        if let Err(error) = self.nodes.start_again(node) {
            return Err(self.fault(node, Complaint::Gone { why: error.to_string() }, None));
        }
        self.introduce(node, "init");
        Ok(())
    }

    /// Waits until everybody is back.
    pub(super) fn await_the_killed(&mut self) -> Result<(), NodeFault> {
        while !self.down.is_empty() {
            self.turn(Duration::MAX)?;
        }
        Ok(())
    }
}

/// Who is down from when to when, since the faults began.
fn draw(seed: u64, nodes: u16, faults_last: Duration) -> Vec<(NodeIndex, Range<Duration>)> {
    let mut rng = Rng::for_purpose(seed, PURPOSE_KILLS);
    let mut kills = Vec::new();
    let mut start = rng.duration(&BETWEEN);
    while start < faults_last {
        let end = start + rng.duration(&DOWN);
        let node = NodeIndex(rng.below(u64::from(nodes)) as u16);
        kills.push((node, start..end.min(faults_last)));
        start = end + rng.duration(&BETWEEN);
    }
    kills
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_is_down_and_all_are_back_in_the_end() {
        let last = Duration::from_secs(10);
        for seed in 0..20 {
            let kills = draw(seed, 5, last);
            assert!(kills.len() > 3);
            assert!(kills.windows(2).all(|two| two[0].1.end < two[1].1.start));
            assert!(kills.iter().all(|(node, span)| node.0 < 5 && span.end <= last));
            assert_ne!(kills, draw(seed + 1, 5, last));
        }
    }
}
