//! Whether a request may be carried out on behalf of whoever asks.
//!
//! Of a transaction both blocks are asked about, whichever is carried out: else what is refused would tell how the
//! conditions came out.

use quorate_engine::Engine;

use super::table::{Rights, only};
use crate::auth::{Asker, AuthQuery, Denial};
use crate::error::Error;
use crate::request::{
    Command, DeleteRangeRequest, LeaseId, Operation, PutRequest, Query, TxnRequest,
};
use crate::store::Store;

impl<E: Engine> Store<E> {
    /// Refuses a command that may not be carried out on behalf of whoever asks: none for somebody who didn't say.
    ///
    /// # Errors
    /// `UserEmpty`, `AuthOldRevision` and `PermissionDenied`; `Storage` if the engine could not be read.
    pub fn authorize(&self, asker: Option<&Asker>, command: &Command) -> Result<(), Error> {
        // Time is told by nodes alone.
        if !self.auth.is_enabled() || matches!(command, Command::Tick(_)) {
            return Ok(());
        }
        let rights = self.auth.rights(asker, self.mutants)?;
        match command {
            Command::Put(put) => self.authorize_put(rights, put),
            Command::DeleteRange(delete) => self.authorize_delete(rights, delete),
            Command::Txn(txn) => self.authorize_txn(rights, txn),
            Command::LeaseRevoke(id) => self.authorize_unbinding(rights, *id),
            Command::LeaseGrant(_) | Command::LeaseRenew(_) | Command::Tick(_) => Ok(()),
            Command::Compact(_) | Command::Auth(_) => Ok(rights.require_root()?),
        }
    }

    /// Refuses a query that may not be answered to whoever asks.
    ///
    /// # Errors
    /// As [`Store::authorize`].
    pub fn authorize_query(&self, asker: Option<&Asker>, query: &Query) -> Result<(), Error> {
        let is_of_face = matches!(query, Query::Auth(AuthQuery::Password(_) | AuthQuery::TokenKey));
        if !self.auth.is_enabled() || is_of_face {
            return Ok(());
        }
        let rights = self.auth.rights(asker, self.mutants)?;
        match query {
            Query::Range(range) => Ok(rights.require_read(&range.range, self.mutants)?),
            Query::Txn(txn) => self.authorize_txn(rights, txn),
            Query::LeaseStatus { id, keys: true } => {
                for key in self.bound_keys(*id)? {
                    rights.require_read(&only(&key), self.mutants)?;
                }
                Ok(())
            }
            Query::LeaseStatus { keys: false, .. } | Query::Leases => Ok(()),
            Query::Auth(query) => Ok(self.authorize_auth_query(rights, asker, query)?),
        }
    }

    /// Everybody may know their own roles, and what those permit.
    fn authorize_auth_query(
        &self,
        rights: &Rights,
        asker: Option<&Asker>,
        query: &AuthQuery,
    ) -> Result<(), Denial> {
        let name = asker.map_or("", |asker| &asker.user);
        match query {
            AuthQuery::SomeUser => Ok(()),
            AuthQuery::User(user) if user == name => Ok(()),
            AuthQuery::Role(role)
                if self.auth.users.get(name).is_some_and(|user| user.roles.contains(role)) =>
            {
                Ok(())
            }
            _ => rights.require_root(),
        }
    }

    fn authorize_put(&self, rights: &Rights, put: &PutRequest) -> Result<(), Error> {
        let key = only(&put.key);
        rights.require_write(&key, self.mutants)?;
        if put.prev_kv && !self.mutants.has("auth_ignores_prev_kv") {
            rights.require_read(&key, self.mutants)?;
        }
        if put.lease != LeaseId(0) {
            // Its end would delete what this one may not write, and could not be brought about.
            self.authorize_unbinding(rights, put.lease)?;
        }
        Ok(())
    }

    fn authorize_delete(&self, rights: &Rights, delete: &DeleteRangeRequest) -> Result<(), Error> {
        rights.require_write(&delete.range, self.mutants)?;
        if delete.prev_kv && !self.mutants.has("auth_ignores_prev_kv") {
            rights.require_read(&delete.range, self.mutants)?;
        }
        Ok(())
    }

    fn authorize_txn(&self, rights: &Rights, txn: &TxnRequest) -> Result<(), Error> {
        if !self.mutants.has("auth_ignores_conditions") {
            for compare in &txn.compare {
                rights.require_read(&compare.range, self.mutants)?;
            }
        }
        for operation in txn.success.iter().chain(&txn.failure) {
            match operation {
                Operation::Range(range) => rights.require_read(&range.range, self.mutants)?,
                Operation::Put(put) => self.authorize_put(rights, put)?,
                Operation::DeleteRange(delete) => self.authorize_delete(rights, delete)?,
                Operation::Txn(nested) => {
                    if !self.mutants.has("auth_ignores_nested_operations") {
                        self.authorize_txn(rights, nested)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Refuses who may not write all that is bound to a lease.
    fn authorize_unbinding(&self, rights: &Rights, id: LeaseId) -> Result<(), Error> {
        if self.mutants.has("auth_ignores_bound_keys") {
            return Ok(());
        }
        for key in self.bound_keys(id)? {
            rights.require_write(&only(&key), self.mutants)?;
        }
        Ok(())
    }
}
