//! Recovery (section 4.3): what a replica has forgotten, f + 1 others together still know.

use std::collections::BTreeMap;

use quorate_core::{NodeId, Out};

use super::{Config, Known, Message, Nonce, Replica, Status, Timer, View, broadcast};

/// The view of one that answers, and if it is the primary its what it knows.
type Answer = (View, Option<Known>);

/// What was heard since this replica crashed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Recovery {
    nonce: Nonce,
    answers: BTreeMap<NodeId, Answer>,
}

impl Replica {
    /// Step 1.
    pub(super) fn recover_with(&mut self, config: &Config, nonce: Nonce, out: &mut Out<'_, Self>) {
        self.status = Status::Recovering;
        self.recovery = Recovery { nonce, answers: BTreeMap::new() };
        self.plead(config, out);
    }

    pub(super) fn plead(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if self.status != Status::Recovering {
            return;
        }
        broadcast(config, &Message::Recovery(self.view, self.recovery.nonce), out);
        out.arm(Timer::Plead, config.again.clone());
    }

    /// Step 2.
    pub(super) fn on_recovery(
        &mut self,
        config: &Config,
        from: NodeId,
        view: View,
        nonce: Nonce,
        out: &mut Out<'_, Self>,
    ) {
        if self.status != Status::Normal {
            return;
        }
        // Not in the paper: the sender may have promised to take no part in an earlier view than this, so it can only be let
        // in to one that is as late.
        if view > self.view {
            return self.start_view_change(config, view, out);
        }
        let state = self.is_primary(config).then(|| self.known());
        out.send(from, Message::RecoveryResponse(self.view, nonce, state));
    }

    /// Step 3.
    pub(super) fn on_recovery_response(
        &mut self,
        config: &Config,
        from: NodeId,
        answer: Answer,
        nonce: Nonce,
        out: &mut Out<'_, Self>,
    ) {
        // An answer to an earlier recovery may be older than what this replica has vouched for since.
        let is_old = nonce != self.recovery.nonce && !config.mutants.has("ignores_the_nonce");
        if self.status != Status::Recovering || is_old {
            return;
        }
        let known = self.recovery.answers.entry(from).or_insert_with(|| answer.clone());
        if known.0 <= answer.0 {
            *known = answer;
        }
        let answers = &self.recovery.answers;
        let needed =
            if config.mutants.has("recovers_from_one_answer") { 1 } else { config.quorum() };
        if answers.len() < needed {
            return;
        }
        let latest = answers.values().map(|(view, _)| *view).max().unwrap_or_default();
        // Only the primary of the latest view knows all that this replica may have vouched for.
        let state = answers.get(&config.primary(latest)).filter(|(view, _)| *view == latest);
        let Some(known) = state.and_then(|(_, state)| state.clone()) else { return };
        if latest >= self.view {
            out.disarm(Timer::Plead);
            self.enter(config, latest, known, out);
            out.send(config.primary(latest), Message::PrepareOk(latest, self.op_number()));
        }
    }
}
