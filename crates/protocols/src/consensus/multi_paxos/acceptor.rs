//! The acceptor: the memory that outlives leaders.

use quorate_core::Out;

use super::{Accepted, Ballot, Command, Message, MultiPaxos, Record, Slot};

/// The memory of an acceptor (section 2 of the paper).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Acceptor {
    /// The newest ballot that it has adopted. It takes no part in earlier ones.
    ballot: Option<Ballot>,
    accepted: Accepted,
}

impl Acceptor {
    pub(super) fn ballot(&self) -> Option<Ballot> {
        self.ballot
    }

    pub(super) fn adopt(&mut self, ballot: Ballot) {
        self.ballot = self.ballot.max(Some(ballot));
    }

    pub(super) fn accept(&mut self, ballot: Ballot, slot: Slot, command: Command) {
        self.adopt(ballot);
        self.accepted.insert(slot, (ballot, command));
    }

    /// Phase 1. The answer tells a scout whether it was overtaken, and what may have been chosen already.
    pub(super) fn on_p1a(&mut self, ballot: Ballot, out: &mut Out<'_, MultiPaxos>) -> Message {
        if self.ballot < Some(ballot) {
            self.adopt(ballot);
            out.persist(Record::Adopted(ballot));
        }
        Message::P1b(self.ballot.unwrap_or(ballot), self.accepted.clone())
    }

    /// Phase 2. The answer tells a commander whether it was overtaken.
    pub(super) fn on_p2a(
        &mut self,
        ballot: Ballot,
        slot: Slot,
        command: Command,
        out: &mut Out<'_, MultiPaxos>,
    ) -> Message {
        if self.ballot <= Some(ballot) {
            self.accept(ballot, slot, command);
            out.persist(Record::Accepted(ballot, slot, command));
        }
        Message::P2b(self.ballot.unwrap_or(ballot), slot)
    }
}
