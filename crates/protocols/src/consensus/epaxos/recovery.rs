//! Recovery (figure 3, explicit prepare): whoever waits in vain for an instance finds out what it may hold, and finishes it.

use std::collections::BTreeMap;

use quorate_core::{NodeId, Out};

use super::{
    Attempt, Attributes, Ballot, Config, EPaxos, Instance, Message, Phase, Record, Status, Timer,
    Vote, broadcast,
};

impl EPaxos {
    /// Sets the timer if there is something to recover.
    pub(super) fn wait_to_recover(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let never = !config.recovers || config.mutants.has("never_recovers");
        if !self.is_waiting_to_recover && !never && !self.open().is_empty() {
            self.is_waiting_to_recover = true;
            out.arm(Timer::Recover, config.patience.clone());
        }
    }

    pub(super) fn recover_what_is_open(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.is_waiting_to_recover = false;
        for instance in self.open() {
            match self.attempts.get(&instance) {
                Some(attempt) if attempt.ballot.round > 0 => {
                    let message = self.said(instance, attempt);
                    message.iter().for_each(|message| broadcast(config, message, out));
                }
                _ => self.prepare(config, instance, out),
            }
        }
    }

    /// What a recovery under way has said to all, which may have been lost. If another has promised a later ballot, it is no
    /// longer under way.
    fn said(&self, instance: Instance, attempt: &Attempt) -> Option<Message> {
        let ballot = attempt.ballot;
        Some(match &attempt.phase {
            Phase::Preparing(_) => Message::Prepare(instance, ballot),
            Phase::PreAccepting(_) => {
                let vote = self.slots.get(&instance)?.vote.as_ref()?;
                Message::PreAccept(instance, ballot, vote.attributes.clone())
            }
            Phase::Accepting(_, attributes) => {
                Message::Accept(instance, ballot, attributes.clone())
            }
        })
    }

    /// Steps 25 and 26.
    fn prepare(&mut self, config: &Config, instance: Instance, out: &mut Out<'_, Self>) {
        let slot = self.slot(instance);
        let ballot = Ballot { round: slot.promised.round + 1, of: config.me };
        slot.promised = ballot;
        let slot = slot.clone();
        let phase = Phase::Preparing(BTreeMap::from([(config.me, slot.vote.clone())]));
        out.persist(Record(instance, slot));
        self.attempts.insert(instance, Attempt { ballot, phase });
        broadcast(config, &Message::Prepare(instance, ballot), out);
    }

    /// The other side of step 26.
    pub(super) fn on_prepare(
        &mut self,
        from: NodeId,
        instance: Instance,
        ballot: Ballot,
        out: &mut Out<'_, Self>,
    ) {
        if !self.heeds(from, instance, ballot, out) {
            return;
        }
        let slot = self.slot(instance);
        slot.promised = ballot;
        let slot = slot.clone();
        let vote = slot.vote.clone();
        out.persist(Record(instance, slot));
        // A leader that has promised a later ballot commits nothing in its own any more.
        self.abandon_before(instance, ballot);
        out.send(from, Message::PrepareOk(instance, ballot, vote));
    }

    pub(super) fn on_prepare_ok(
        &mut self,
        config: &Config,
        from: NodeId,
        (instance, ballot): (Instance, Ballot),
        vote: Option<Vote>,
        out: &mut Out<'_, Self>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&instance) else { return };
        let Phase::Preparing(votes) = &mut attempt.phase else { return };
        if attempt.ballot != ballot {
            return;
        }
        votes.insert(from, vote);
        if votes.len() >= config.quorum() {
            let votes = std::mem::take(votes);
            self.on_majority_of_prepared(config, instance, ballot, &votes, out);
        }
    }

    /// Steps 27 to 37.
    fn on_majority_of_prepared(
        &mut self,
        config: &Config,
        instance: Instance,
        ballot: Ballot,
        votes: &BTreeMap<NodeId, Option<Vote>>,
        out: &mut Out<'_, Self>,
    ) {
        let cast = votes.values().flatten();
        // Only the newest ballot in which anybody voted counts; what was promised since says nothing.
        let Some(newest) = cast.max_by_key(|vote| (vote.ballot, vote.status)) else {
            // Nobody of a majority knows a command, so none can have been committed; the others may stop waiting.
            let nothing = Attributes { command: None, seq: 0, deps: Default::default() };
            return self.accept(config, instance, ballot, nothing, out);
        };
        let bound = if newest.status == Status::Accepted {
            Some(newest.attributes.clone())
        } else if newest.ballot.round == 0 {
            maybe_committed(config, instance, votes)
        } else {
            None
        };
        match (bound, newest.attributes.command) {
            (Some(mut attributes), _) => {
                if config.mutants.has("recovery_drops_dependencies") {
                    attributes.deps.clear();
                }
                self.accept(config, instance, ballot, attributes, out);
            }
            (None, Some(command)) => self.pre_accept(config, instance, ballot, command, out),
            (None, None) => {}
        }
    }

    /// Another has promised a later ballot: the next attempt here has to be later still.
    pub(super) fn on_refused(
        &mut self,
        instance: Instance,
        ballot: Ballot,
        out: &mut Out<'_, Self>,
    ) {
        let slot = self.slot(instance);
        if slot.promised < ballot {
            slot.promised = ballot;
            let slot = slot.clone();
            out.persist(Record(instance, slot));
            self.abandon_before(instance, ballot);
        }
    }
}

/// Step 32: what the leader may have committed on the fast path. The 2f − 1 peers of its fast quorum then all said the same,
/// and of the f + 1 that answer here, the leader apart, at least f are among them. No two sets of f are.
fn maybe_committed(
    config: &Config,
    instance: Instance,
    votes: &BTreeMap<NodeId, Option<Vote>>,
) -> Option<Attributes> {
    let said: Vec<&Attributes> = config
        .fast_peers(instance.of)
        .iter()
        .filter_map(|peer| votes.get(peer)?.as_ref())
        .map(|vote| &vote.attributes)
        .collect();
    let alike = |it: &Attributes| said.iter().filter(|other| **other == it).count();
    said.iter().find(|it| alike(it) >= config.faults()).map(|it| (*it).clone())
}
