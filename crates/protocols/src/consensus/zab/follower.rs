//! The follower of all three phases.

use quorate_core::{NodeId, Out};

use super::{Config, Epoch, Message, Record, Role, Timer, Transaction, Zab, Zxid};

impl Zab {
    /// Follows a leader, prospective or not, and tells it which epoch was promised last.
    fn follow(&mut self, config: &Config, leader: NodeId, out: &mut Out<'_, Self>) {
        self.role = Role::Following(leader);
        out.send(leader, Message::Cepoch(self.durable.promised));
        out.arm(Timer::Patience, config.patience.clone());
    }

    /// Somebody stands.
    pub(super) fn on_stand(
        &mut self,
        config: &Config,
        from: NodeId,
        promised: Epoch,
        out: &mut Out<'_, Self>,
    ) {
        match self.role {
            Role::Looking | Role::Standing(_) => self.follow(config, from, out),
            // It knows of an epoch after ours, and cannot come back to this one: all begin anew.
            Role::Broadcasting(_) if promised > self.durable.promised => {
                self.stand(config, out);
            }
            Role::Broadcasting(_) => {
                out.send(from, Message::Commit(self.durable.promised, self.committed));
            }
            Role::Following(leader) if leader == from => self.follow(config, from, out),
            _ => {}
        }
    }

    /// Phase 1. Of two leaders of one epoch a follower promises it to one, so no two have a majority.
    pub(super) fn on_new_epoch(
        &mut self,
        config: &Config,
        from: NodeId,
        epoch: Epoch,
        out: &mut Out<'_, Self>,
    ) {
        if self.role != Role::Following(from) || self.durable.promised >= epoch {
            return;
        }
        self.durable.promised = epoch;
        out.persist(Record::Promised(epoch));
        let (acknowledged, history) = (self.durable.acknowledged, self.durable.history.clone());
        out.send(from, Message::AckEpoch(epoch, acknowledged, history));
        out.arm(Timer::Patience, config.patience.clone());
    }

    /// Phase 2. The leader's history takes the place of the follower's own, of which the rest can't have been committed.
    pub(super) fn on_new_leader(
        &mut self,
        config: &Config,
        from: NodeId,
        epoch: Epoch,
        history: Vec<Transaction>,
        out: &mut Out<'_, Self>,
    ) {
        if self.role != Role::Following(from) || self.durable.promised != epoch {
            return;
        }
        // In an epoch that it is part of already it has a part of the same history, perhaps the longer one.
        let is_new = self.durable.acknowledged < epoch;
        if is_new || history.len() > self.durable.history.len() {
            self.durable.acknowledged = epoch;
            if !config.mutants.has("skips_synchronisation") {
                self.durable.history = history;
            }
            let history = self.durable.history.clone();
            out.persist(Record::Acknowledged(epoch, history));
        }
        out.send(from, Message::Ack(epoch, self.durable.last()));
        out.arm(Timer::Patience, config.patience.clone());
        self.deliver(self.committed, out);
    }

    /// Phase 3: the next transaction.
    pub(super) fn on_propose(
        &mut self,
        config: &Config,
        from: NodeId,
        epoch: Epoch,
        transaction: Transaction,
        out: &mut Out<'_, Self>,
    ) {
        if self.role != Role::Following(from) || self.durable.acknowledged != epoch {
            return;
        }
        out.arm(Timer::Patience, config.patience.clone());
        let Zxid(last_epoch, last) = self.durable.last();
        let next = if last_epoch == epoch { Zxid(epoch, last + 1) } else { Zxid(epoch, 1) };
        let is_later = transaction.0 > next && config.mutants.has("accepts_with_a_gap");
        if transaction.0 == next || is_later {
            self.durable.history.push(transaction);
            out.persist(Record::Accepted(transaction));
        }
        out.send(from, Message::Ack(epoch, self.durable.last()));
        self.deliver(self.committed, out);
    }

    /// Phase 3: a leader lives, and says what is committed.
    pub(super) fn on_commit(
        &mut self,
        config: &Config,
        from: NodeId,
        epoch: Epoch,
        upto: Zxid,
        out: &mut Out<'_, Self>,
    ) {
        let follows = self.role == Role::Following(from);
        if follows && self.durable.acknowledged == epoch {
            out.arm(Timer::Patience, config.patience.clone());
            self.deliver(upto, out);
        } else if epoch > self.durable.promised
            || (epoch == self.durable.promised && (follows || self.is_without_leader()))
        {
            self.follow(config, from, out);
        }
    }

    fn is_without_leader(&self) -> bool {
        matches!(self.role, Role::Looking | Role::Standing(_))
    }
}
