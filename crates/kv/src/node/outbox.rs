//! Gathers what the replicas of a node say in one step, so that it leaves in one envelope a peer.

use quorate_core::{Gate, GroupId, NodeId, Out};
use quorate_engine::Engine;
use quorate_protocols::consensus::raft;

use super::{Envelope, Node};

/// An envelope that holds so much is closed. It must stay well below what a frame between peers holds.
const ENVELOPE_BYTES: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Outbox {
    letters: Vec<Letter>,
}

/// An envelope, and what is written on it.
struct Letter {
    to: NodeId,
    gate: Gate,
    envelope: Envelope,
    payload_bytes: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, to: NodeId, gate: Gate, group: GroupId, message: raft::Message) {
        let payload_bytes = message.payload_bytes();
        let is_open = |letter: &&mut Letter| {
            letter.to == to && letter.gate == gate && letter.payload_bytes < ENVELOPE_BYTES
        };
        match self.letters.iter_mut().rfind(is_open) {
            Some(letter) => {
                letter.envelope.messages.push((group, message));
                letter.payload_bytes += payload_bytes;
            }
            None => {
                let envelope = Envelope { messages: vec![(group, message)], unread: 0 };
                self.letters.push(Letter { to, gate, envelope, payload_bytes });
            }
        }
    }

    /// Sends everything. What waits for the disk waits a little longer for having been gathered, never less: every
    /// record of the step was persisted before.
    pub(super) fn send<E: Engine>(&mut self, out: &mut Out<'_, Node<E>>) {
        for Letter { to, gate, envelope, .. } in self.letters.drain(..) {
            match gate {
                Gate::Durable => out.send(to, envelope),
                // Each replica argued for its own message, and a replica's safety depends on its own records alone.
                Gate::Early => out.send_early(to, envelope),
            }
        }
    }
}
