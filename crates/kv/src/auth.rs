//! Who may do what: etcd's users, roles and permissions in the store's own types.
//!
//! A user has a password, or none, and roles; a role has permissions, each to read or write the keys of a range. The role
//! `root` may do everything. While authentication is enabled, each request is carried out on behalf of an [`Asker`], and what
//! that one may do is decided where the request is: a command when it is applied, by the users and roles that the log has
//! made by then; a query when it is answered. So no permission is used that was taken away before. A face finds out who
//! asks, and decides nothing.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;

use crate::error::Error;
use crate::request::{KeyRange, Revision};

/// The user without whom authentication can't be enabled, and the role that may do everything.
pub const ROOT: &str = "root";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asker {
    /// The user.
    pub user: String,
    /// The revision of the users and roles at which the password was checked. It counts for nothing once the password is
    /// another one, or the user was made anew. None if no password was, as with a certificate.
    pub checked_at: Option<u64>,
}

/// What a permission is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing and deleting.
    Write,
    /// Both.
    ReadWrite,
}

impl Access {
    /// Whether it includes another.
    pub fn includes(self, other: Access) -> bool {
        self == Access::ReadWrite || self == other
    }
}

/// What a role may do with the keys of a range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// The keys.
    pub range: KeyRange,
    /// What may be done with them.
    pub access: Access,
}

/// A password as it is kept: what a slow hash makes of it, which says itself how. State machines only compare it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// What the tokens of a cluster are signed with.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenKey(pub Bytes);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

/// A change of who may do what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AuthCommand {
    /// From here on it is asked who asks. Tokens are signed with a new key.
    Enable(TokenKey),
    /// Anybody may do anything again.
    Disable,
    /// A new user.
    AddUser {
        /// Its name.
        name: String,
        /// None for one that has no password, and so can only come with a certificate.
        password: Option<PasswordHash>,
    },
    /// A user goes.
    DeleteUser(String),
    /// A user gets another password; one without a password stays without.
    ChangePassword {
        /// The user.
        name: String,
        /// The new one.
        password: PasswordHash,
    },
    /// A user gets a role.
    GrantRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A user loses a role.
    RevokeRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A new role.
    AddRole(String),
    /// A role goes, from all users.
    DeleteRole(String),
    /// A role gets a permission, in the place of the one for the same range.
    GrantPermission {
        /// The role.
        role: String,
        /// The permission; none if the request had none.
        permission: Option<Permission>,
    },
    /// A role loses the permission for exactly this range.
    RevokePermission {
        /// The role.
        role: String,
        /// The range.
        range: KeyRange,
    },
}

/// A question after who may do what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AuthQuery {
    /// Whether authentication is enabled.
    Status,
    /// All users.
    Users,
    /// The roles of a user.
    User(String),
    /// All roles.
    Roles,
    /// The permissions of a role.
    Role(String),
    /// Whether the asker may do everything.
    Root,
    /// Whether the asker is a user at all.
    SomeUser,
    /// What a user's password is checked against. For the face alone, which anybody may ask to check one.
    Password(String),
    /// What tokens are signed with. For the face alone, as the above.
    TokenKey,
}

/// What a command or a query about users and roles comes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AuthAnswer {
    /// It is done, or may be.
    Done,
    /// Whether authentication is enabled.
    Status {
        /// Whether it is.
        is_enabled: bool,
    },
    /// Of users or roles, in order.
    Names(Vec<String>),
    /// Of a role, in the order of their keys.
    Permissions(Vec<Permission>),
    /// None if there is no such user, or it has no password.
    Password(Option<PasswordHash>),
    /// None while authentication is not enabled.
    TokenKey(Option<TokenKey>),
}

/// The answer to a command or a query about users and roles.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthResponse {
    /// The revision of the store.
    pub revision: Revision,
    /// The revision of the users and roles.
    pub auth_revision: u64,
    /// The rest.
    pub answer: AuthAnswer,
}

/// Why somebody may not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// Nobody has said who asks.
    UserEmpty,
    /// What was said of who asks holds no more.
    OldRevision,
    /// It is not permitted.
    PermissionDenied,
}

impl From<Denial> for Error {
    fn from(denial: Denial) -> Error {
        match denial {
            Denial::UserEmpty => Error::UserEmpty,
            Denial::OldRevision => Error::AuthOldRevision,
            Denial::PermissionDenied => Error::PermissionDenied,
        }
    }
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) password: Option<PasswordHash>,
    /// The revision at which the password became what it is.
    pub(crate) since: u64,
    pub(crate) roles: BTreeSet<String>,
}
