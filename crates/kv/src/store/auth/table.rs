//! All users and roles, and what each user may do.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_core::Mutants;

use super::spans::Spans;
use crate::auth::{Access, Asker, Denial, Permission, ROOT, TokenKey, User};
use crate::request::{KeyRange, RangeEnd};

/// All users and roles as of some entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthTable {
    pub(super) settings: Settings,
    pub(super) users: BTreeMap<String, User>,
    /// The permissions of each role, in the order of their keys.
    pub(super) roles: BTreeMap<String, Vec<Permission>>,
    /// What each user may do. It follows from the above.
    rights: BTreeMap<String, Rights>,
}

/// What is neither of a user nor of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Counts the changes, from 1 on. That authentication is enabled is no change, as in etcd.
    pub(super) revision: u64,
    /// While authentication is enabled: what tokens are signed with, and the revision from which on they are.
    pub(super) enabled: Option<(TokenKey, u64)>,
}

/// What a user may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    is_root: bool,
    readable: Spans,
    writable: Spans,
}

impl Rights {
    /// Refuses what needs to be permitted everything.
    pub(crate) fn require_root(&self) -> Result<(), Denial> {
        if self.is_root { Ok(()) } else { Err(Denial::PermissionDenied) }
    }

    /// Refuses to read a range of which not all may be read.
    pub(crate) fn require_read(&self, range: &KeyRange, mutants: Mutants) -> Result<(), Denial> {
        self.require(&self.readable, range, mutants)
    }

    /// Refuses to write a range of which not all may be written.
    pub(crate) fn require_write(&self, range: &KeyRange, mutants: Mutants) -> Result<(), Denial> {
        self.require(&self.writable, range, mutants)
    }

    fn require(&self, spans: &Spans, range: &KeyRange, mutants: Mutants) -> Result<(), Denial> {
        let is_permitted = self.is_root || spans.cover(range, mutants);
        if is_permitted { Ok(()) } else { Err(Denial::PermissionDenied) }
    }
}

/// A range of one key.
pub(super) fn only(key: &Bytes) -> KeyRange {
    KeyRange { start: key.clone(), end: RangeEnd::Single }
}

impl Default for AuthTable {
    fn default() -> Self {
        AuthTable {
            settings: Settings { revision: 1, enabled: None },
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            rights: BTreeMap::new(),
        }
    }
}

impl AuthTable {
    pub(super) fn new(
        settings: Settings,
        users: BTreeMap<String, User>,
        roles: BTreeMap<String, Vec<Permission>>,
    ) -> Self {
        let mut table = AuthTable { settings, users, roles, rights: BTreeMap::new() };
        for user in table.users.keys().cloned().collect::<Vec<_>>() {
            table.refresh(&user);
        }
        table
    }

    /// Whether it is asked who asks.
    pub fn is_enabled(&self) -> bool {
        self.settings.enabled.is_some()
    }

    /// Rises with every change, that authentication is enabled included.
    pub fn version(&self) -> u64 {
        2 * self.settings.revision + u64::from(self.is_enabled())
    }

    /// Refuses whoever may not read a range, now.
    pub(crate) fn require_read(
        &self,
        asker: Option<&Asker>,
        range: &KeyRange,
        mutants: Mutants,
    ) -> Result<(), Denial> {
        if !self.is_enabled() {
            return Ok(());
        }
        self.rights(asker, mutants)?.require_read(range, mutants)
    }

    /// What an asker may do, while authentication is enabled.
    pub(super) fn rights(
        &self,
        asker: Option<&Asker>,
        mutants: Mutants,
    ) -> Result<&Rights, Denial> {
        let asker = asker.ok_or(Denial::UserEmpty)?;
        let since = self.settings.enabled.as_ref().map_or(0, |(_, since)| *since);
        let user = self.users.get(&asker.user);
        if let Some(checked_at) = asker.checked_at {
            // A user that is gone may be there again, and would be another one.
            let holds = user.is_some_and(|user| checked_at >= user.since.max(since));
            if !(holds || user.is_some() && mutants.has("auth_uses_old_revision")) {
                return Err(Denial::OldRevision);
            }
        }
        self.rights.get(&asker.user).ok_or(Denial::PermissionDenied)
    }

    /// The users of a role.
    pub(super) fn users_of(&self, role: &str) -> Vec<String> {
        let users = self.users.iter().filter(|(_, user)| user.roles.contains(role));
        users.map(|(name, _)| name.clone()).collect()
    }

    /// Finds out anew what a user may do.
    pub(super) fn refresh(&mut self, name: &str) {
        let Some(user) = self.users.get(name) else {
            self.rights.remove(name);
            return;
        };
        let spans = |access| Spans::of(self.ranges(&user.roles, access));
        let rights = Rights {
            is_root: user.roles.contains(ROOT),
            readable: spans(Access::Read),
            writable: spans(Access::Write),
        };
        self.rights.insert(name.to_owned(), rights);
    }

    fn ranges<'a>(
        &'a self,
        roles: &'a BTreeSet<String>,
        access: Access,
    ) -> impl Iterator<Item = &'a KeyRange> {
        let permissions = roles.iter().filter_map(|role| self.roles.get(role)).flatten();
        let granted = permissions.filter(move |permission| permission.access.includes(access));
        granted.map(|permission| &permission.range)
    }
}
