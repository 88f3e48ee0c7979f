//! The leader, and what it spawns: a scout for phase 1 of a ballot, a commander for phase 2 of each slot.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use quorate_core::NodeId;
use quorate_core::quorum::majority;

use super::{Accepted, Ballot, Command, Config, Mail, Message, Slot, everybody};

/// A leader (section 2 of the paper).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leader {
    ballot: Ballot,
    phase: Phase,
    /// What it is to have chosen, and doesn't know to be chosen yet.
    proposals: BTreeMap<Slot, Command>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// It waits.
    Passive,
    /// It has acceptors adopt its ballot.
    Scouting(Scout),
    /// A majority has adopted its ballot. Of the commanders, those that have not finished.
    Active(BTreeMap<Slot, Commander>),
}

/// Phase 1 for all slots at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Scout {
    adopted_by: BTreeSet<NodeId>,
    /// Of what those have accepted, the newest for each slot: pmax of the paper.
    accepted: Accepted,
}

/// Phase 2 for one slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Commander {
    command: Command,
    accepted_by: BTreeSet<NodeId>,
}

impl Leader {
    /// A leader that starts on a node whose acceptor has adopted `adopted`.
    pub(super) fn new(config: &Config, adopted: Option<Ballot>) -> Self {
        // Its own acceptor adopts each of its ballots before any other hears of it, so this one is new even after a crash.
        let round = adopted.map_or(0, |ballot| ballot.round) + 1;
        let ballot = Ballot { round, of: config.me };
        Leader { ballot, phase: Phase::Passive, proposals: BTreeMap::new() }
    }

    pub(super) fn leads(&self) -> Option<Ballot> {
        matches!(self.phase, Phase::Active(_)).then_some(self.ballot)
    }

    /// A command is chosen for the slot.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.proposals.remove(&slot);
    }

    /// Whether it has nothing to have chosen.
    pub(super) fn is_idle(&self) -> bool {
        self.proposals.is_empty()
    }

    /// Takes a command for a slot for which it has none.
    pub(super) fn on_propose(
        &mut self,
        config: &Config,
        slot: Slot,
        command: Command,
        mail: &mut Mail,
    ) {
        if let Entry::Vacant(free) = self.proposals.entry(slot) {
            free.insert(command);
            self.command(config, slot, command, mail);
        }
    }

    /// Spawns a scout, unless it has one or needs none.
    pub(super) fn begin(&mut self, config: &Config, mail: &mut Mail) {
        if matches!(self.phase, Phase::Passive) {
            self.phase = Phase::Scouting(Scout::default());
            mail.extend(everybody(config).map(|to| (to, Message::P1a(self.ballot))));
        }
    }

    /// Spawns a commander, if it is active.
    fn command(&mut self, config: &Config, slot: Slot, command: Command, mail: &mut Mail) {
        if let Phase::Active(commanders) = &mut self.phase {
            commanders.insert(slot, Commander { command, accepted_by: BTreeSet::new() });
            mail.extend(everybody(config).map(|to| (to, Message::P2a(self.ballot, slot, command))));
        }
    }

    /// To the scout.
    pub(super) fn on_p1b(
        &mut self,
        config: &Config,
        from: NodeId,
        ballot: Ballot,
        accepted: Accepted,
        decisions: &BTreeMap<Slot, Command>,
        mail: &mut Mail,
    ) {
        self.on_ballot(config, ballot);
        let Phase::Scouting(scout) = &mut self.phase else { return };
        if ballot != self.ballot {
            return;
        }
        scout.adopted_by.insert(from);
        for (slot, (ballot, command)) in accepted {
            let newest = scout.accepted.entry(slot).or_insert((ballot, command));
            let is_newer = match config.mutants.has("adopts_the_oldest") {
                true => ballot < newest.0,
                false => ballot > newest.0,
            };
            if is_newer {
                *newest = (ballot, command);
            }
        }
        if scout.adopted_by.len() >= majority(config.nodes.len()) {
            let adopted = std::mem::take(&mut scout.accepted);
            self.on_adopted(config, adopted, decisions, mail);
        }
    }

    /// A majority has adopted the ballot: phase 2 begins for all slots.
    fn on_adopted(
        &mut self,
        config: &Config,
        adopted: Accepted,
        decisions: &BTreeMap<Slot, Command>,
        mail: &mut Mail,
    ) {
        // §2, an acceptor's accepted pvalues bind later ballots: what an earlier ballot may have chosen for a slot goes before any proposal of its own there.
        if !config.mutants.has("skips_adopted_values") {
            self.proposals.extend(adopted.iter().map(|(slot, (_, command))| (*slot, *command)));
        }
        self.proposals.retain(|slot, _| !decisions.contains_key(slot));
        self.phase = Phase::Active(BTreeMap::new());
        for (slot, command) in self.proposals.clone() {
            self.command(config, slot, command, mail);
        }
    }

    /// To the commander of a slot.
    pub(super) fn on_p2b(
        &mut self,
        config: &Config,
        from: NodeId,
        ballot: Ballot,
        slot: Slot,
        mail: &mut Mail,
    ) {
        self.on_ballot(config, ballot);
        let Phase::Active(commanders) = &mut self.phase else { return };
        let Some(commander) = commanders.get_mut(&slot).filter(|_| ballot == self.ballot) else {
            return;
        };
        commander.accepted_by.insert(from);
        if commander.accepted_by.len() >= majority(config.nodes.len()) {
            let decision = Message::Decision(slot, commander.command);
            commanders.remove(&slot);
            mail.extend(everybody(config).map(|to| (to, decision.clone())));
        }
    }

    /// An acceptor has adopted a ballot: the leader is preempted if it is newer than its own.
    fn on_ballot(&mut self, config: &Config, ballot: Ballot) {
        if ballot > self.ballot {
            self.phase = Phase::Passive;
            self.ballot = Ballot { round: ballot.round + 1, of: config.me };
        }
    }

    /// Says again what was not answered, or begins.
    pub(super) fn on_timer(&mut self, config: &Config, mail: &mut Mail) {
        if self.is_idle() {
            return;
        }
        match &self.phase {
            Phase::Passive => self.begin(config, mail),
            Phase::Scouting(scout) => {
                let silent = everybody(config).filter(|node| !scout.adopted_by.contains(node));
                mail.extend(silent.map(|to| (to, Message::P1a(self.ballot))));
            }
            Phase::Active(commanders) => {
                for (slot, commander) in commanders {
                    let p2a = Message::P2a(self.ballot, *slot, commander.command);
                    let silent =
                        everybody(config).filter(|node| !commander.accepted_by.contains(node));
                    mail.extend(silent.map(|to| (to, p2a.clone())));
                }
            }
        }
    }

    pub(super) fn view(&self) -> String {
        match self.phase {
            Phase::Passive => String::new(),
            Phase::Scouting(_) => format!("scouting {:?}", self.ballot),
            Phase::Active(_) => format!("leading {:?}", self.ballot),
        }
    }
}
