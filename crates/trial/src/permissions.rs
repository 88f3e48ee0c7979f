//! Who may do what, as a model: the users and roles that a log makes, and whether they permit what it asks for next.
//!
//! It shares no code with the store's own, and is as simple as can be: keys are single letters, so the space of all keys
//! falls into a few pieces that no range divides, and a range is permitted if each of its pieces is.

use std::collections::{BTreeMap, BTreeSet};

use quorate_kv::auth::{Access, Asker, AuthCommand, Permission, ROOT};
use quorate_kv::request::{Command, KeyRange, Operation, RangeEnd, TxnRequest};

/// The number of letters that keys are made of, from `a` on.
pub(crate) const KEYS: u8 = 5;

/// Users and roles at one place of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permissions {
    revision: u64,
    /// Since which revision it is asked who asks.
    enabled: Option<u64>,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Vec<Permission>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    /// The revision at which its password became what it is.
    since: u64,
    roles: BTreeSet<String>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ruling {
    Permitted,
    /// Nobody said who asks.
    Nobody,
    /// The password was shown before it was changed.
    Outdated,
    Denied,
}

/// What a request needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    reads: BTreeSet<u8>,
    writes: BTreeSet<u8>,
    root: bool,
}

impl Needs {
    /// To read a range.
    pub(crate) fn read(range: &KeyRange) -> Self {
        Needs { reads: pieces(range).collect(), ..Needs::default() }
    }

    /// What a command needs; none if users are not who asks for such.
    fn of(command: &Command) -> Option<Self> {
        let mut needs = Needs::default();
        match command {
            Command::Put(put) => needs.add(&Operation::Put(put.clone())),
            Command::DeleteRange(delete) => needs.add(&Operation::DeleteRange(delete.clone())),
            Command::Txn(txn) => needs.add_txn(txn),
            Command::Auth(_) | Command::Compact(_) => needs.root = true,
            Command::LeaseGrant(_)
            | Command::LeaseRevoke(_)
            | Command::LeaseRenew(_)
            | Command::Tick(_) => return None,
        }
        Some(needs)
    }

    /// Both blocks count, whichever is carried out.
    fn add_txn(&mut self, txn: &TxnRequest) {
        self.reads.extend(txn.compare.iter().flat_map(|compare| pieces(&compare.range)));
        for operation in txn.success.iter().chain(&txn.failure) {
            self.add(operation);
        }
    }

    fn add(&mut self, operation: &Operation) {
        match operation {
            Operation::Range(range) => self.reads.extend(pieces(&range.range)),
            Operation::Put(put) => {
                let key = KeyRange { start: put.key.clone(), end: RangeEnd::Single };
                self.writes.extend(pieces(&key));
                self.reads.extend(pieces(&key).filter(|_| put.prev_kv));
            }
            Operation::DeleteRange(delete) => {
                self.writes.extend(pieces(&delete.range));
                self.reads.extend(pieces(&delete.range).filter(|_| delete.prev_kv));
            }
            Operation::Txn(txn) => self.add_txn(txn),
        }
    }
}

impl Default for Permissions {
    fn default() -> Self {
        let (users, roles) = (BTreeMap::new(), BTreeMap::new());
        Permissions { revision: 1, enabled: None, users, roles }
    }
}

impl Permissions {
    /// What becomes of a command that is next in the log. One that changes users and roles does so.
    pub(crate) fn take(&mut self, asker: Option<&Asker>, command: &Command) -> Ruling {
        let ruling = Needs::of(command).map_or(Ruling::Permitted, |needs| self.rule(asker, &needs));
        if let (Ruling::Permitted, Command::Auth(command)) = (ruling, command) {
            self.revision += u64::from(self.change(command));
        }
        ruling
    }

    /// What becomes of a request.
    pub(crate) fn rule(&self, asker: Option<&Asker>, needs: &Needs) -> Ruling {
        let Some(enabled) = self.enabled else { return Ruling::Permitted };
        let Some(asker) = asker else { return Ruling::Nobody };
        let user = self.users.get(&asker.user);
        if let Some(checked_at) = asker.checked_at
            && user.is_none_or(|user| checked_at < user.since.max(enabled))
        {
            return Ruling::Outdated;
        }
        let Some(user) = user else { return Ruling::Denied };
        if user.roles.contains(ROOT) {
            return Ruling::Permitted;
        }
        let may = |access| -> BTreeSet<u8> {
            let granted = user.roles.iter().filter_map(|role| self.roles.get(role)).flatten();
            let granted = granted.filter(|permission| permission.access.includes(access));
            granted.flat_map(|permission| pieces(&permission.range)).collect()
        };
        let is_permitted = !needs.root
            && needs.reads.is_subset(&may(Access::Read))
            && needs.writes.is_subset(&may(Access::Write));
        if is_permitted { Ruling::Permitted } else { Ruling::Denied }
    }

    /// Makes a change, as far as it makes sense. Returns whether it counts as one.
    fn change(&mut self, command: &AuthCommand) -> bool {
        let since = self.revision + 1;
        match command {
            AuthCommand::Enable(_) => {
                self.enabled.get_or_insert(self.revision);
                false
            }
            AuthCommand::Disable => self.enabled.take().is_some(),
            AuthCommand::AddUser { name, .. } => {
                let is_new = !self.users.contains_key(name);
                let user = || User { since, roles: BTreeSet::new() };
                self.users.entry(name.clone()).or_insert_with(user);
                is_new
            }
            AuthCommand::DeleteUser(name) => self.users.remove(name).is_some(),
            AuthCommand::ChangePassword { name, .. } => {
                let user = self.users.get_mut(name);
                user.is_some_and(|user| {
                    user.since = since;
                    true
                })
            }
            AuthCommand::GrantRole { user, role } => {
                let is_role = role == ROOT || self.roles.contains_key(role);
                let user = self.users.get_mut(user).filter(|_| is_role);
                user.is_some_and(|user| user.roles.insert(role.clone()))
            }
            AuthCommand::RevokeRole { user, role } => {
                self.users.get_mut(user).is_some_and(|user| user.roles.remove(role))
            }
            AuthCommand::AddRole(name) => {
                let is_new = !self.roles.contains_key(name);
                self.roles.entry(name.clone()).or_default();
                is_new
            }
            AuthCommand::DeleteRole(name) => {
                let was_there = self.roles.remove(name).is_some();
                for user in self.users.values_mut().filter(|_| was_there) {
                    user.roles.remove(name);
                }
                was_there
            }
            AuthCommand::GrantPermission { role, permission } => {
                let (Some(role), Some(permission)) = (self.roles.get_mut(role), permission) else {
                    return false;
                };
                role.retain(|other| other.range != permission.range);
                role.push(permission.clone());
                true
            }
            AuthCommand::RevokePermission { role, range } => {
                let Some(role) = self.roles.get_mut(role) else { return false };
                let before = role.len();
                role.retain(|permission| permission.range != *range);
                role.len() < before
            }
        }
    }
}

/// The pieces that a range consists of: a letter is one, and so is all between it and the next.
fn pieces(range: &KeyRange) -> impl Iterator<Item = u8> + use<> {
    let piece = |key: &[u8]| 2 * key.first().map_or(0, |letter| letter.saturating_sub(b'a'));
    let first = piece(&range.start);
    let end = match &range.end {
        RangeEnd::Single => first + 1,
        RangeEnd::Before(end) => piece(end),
        // All behind the last letter is one piece more.
        RangeEnd::Unbounded => 2 * KEYS + 1,
    };
    first..end
}
