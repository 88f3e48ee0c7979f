//! Who waits until there is something new in a replica's store.

use std::collections::BTreeSet;

use quorate_core::RequestId;

use crate::request::Revision;
use crate::service::Known;

/// Who waits until the store has come further than they know.
#[derive(Debug, Default)]
pub(super) struct Onlookers {
    waiting: BTreeSet<(Revision, RequestId)>,
    /// The version of the users and roles that all who wait know of.
    auth: u64,
}

impl Onlookers {
    /// Somebody waits, who knows so much: no less than there is.
    pub(super) fn add(&mut self, known: Known, id: RequestId) {
        self.waiting.insert((known.revision, id));
    }

    /// Those for whom there is something new, now that there is this.
    pub(super) fn take(&mut self, now: Known) -> Vec<RequestId> {
        let is_changed = std::mem::replace(&mut self.auth, now.auth) < now.auth;
        if !self.waiting.first().is_some_and(|(known, _)| *known < now.revision || is_changed) {
            return Vec::new();
        }
        let patient = match is_changed {
            true => BTreeSet::new(),
            false => self.waiting.split_off(&(now.revision, RequestId(0))),
        };
        let shown = std::mem::replace(&mut self.waiting, patient);
        shown.into_iter().map(|(_, id)| id).collect()
    }
}
