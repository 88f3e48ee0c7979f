//! The replica: it proposes what clients ask for, and performs what is chosen, slot after slot.

use std::collections::{BTreeMap, VecDeque};

use quorate_core::{Out, RequestId};

use super::{Command, Config, Mail, Message, MultiPaxos, Record, Slot, everybody};

/// A command's place among all that were performed: what the state machine answers. The first is 1.
pub type Ticket = u64;

/// A replica (section 2 of the paper).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    /// The next slot that it has no proposal for.
    slot_in: Slot,
    /// The next slot to perform.
    slot_out: Slot,
    /// What it has proposed for no slot yet.
    requests: VecDeque<Command>,
    /// What it has proposed, for slots for which it knows no decision.
    proposals: BTreeMap<Slot, Command>,
    decisions: BTreeMap<Slot, Command>,
    /// The state: every command that was performed, in order.
    performed: Vec<Command>,
    /// The requests to be answered once their command is performed.
    waiting: Vec<(RequestId, Command)>,
}

impl Replica {
    pub(super) fn new(config: &Config, decisions: BTreeMap<Slot, Command>) -> Self {
        let mut replica = Replica {
            slot_in: Slot(1),
            slot_out: Slot(1),
            requests: VecDeque::new(),
            proposals: BTreeMap::new(),
            decisions,
            performed: Vec::new(),
            waiting: Vec::new(),
        };
        while let Some(command) = replica.decisions.get(&replica.slot_out) {
            replica.perform(config, *command);
        }
        replica.slot_in = replica.slot_out;
        replica
    }

    /// Which command is chosen for a slot, as far as this replica knows.
    pub fn decisions(&self) -> &BTreeMap<Slot, Command> {
        &self.decisions
    }

    /// Every command that was performed, in order.
    pub fn performed(&self) -> &[Command] {
        &self.performed
    }

    /// The commands for which clients wait here.
    pub fn awaited(&self) -> impl Iterator<Item = Command> + '_ {
        self.waiting.iter().map(|(_, command)| *command)
    }

    /// A client asks, perhaps not for the first time.
    pub(super) fn on_request(
        &mut self,
        config: &Config,
        id: RequestId,
        command: Command,
        mail: &mut Mail,
        out: &mut Out<'_, MultiPaxos>,
    ) {
        if let Some(ticket) = self.ticket(command) {
            return out.reply(id, ticket);
        }
        self.waiting.push((id, command));
        let is_proposed = self.proposals.values().chain(&self.requests).any(|own| *own == command);
        if !is_proposed {
            self.requests.push_back(command);
            self.propose(config, mail);
        }
    }

    fn ticket(&self, command: Command) -> Option<Ticket> {
        let place = self.performed.iter().position(|performed| *performed == command)?;
        Some(place as Ticket + 1)
    }

    /// Proposes requests for the next slots, within the window.
    fn propose(&mut self, config: &Config, mail: &mut Mail) {
        while self.slot_in.0 < self.slot_out.0 + config.window && !self.requests.is_empty() {
            let slot = self.slot_in;
            self.slot_in.0 += 1;
            if self.decisions.contains_key(&slot) {
                continue;
            }
            if let Some(command) = self.requests.pop_front() {
                self.proposals.insert(slot, command);
                tell_leaders(config, slot, command, mail);
            }
        }
    }

    /// A command is chosen for a slot.
    pub(super) fn on_decision(
        &mut self,
        config: &Config,
        slot: Slot,
        command: Command,
        mail: &mut Mail,
        out: &mut Out<'_, MultiPaxos>,
    ) {
        let known = self.decisions.insert(slot, command);
        if known == Some(command) {
            return;
        }
        out.persist(Record::Decided(slot, command));
        if let Some(own) = self.proposals.remove(&slot)
            && own != command
            && !config.mutants.has("forgets_what_lost_its_slot")
        {
            // Another command has the slot: its own is proposed again for a later one.
            self.requests.push_back(own);
        }
        if config.mutants.has("performs_as_they_come") {
            self.perform(config, command);
        } else {
            while let Some(next) = self.decisions.get(&self.slot_out) {
                self.perform(config, *next);
            }
        }
        self.answer(out);
        self.propose(config, mail);
    }

    /// Performs the command of the next slot, unless an earlier slot had it too.
    fn perform(&mut self, config: &Config, command: Command) {
        self.slot_out.0 += 1;
        // §2: a client that asks two replicas may have its command chosen for two slots.
        if !self.performed.contains(&command) || config.mutants.has("performs_a_retry_again") {
            self.performed.push(command);
        }
    }

    fn answer(&mut self, out: &mut Out<'_, MultiPaxos>) {
        for (id, command) in std::mem::take(&mut self.waiting) {
            match self.ticket(command) {
                Some(ticket) => out.reply(id, ticket),
                None => self.waiting.push((id, command)),
            }
        }
    }

    /// Proposals and decisions may have been lost.
    pub(super) fn say_again(&self, config: &Config, mail: &mut Mail) {
        for (slot, command) in &self.proposals {
            tell_leaders(config, *slot, *command, mail);
        }
        let others = everybody(config).filter(|node| *node != config.me);
        mail.extend(others.map(|to| (to, Message::Learn(self.slot_out))));
    }

    /// What it has performed, and what is chosen beyond a gap.
    pub(super) fn view(&self) -> Vec<String> {
        let mut words = Vec::new();
        if !self.performed.is_empty() {
            words.push(format!("performed {:?}", self.performed));
        }
        let beyond = self.decisions.range(self.slot_out..);
        words.extend(beyond.map(|(slot, command)| format!("{command:?} waits in {slot:?}")));
        words
    }
}

fn tell_leaders(config: &Config, slot: Slot, command: Command, mail: &mut Mail) {
    let leaders = everybody(config).filter(|node| config.leaders.contains(node));
    mail.extend(leaders.map(|to| (to, Message::Propose(slot, command))));
}
