//! Gathers what the replicas of a node say in one step, so that it leaves in one envelope a peer.

use quorate_core::{Gate, GroupId, NodeId, Out};
use quorate_protocols::consensus::raft;

use super::{Envelope, Node};

#[derive(Default)]
pub(super) struct Outbox {
    letters: Vec<(NodeId, Gate, Envelope)>,
}

impl Outbox {
    pub(super) fn push(&mut self, to: NodeId, gate: Gate, group: GroupId, message: raft::Message) {
        let same = |(peer, of, _): &&mut (NodeId, Gate, Envelope)| *peer == to && *of == gate;
        match self.letters.iter_mut().find(same) {
            Some((_, _, envelope)) => envelope.messages.push((group, message)),
            None => self.letters.push((to, gate, Envelope { messages: vec![(group, message)] })),
        }
    }

    /// Sends everything. What waits for the disk waits a little longer for having been gathered, never less: every
    /// record of the step was persisted before.
    pub(super) fn send(&mut self, out: &mut Out<'_, Node>) {
        for (to, gate, envelope) in self.letters.drain(..) {
            match gate {
                Gate::Durable => out.send(to, envelope),
                // Each replica argued for its own message, and a replica's safety depends on its own records alone.
                Gate::Early => out.send_early(to, envelope),
            }
        }
    }
}
