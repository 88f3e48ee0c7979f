//! Users, roles and permissions, which are part of the store: every replica has the same, and decides the same.
//!
//! *Life of a permission.* It is granted to a role, and the role to a user; from the entry of the log that says so it is in
//! force, until the entry that takes it back. A command that is behind that entry is refused, wherever it was when the
//! entry was made. A query is answered, or refused, by what the replica has applied.
//!
//! *Life of a password.* It comes hashed, and is compared by whoever asks for the hash ([`AuthQuery::Password`]), since that
//! takes long on purpose. Whoever has shown it says at which revision ([`Asker::checked_at`]), and is believed until the
//! password is changed, the user is deleted, or authentication is enabled anew.
//!
//! | key | value | what for |
//! |---|---|---|
//! | `a` | the revision, and what tokens are signed with | |
//! | `p` name | permissions | a role |
//! | `u` name | password, since when, roles | a user |
//!
//! All of it is in memory too, for deciding, and as an immutable table for whoever watches.
//!
//! What is asked for by whom is decided in `checks.rs`; the rules and the words are etcd's. Departures, where etcd 3.5 asks
//! too little: nested transactions, `prev_kv` of puts in transactions, and leases that are attached there are checked;
//! a compaction needs the role `root`, and granting, renewing and listing leases some user.

mod checks;
mod records;
mod spans;
mod table;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use quorate_engine::{Engine, EngineError};

use super::Store;
use crate::auth::{
    AuthAnswer, AuthCommand, AuthQuery, AuthResponse, PasswordHash, Permission, ROOT, TokenKey,
    User,
};
use crate::error::Error;
use crate::request::KeyRange;
pub use table::AuthTable;

/// The users and roles in an engine.
pub(super) fn read<E: Engine>(engine: &E) -> Result<Arc<AuthTable>, EngineError> {
    records::read(engine).map(Arc::new)
}

impl<E: Engine> Store<E> {
    /// All users and roles, as they are now.
    pub fn auth(&self) -> &Arc<AuthTable> {
        &self.auth
    }

    /// Carries out a change of users and roles. Nothing has changed if it is refused.
    pub(super) fn change_auth(&mut self, command: &AuthCommand) -> Result<AuthResponse, Error> {
        match command {
            AuthCommand::Enable(key) => self.enable_auth(key)?,
            AuthCommand::Disable => self.disable_auth(),
            AuthCommand::AddUser { name, password } => self.add_user(name, password.clone())?,
            AuthCommand::DeleteUser(name) => self.delete_user(name)?,
            AuthCommand::ChangePassword { name, password } => {
                self.change_password(name, password)?;
            }
            AuthCommand::GrantRole { user, role } => self.grant_role(user, role)?,
            AuthCommand::RevokeRole { user, role } => self.revoke_role(user, role)?,
            AuthCommand::AddRole(name) => self.add_role(name)?,
            AuthCommand::DeleteRole(name) => self.delete_role(name)?,
            AuthCommand::GrantPermission { role, permission } => {
                self.grant_permission(role, permission.as_ref())?;
            }
            AuthCommand::RevokePermission { role, range } => self.revoke_permission(role, range)?,
        }
        Ok(self.auth_response(AuthAnswer::Done))
    }

    /// Answers a question after users and roles.
    pub(super) fn query_auth(&self, query: &AuthQuery) -> Result<AuthResponse, Error> {
        let AuthTable { users, roles, .. } = &*self.auth;
        let answer = match query {
            AuthQuery::Status => AuthAnswer::Status { is_enabled: self.auth.is_enabled() },
            AuthQuery::Users => AuthAnswer::Names(users.keys().cloned().collect()),
            AuthQuery::User(name) => {
                let user = users.get(name).ok_or(Error::UserNotFound)?;
                AuthAnswer::Names(user.roles.iter().cloned().collect())
            }
            AuthQuery::Roles => AuthAnswer::Names(roles.keys().cloned().collect()),
            AuthQuery::Role(name) => {
                let permissions = roles.get(name).ok_or(Error::RoleNotFound)?;
                AuthAnswer::Permissions(permissions.clone())
            }
            AuthQuery::Root | AuthQuery::SomeUser => AuthAnswer::Done,
            AuthQuery::Password(_) if !self.auth.is_enabled() => return Err(Error::AuthNotEnabled),
            AuthQuery::Password(name) => {
                AuthAnswer::Password(users.get(name).and_then(|user| user.password.clone()))
            }
            AuthQuery::TokenKey => {
                let key = self.auth.settings.enabled.as_ref().map(|(key, _)| key.clone());
                AuthAnswer::TokenKey(key)
            }
        };
        Ok(self.auth_response(answer))
    }

    fn auth_response(&self, answer: AuthAnswer) -> AuthResponse {
        let auth_revision = self.auth.settings.revision;
        AuthResponse { revision: self.meta.revision, auth_revision, answer }
    }

    fn enable_auth(&mut self, key: &TokenKey) -> Result<(), Error> {
        if self.auth.is_enabled() {
            return Ok(());
        }
        let root = self.auth.users.get(ROOT).ok_or(Error::RootUserNotExist)?;
        if !root.roles.contains(ROOT) {
            return Err(Error::RootRoleNotExist);
        }
        let settings = &mut Arc::make_mut(&mut self.auth).settings;
        settings.enabled = Some((key.clone(), settings.revision));
        self.keep_settings();
        Ok(())
    }

    fn disable_auth(&mut self) {
        if self.auth.is_enabled() {
            Arc::make_mut(&mut self.auth).settings.enabled = None;
            self.count_change();
        }
    }

