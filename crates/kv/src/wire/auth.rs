//! Changes of users and roles, and who asks, as messages and back.

use super::messages::{self, AuthChange, RoleAndRange, UserAndPassword, UserAndRole};
use super::{WireError, decoding, encoding};
use crate::auth::{Access, Asker, AuthCommand, PasswordHash, Permission, TokenKey};

pub(super) fn encode_asker(asker: &Asker) -> messages::Asker {
    messages::Asker { user: asker.user.clone(), checked_at: asker.checked_at }
}

pub(super) fn asker(message: messages::Asker) -> Asker {
    Asker { user: message.user, checked_at: message.checked_at }
}

pub(super) fn encode(command: &AuthCommand) -> messages::Auth {
    let change = match command {
        AuthCommand::Enable(TokenKey(key)) => AuthChange::Enable(key.clone()),
        AuthCommand::Disable => AuthChange::Disable(true),
        AuthCommand::AddUser { name, password } => {
            let password = password.as_ref().map(|PasswordHash(hash)| hash.clone());
            AuthChange::AddUser(UserAndPassword { user: name.clone(), password })
        }
        AuthCommand::DeleteUser(name) => AuthChange::DeleteUser(name.clone()),
        AuthCommand::ChangePassword { name, password: PasswordHash(hash) } => {
            let password = Some(hash.clone());
            AuthChange::ChangePassword(UserAndPassword { user: name.clone(), password })
        }
        AuthCommand::GrantRole { user, role } => {
            AuthChange::GrantRole(UserAndRole { user: user.clone(), role: role.clone() })
        }
        AuthCommand::RevokeRole { user, role } => {
            AuthChange::RevokeRole(UserAndRole { user: user.clone(), role: role.clone() })
        }
        AuthCommand::AddRole(name) => AuthChange::AddRole(name.clone()),
        AuthCommand::DeleteRole(name) => AuthChange::DeleteRole(name.clone()),
        AuthCommand::GrantPermission { role, permission } => {
            let range = permission.as_ref().and_then(|of| encoding::key_range(&of.range));
            let access = permission.as_ref().map_or(0, |of| access_code(of.access));
            AuthChange::GrantPermission(RoleAndRange { role: role.clone(), range, access })
        }
        AuthCommand::RevokePermission { role, range } => {
            let (role, range) = (role.clone(), encoding::key_range(range));
            AuthChange::RevokePermission(RoleAndRange { role, range, access: 0 })
        }
    };
    messages::Auth { change: Some(change) }
}

pub(super) fn decode(message: messages::Auth) -> Result<AuthCommand, WireError> {
    let change = message.change.ok_or(WireError::Missing("kind of change of users and roles"))?;
    Ok(match change {
        AuthChange::Enable(key) => AuthCommand::Enable(TokenKey(key)),
        AuthChange::Disable(_) => AuthCommand::Disable,
        AuthChange::AddUser(UserAndPassword { user: name, password }) => {
            AuthCommand::AddUser { name, password: password.map(PasswordHash) }
        }
        AuthChange::DeleteUser(name) => AuthCommand::DeleteUser(name),
        AuthChange::ChangePassword(UserAndPassword { user: name, password }) => {
            let password = password.map(PasswordHash).ok_or(WireError::Missing("password"))?;
            AuthCommand::ChangePassword { name, password }
        }
        AuthChange::GrantRole(UserAndRole { user, role }) => AuthCommand::GrantRole { user, role },
        AuthChange::RevokeRole(UserAndRole { user, role }) => {
            AuthCommand::RevokeRole { user, role }
        }
        AuthChange::AddRole(name) => AuthCommand::AddRole(name),
        AuthChange::DeleteRole(name) => AuthCommand::DeleteRole(name),
        AuthChange::GrantPermission(RoleAndRange { role, range: None, .. }) => {
            AuthCommand::GrantPermission { role, permission: None }
        }
        AuthChange::GrantPermission(RoleAndRange { role, range, access }) => {
            let (range, access) = (decoding::key_range(range)?, self::access(access)?);
            AuthCommand::GrantPermission { role, permission: Some(Permission { range, access }) }
        }
        AuthChange::RevokePermission(RoleAndRange { role, range, .. }) => {
            AuthCommand::RevokePermission { role, range: decoding::key_range(range)? }
        }
    })
}

// No code is 0: that is what an absent field decodes to.
fn access_code(access: Access) -> u32 {
    match access {
        Access::Read => 1,
        Access::Write => 2,
        Access::ReadWrite => 3,
    }
}

fn access(code: u32) -> Result<Access, WireError> {
    match code {
        1 => Ok(Access::Read),
        2 => Ok(Access::Write),
        3 => Ok(Access::ReadWrite),
        _ => Err(WireError::Unknown { field: "kind of permission", value: code.into() }),
    }
}
