//! Normal operation (section 4.1) and state transfer (5.2): the primary orders, f backups vouch, the rest catch up.

use quorate_core::{NodeId, Out, RequestId};

use super::{
    Config, Entry, Known, Message, OpNumber, Operation, Prepared, Replica, Status, Timer, View,
    broadcast,
};

impl Replica {
    pub(super) fn on_ask(
        &mut self,
        config: &Config,
        id: RequestId,
        operation: Operation,
        out: &mut Out<'_, Self>,
    ) {
        self.waiting.insert(id, operation);
        self.answer_those_who_wait(out);
        if self.waiting.contains_key(&id) {
            self.submit(config, operation, out);
            out.arm(Timer::Resubmit, config.again.clone());
        }
    }

    pub(super) fn resubmit(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        for operation in self.waiting.values().copied().collect::<Vec<_>>() {
            self.submit(config, operation, out);
        }
        if !self.waiting.is_empty() {
            out.arm(Timer::Resubmit, config.again.clone());
        }
    }

    fn submit(&mut self, config: &Config, operation: Operation, out: &mut Out<'_, Self>) {
        let primary = config.primary(self.view);
        if primary == config.me {
            self.on_request(config, operation, out);
        } else {
            out.send(primary, Message::Request(operation));
        }
    }

    /// Section 4.1, steps 2 and 3.
    pub(super) fn on_request(
        &mut self,
        config: &Config,
        operation: Operation,
        out: &mut Out<'_, Self>,
    ) {
        let is_known = self
            .client_table
            .get(&operation.client)
            .is_some_and(|entry| entry.request >= operation.request);
        // The table is what makes a request that is sent again take effect once.
        if !self.is_primary(config) || is_known {
            return;
        }
        self.append(operation);
        broadcast(config, &self.newest_prepare(operation), out);
        out.arm(Timer::Heartbeat, config.heartbeat.clone());
    }

    fn append(&mut self, operation: Operation) {
        self.log.push(operation);
        let entry = Entry { request: operation.request, executed: None };
        self.client_table.insert(operation.client, entry);
    }

    fn newest_prepare(&self, operation: Operation) -> Message {
        let (number, commit) = (self.op_number(), self.commit);
        Message::Prepare(self.view, Prepared { operation, number, commit })
    }

    /// A primary with nothing to say says how far it is; what is not committed yet may have been lost on its way.
    pub(super) fn on_heartbeat(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if !self.is_primary(config) {
            return;
        }
        let newest = self.log.last().filter(|_| self.commit < self.op_number());
        let message = match newest {
            Some(operation) => self.newest_prepare(*operation),
            None => Message::Commit(self.view, self.commit),
        };
        broadcast(config, &message, out);
        out.arm(Timer::Heartbeat, config.heartbeat.clone());
    }

    /// Whether a primary speaks to a backup of its view. One that is behind asks for what it missed.
    fn hears(
        &mut self,
        config: &Config,
        from: NodeId,
        view: View,
        out: &mut Out<'_, Self>,
    ) -> bool {
        let is_nonsense = config.primary(view) != from;
        if self.status == Status::Recovering || view < self.view || is_nonsense {
            return false;
        }
        out.arm(Timer::Suspect, config.patience.clone());
        if view > self.view || self.status == Status::ViewChange {
            let after = self.agreed_with(config, view);
            out.send(from, Message::GetState(view, after));
            return false;
        }
        true
    }

    /// How much of the log is sure to be as it is in a view.
    fn agreed_with(&self, config: &Config, view: View) -> OpNumber {
        let is_in_view = self.status == Status::Normal && view == self.view;
        // Section 5.2: logs of one view are prefixes of each other; in a later one what lies behind the commit-number may
        // have been replaced.
        if is_in_view || config.mutants.has("keeps_its_tail") {
            self.op_number()
        } else {
            self.commit
        }
    }

    /// Section 4.1, step 4.
    pub(super) fn on_prepare(
        &mut self,
        config: &Config,
        from: NodeId,
        view: View,
        what: Prepared,
        out: &mut Out<'_, Self>,
    ) {
        if !self.hears(config, from, view, out) {
            return;
        }
        let Prepared { operation, number, commit } = what;
        let newest = self.op_number();
        // A backup vouches for an operation only with all before it in its log.
        if number.0 > newest.0 + 1 {
            out.send(from, Message::GetState(view, newest));
        } else {
            if number > newest {
                self.append(operation);
            }
            out.send(from, Message::PrepareOk(view, self.op_number()));
        }
        self.execute(commit, out);
    }

    /// Section 4.1, step 5.
    pub(super) fn on_prepare_ok(
        &mut self,
        config: &Config,
        from: NodeId,
        view: View,
        number: OpNumber,
        out: &mut Out<'_, Self>,
    ) {
        if !self.is_primary(config) || view != self.view {
            return;
        }
        let prepared = self.prepared.entry(from).or_default();
        *prepared = number.max(*prepared);
        let mut prepared: Vec<OpNumber> = self.prepared.values().copied().collect();
        prepared.sort_unstable_by(|a, b| b.cmp(a));
        // f backups and the primary itself are a quorum.
        let committed = prepared.get(config.quorum() - 2).copied().unwrap_or_default();
        if committed > self.commit {
            self.execute(committed, out);
            broadcast(config, &Message::Commit(view, self.commit), out);
        }
    }

    /// Section 4.1, step 7.
    pub(super) fn on_commit(
        &mut self,
        config: &Config,
        from: NodeId,
        view: View,
        commit: OpNumber,
        out: &mut Out<'_, Self>,
    ) {
        if !self.hears(config, from, view, out) {
            return;
        }
        if commit > self.op_number() {
            out.send(from, Message::GetState(view, self.op_number()));
        }
        self.execute(commit, out);
    }

    pub(super) fn on_get_state(
        &mut self,
        from: NodeId,
        view: View,
        after: OpNumber,
        out: &mut Out<'_, Self>,
    ) {
        if self.status != Status::Normal || view != self.view || after > self.op_number() {
            return;
        }
        let log = self.log[after.0 as usize..].to_vec();
        out.send(from, Message::NewState(view, after, Known { log, commit: self.commit }));
    }

    pub(super) fn on_new_state(
        &mut self,
        config: &Config,
        view: View,
        after: OpNumber,
        tail: Known,
        out: &mut Out<'_, Self>,
    ) {
        if self.status == Status::Recovering
            || view < self.view
            || config.primary(view) == config.me
        {
            return;
        }
        let is_in_view = self.status == Status::Normal && view == self.view;
        if after > self.agreed_with(config, view) {
            return;
        }
        let mut log = self.log[..after.0 as usize].to_vec();
        log.extend(tail.log);
        if is_in_view && log.len() <= self.log.len() {
            return self.execute(tail.commit, out);
        }
        self.enter(config, view, Known { log, commit: tail.commit }, out);
        out.send(config.primary(view), Message::PrepareOk(view, self.op_number()));
    }
}