    fn add_user(&mut self, name: &str, password: Option<PasswordHash>) -> Result<(), Error> {
        if name.is_empty() {
            return Err(Error::UserEmpty);
        }
        if self.auth.users.contains_key(name) {
            return Err(Error::UserExists);
        }
        let since = self.count_change();
        self.set_user(name, Some(User { password, since, roles: BTreeSet::new() }));
        Ok(())
    }

    fn delete_user(&mut self, name: &str) -> Result<(), Error> {
        if self.auth.is_enabled() && name == ROOT {
            return Err(Error::InvalidAuthMgmt);
        }
        self.user(name)?;
        self.count_change();
        self.set_user(name, None);
        Ok(())
    }

    fn change_password(&mut self, name: &str, password: &PasswordHash) -> Result<(), Error> {
        let mut user = self.user(name)?;
        user.since = self.count_change();
        if user.password.is_some() {
            user.password = Some(password.clone());
        }
        self.set_user(name, Some(user));
        Ok(())
    }

    fn grant_role(&mut self, name: &str, role: &str) -> Result<(), Error> {
        let mut user = self.user(name)?;
        // The role that may do everything needs no permissions, and so need not be made.
        if role != ROOT && !self.auth.roles.contains_key(role) {
            return Err(Error::RoleNotFound);
        }
        if user.roles.insert(role.to_owned()) {
            self.count_change();
            self.set_user(name, Some(user));
        }
        Ok(())
    }

    fn revoke_role(&mut self, name: &str, role: &str) -> Result<(), Error> {
        if self.auth.is_enabled() && name == ROOT && role == ROOT {
            return Err(Error::InvalidAuthMgmt);
        }
        let mut user = self.user(name)?;
        if !user.roles.remove(role) {
            return Err(Error::RoleNotGranted);
        }
        self.count_change();
        self.set_user(name, Some(user));
        Ok(())
    }

    fn add_role(&mut self, name: &str) -> Result<(), Error> {
        if name.is_empty() {
            return Err(Error::RoleEmpty);
        }
        if self.auth.roles.contains_key(name) {
            return Err(Error::RoleExists);
        }
        self.count_change();
        self.set_role(name, Some(Vec::new()));
        Ok(())
    }

    fn delete_role(&mut self, name: &str) -> Result<(), Error> {
        if self.auth.is_enabled() && name == ROOT {
            return Err(Error::InvalidAuthMgmt);
        }
        self.role(name)?;
        self.count_change();
        for holder in self.auth.users_of(name) {
            let mut user = self.user(&holder)?;
            user.roles.remove(name);
            self.set_user(&holder, Some(user));
        }
        self.set_role(name, None);
        Ok(())
    }

    fn grant_permission(
        &mut self,
        role: &str,
        permission: Option<&Permission>,
    ) -> Result<(), Error> {
        let permission = permission.ok_or(Error::PermissionNotGiven)?;
        if permission.range.start.is_empty() || permission.range.is_empty() {
            return Err(Error::InvalidAuthMgmt);
        }
        let mut permissions = self.role(role)?;
        match permissions.iter_mut().find(|other| other.range == permission.range) {
            Some(other) => other.access = permission.access,
            None => {
                let behind = |other: &Permission| other.range.start <= permission.range.start;
                let at = permissions.partition_point(behind);
                permissions.insert(at, permission.clone());
            }
        }
        self.count_change();
        self.set_role(role, Some(permissions));
        Ok(())
    }

    fn revoke_permission(&mut self, role: &str, range: &KeyRange) -> Result<(), Error> {
        let mut permissions = self.role(role)?;
        let before = permissions.len();
        permissions.retain(|permission| permission.range != *range);
        if permissions.len() == before {
            return Err(Error::PermissionNotGranted);
        }
        self.count_change();
        self.set_role(role, Some(permissions));
        Ok(())
    }

    fn user(&self, name: &str) -> Result<User, Error> {
        self.auth.users.get(name).cloned().ok_or(Error::UserNotFound)
    }

    fn role(&self, name: &str) -> Result<Vec<Permission>, Error> {
        self.auth.roles.get(name).cloned().ok_or(Error::RoleNotFound)
    }

    /// Counts a change, and returns its revision.
    fn count_change(&mut self) -> u64 {
        let settings = &mut Arc::make_mut(&mut self.auth).settings;
        settings.revision += 1;
        let revision = settings.revision;
        self.keep_settings();
        revision
    }

    fn keep_settings(&mut self) {
        let record = records::settings_record(&self.auth.settings);
        self.pending.set(Bytes::from_static(records::SETTINGS_KEY), Some(record));
    }

    fn set_user(&mut self, name: &str, user: Option<User>) {
        self.pending.set(records::user_key(name), user.as_ref().map(records::user_record));
        let table = Arc::make_mut(&mut self.auth);
        match user {
            Some(user) => table.users.insert(name.to_owned(), user),
            None => table.users.remove(name),
        };
        table.refresh(name);
    }

    fn set_role(&mut self, name: &str, permissions: Option<Vec<Permission>>) {
        let record = permissions.as_deref().map(records::role_record);
        self.pending.set(records::role_key(name), record);
        let table = Arc::make_mut(&mut self.auth);
        match permissions {
            Some(permissions) => table.roles.insert(name.to_owned(), permissions),
            None => table.roles.remove(name),
        };
        for user in table.users_of(name) {
            table.refresh(&user);
        }
    }

    /// Whether the users and roles in memory are those in the engine, for tests.
    ///
    /// # Errors
    /// What the engine could not read.
    pub fn auth_is_as_kept(&mut self) -> Result<bool, EngineError> {
        self.commit();
        Ok(records::read(&self.engine)? == *self.auth)
    }
}
