//! What is committed becomes what the store holds: entries are applied in the order of the log, and what a compaction has
//! put out of reach is removed.

use quorate_core::{Out, RequestId};
use quorate_engine::Engine;
use quorate_protocols::consensus::raft::Index;

use super::Shard;
use crate::error::Error;
use crate::node::wire::encode_snapshot;
use crate::node::{Config, Lift, Node};
use crate::request::{Command, Response, Revision};
use crate::wire::{self, WireError};

/// The number of changes that one step of removing garbage looks at.
const COLLECTED_PER_STEP: usize = 1000;

impl<E: Engine> Shard<E> {
    /// Applies every committed entry to the store, and answers the commands that were put to this node. Stops where the
    /// store's engine fails: what follows must not be applied before the entry that could not be.
    pub(super) fn apply_committed(
        &mut self,
        config: &Config,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) {
        let is_stopped = self.halted.is_some() || self.has_failed() || self.raft.needs_snapshot();
        if self.applied >= self.raft.commit() || is_stopped {
            return;
        }
        let mut has_compacted = false;
        while self.applied < self.raft.commit() {
            let index = self.applied.next();
            let response = match self.apply(index) {
                Ok(Err(error @ Error::Storage(_))) => {
                    self.fail(config, error, lift, out);
                    break;
                }
                Ok(response) => response,
                Err(_) if config.mutants().has("skips_unknown_command") => {
                    Err(Error::Unsupported("a command of another version"))
                }
                Err(error) => {
                    self.halted = Some((index, error));
                    break;
                }
            };
            self.applied = index;
            has_compacted |= matches!(&response, Ok(Response::Compact(_)));
            if let Some((_, id)) = self.committed.pop_front_if(|(at, _)| *at == index) {
                self.answer_command(index, id, response, out);
            }
        }
        if let Some(snapshot) = self.applied_snapshot() {
            self.store.commit_with(&encode_snapshot(&snapshot));
        }
        if has_compacted {
            // Most leave little behind, and are done with one step.
            self.collect_garbage(config, lift, out);
        }
        assert!(
            self.committed.is_empty()
                || self.has_failed()
                || self.halted.is_some()
                || config.mutants().has("applies_twice_after_restart"),
            "a command was committed at an index that was applied before"
        );
    }

    /// Answers a command that was put to this node, unless that must wait.
    fn answer_command(
        &mut self,
        index: Index,
        id: RequestId,
        response: Result<Response, Error>,
        out: &mut Out<'_, Node<E>>,
    ) {
        let is_waiting = matches!(response, Ok(Response::Compact(_)))
            && self.is_physical(index)
            && self.store.has_garbage();
        let response = self.done(response);
        if is_waiting {
            self.compactions.push_back((self.store.compact_revision(), id, response));
        } else {
            out.reply(id, response);
        }
    }

    /// Whether an entry is a compaction that is to be answered once its garbage is gone.
    fn is_physical(&self, index: Index) -> bool {
        let command = self.raft.log().get(index).map(|entry| wire::decode(entry.payload.clone()));
        matches!(command, Some(Ok(Command::Compact(compact))) if compact.physical)
    }

    /// Takes a step in removing what compactions have put out of reach, and returns whether there is more to remove.
    pub(in crate::node) fn collect_garbage(
        &mut self,
        config: &Config,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) -> bool {
        if self.has_failed() {
            return false;
        }
        let has_more = match self.store.collect_garbage(COLLECTED_PER_STEP) {
            Ok(has_more) => has_more,
            Err(error) => {
                self.fail(config, error.into(), lift, out);
                false
            }
        };
        let collected = self.store.collected();
        while let Some((_, id, response)) =
            self.compactions.pop_front_if(|(at, _, _)| *at <= collected)
        {
            out.reply(id, response);
        }
        has_more
    }

    /// Applies one committed entry, if it holds a command that this version knows. The empty entry that opens a term is
    /// nobody's command.
    fn apply(&mut self, index: Index) -> Result<Result<Response, Error>, WireError> {
        let (payload, term) = match self.raft.log().get(index) {
            Some(entry) if entry.origin.is_some() => (entry.payload.clone(), entry.term),
            Some(_) => return Ok(Err(Error::Unsupported("an empty entry"))),
            None => unreachable!("an entry was compacted before it was applied"),
        };
        Ok(match wire::decode_with_asker(payload)? {
            (_, Command::Tick(tick)) => self.apply_tick(&tick, term),
            // What may be done is decided here: by all that is before this entry, and nothing that is behind it.
            (asker, command) => {
                let verdict = self.store.authorize(asker.as_ref(), &command);
                verdict.and_then(|()| self.apply_command(&command))
            }
        })
    }

    /// Where a revision comes from is decided here, and only here: with one shard it is counted.
    pub(in crate::node) fn apply_command(&mut self, command: &Command) -> Result<Response, Error> {
        let next = Revision(self.store.revision().0 + 1);
        let keys_before = self.store.live_keys();
        let outcome = self.store.apply_at(command, next);
        if let Ok(done) = &outcome {
            self.tally.count(done, keys_before.saturating_sub(self.store.live_keys()));
        }
        outcome
    }
}
