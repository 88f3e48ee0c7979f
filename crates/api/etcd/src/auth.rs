//! The Auth service, and who asks.
//!
//! *Life of a login.* A client shows its password ([`Face::authenticate`]); it is compared here, with a hash that the node
//! has handed out, and the token that the client gets says at which revision of the users and roles that was. Each later
//! call shows the token, and its requests go to the node on behalf of that user ([`Face::on_behalf_of`]). What they may do
//! the node decides. What a node doesn't decide, since it is no command and no query (upkeep, members), is let through here
//! after asking it, as etcd does ([`Face::admit`]).

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use quorate_kv::auth::{
    Access, Asker, AuthAnswer, AuthCommand, AuthQuery, AuthResponse, PasswordHash, Permission,
    TokenKey,
};
use quorate_kv::error::Error as StoreError;
use quorate_kv::request::{Command, Query, Response};

use crate::convert;
use crate::error::Error;
use crate::face::Face;
use crate::method::{Method, OpenTo};
use crate::proto::{authpb, etcdserverpb as wire};

/// The names under which clients send their token.
const TOKEN_HEADERS: [&str; 2] = ["token", "authorization"];
/// How long the cluster's own key is, in bytes.
const TOKEN_KEY_BYTES: usize = 32;

/// What a call shows of who sent it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credentials<'a> {
    /// What stands before the call; perhaps a token.
    pub(crate) headers: &'a HeaderMap,
    /// The common name of the client's certificate, if it had to show one.
    pub(crate) common_name: Option<&'a str>,
}

impl Face {
    /// The face as a call sees it: on behalf of whoever has sent it. A token goes before a certificate.
    pub(crate) async fn on_behalf_of(
        self: &Arc<Self>,
        method: Method,
        credentials: Credentials<'_>,
    ) -> Result<Arc<Face>, Error> {
        let token = TOKEN_HEADERS.iter().find_map(|name| credentials.headers.get(*name));
        let asker = match (token, credentials.common_name) {
            // Who has a token that counts no more asks for another one.
            _ if method == Method::Authenticate => None,
            (Some(token), _) => self.owner(token.to_str().unwrap_or_default()).await?,
            (None, Some(user)) => Some(Asker { user: user.to_owned(), checked_at: None }),
            (None, None) => None,
        };
        Ok(match asker {
            Some(asker) => Arc::new(self.asked_by(asker)),
            None => self.clone(),
        })
    }

    /// Whose a token is; none while authentication is not enabled.
    async fn owner(&self, token: &str) -> Result<Option<Asker>, Error> {
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        if let Some(asker) = self.tokens.remembered(token) {
            return Ok(Some(asker));
        }
        let Some(key) = self.token_key().await? else { return Ok(None) };
        let asker = self.tokens.look_at(token, &key).ok_or(StoreError::InvalidAuthToken)?;
        Ok(Some(asker))
    }

    /// Refuses who asks for what is not open to them.
    pub(crate) async fn admit(&self, to: OpenTo) -> Result<(), Error> {
        let query = match to {
            OpenTo::All => return Ok(()),
            OpenTo::Users => AuthQuery::SomeUser,
            OpenTo::Root => AuthQuery::Root,
        };
        // By what this replica knows, as in etcd: else a cluster without a leader could not be looked after.
        self.query(Query::Auth(query), true).await.map(|_| ())
    }

    /// What tokens are signed with; none while authentication is not enabled.
    async fn token_key(&self) -> Result<Option<TokenKey>, Error> {
        let query = || Query::Auth(AuthQuery::TokenKey);
        let answer = match self.query(query(), false).await {
            // Who reads from a replica that is cut off must still be known.
            Err(Error::Store(StoreError::NoLeader | StoreError::TimedOut)) => {
                self.query(query(), true).await?
            }
            answer => answer?,
        };
        match answer {
            (_, Response::Auth(AuthResponse { answer: AuthAnswer::TokenKey(key), .. })) => Ok(key),
            (_, other) => unreachable!("the node answered what tokens are signed with {other:?}"),
        }
    }

    pub(crate) async fn authenticate(
        &self,
        request: wire::AuthenticateRequest,
    ) -> Result<wire::AuthenticateResponse, Error> {
        let wire::AuthenticateRequest { name, password } = request;
        let (term, asked) = self.ask_auth(AuthQuery::Password(name.clone())).await?;
        let hash = match asked.answer {
            AuthAnswer::Password(hash) => hash,
            other => unreachable!("the node answered after a password with {other:?}"),
        };
        if !self.passwords.check(password, hash).await? {
            return Err(StoreError::AuthFailed.into());
        }
        // If the password was changed meanwhile, the token is of a revision before that, and counts for nothing.
        let key = self.token_key().await?.ok_or(StoreError::AuthNotEnabled)?;
        let token = self.tokens.give(&name, asked.auth_revision, &key);
        let token = token.ok_or(Error::CannotSign)?;
        Ok(wire::AuthenticateResponse { header: self.header(asked.revision, term), token })
    }

    pub(crate) async fn auth_enable(
        &self,
        _: wire::AuthEnableRequest,
    ) -> Result<wire::AuthEnableResponse, Error> {
        let mut key = [0; TOKEN_KEY_BYTES];
        getrandom::fill(&mut key).map_err(|error| Error::Password(error.to_string()))?;
        let command = AuthCommand::Enable(TokenKey(Bytes::copy_from_slice(&key)));
        Ok(wire::AuthEnableResponse { header: self.change_auth(command).await? })
    }

    pub(crate) async fn auth_disable(
        &self,
        _: wire::AuthDisableRequest,
    ) -> Result<wire::AuthDisableResponse, Error> {
        Ok(wire::AuthDisableResponse { header: self.change_auth(AuthCommand::Disable).await? })
    }

    pub(crate) async fn auth_status(
        &self,
        _: wire::AuthStatusRequest,
    ) -> Result<wire::AuthStatusResponse, Error> {
        let (term, status) = self.ask_auth(AuthQuery::Status).await?;
        Ok(wire::AuthStatusResponse {
            header: self.header(status.revision, term),
            enabled: status.answer == AuthAnswer::Status { is_enabled: true },
            auth_revision: status.auth_revision,
        })
    }

    pub(crate) async fn user_add(
        &self,
        request: wire::AuthUserAddRequest,
    ) -> Result<wire::AuthUserAddResponse, Error> {
        let has_none = request.options.is_some_and(|options| options.no_password);
        let password = match has_none {
            true => None,
            false => Some(self.passwords.hash(request.password).await?),
        };
        let command = AuthCommand::AddUser { name: request.name, password };
        Ok(wire::AuthUserAddResponse { header: self.change_auth(command).await? })
    }

    pub(crate) async fn user_get(
        &self,
        request: wire::AuthUserGetRequest,
    ) -> Result<wire::AuthUserGetResponse, Error> {
        let (header, roles) = self.names(AuthQuery::User(request.name)).await?;
        Ok(wire::AuthUserGetResponse { header, roles })
    }

    pub(crate) async fn user_list(
        &self,
        _: wire::AuthUserListRequest,
    ) -> Result<wire::AuthUserListResponse, Error> {
        let (header, users) = self.names(AuthQuery::Users).await?;
        Ok(wire::AuthUserListResponse { header, users })
    }

    pub(crate) async fn user_delete(
        &self,
        request: wire::AuthUserDeleteRequest,
    ) -> Result<wire::AuthUserDeleteResponse, Error> {
        let command = AuthCommand::DeleteUser(request.name);
        Ok(wire::AuthUserDeleteResponse { header: self.change_auth(command).await? })
    }

    pub(crate) async fn user_change_password(
        &self,
        request: wire::AuthUserChangePasswordRequest,
    ) -> Result<wire::AuthUserChangePasswordResponse, Error> {
        let password: PasswordHash = self.passwords.hash(request.password).await?;
        let command = AuthCommand::ChangePassword { name: request.name, password };
        Ok(wire::AuthUserChangePasswordResponse { header: self.change_auth(command).await? })
    }

    pub(crate) async fn user_grant_role(
        &self,
        request: wire::AuthUserGrantRoleRequest,
    ) -> Result<wire::AuthUserGrantRoleResponse, Error> {
        let wire::AuthUserGrantRoleRequest { user, role } = request;
        let header = self.change_auth(AuthCommand::GrantRole { user, role }).await?;
        Ok(wire::AuthUserGrantRoleResponse { header })
    }

    pub(crate) async fn user_revoke_role(
        &self,
        request: wire::AuthUserRevokeRoleRequest,
    ) -> Result<wire::AuthUserRevokeRoleResponse, Error> {
        let wire::AuthUserRevokeRoleRequest { name: user, role } = request;
        let header = self.change_auth(AuthCommand::RevokeRole { user, role }).await?;
        Ok(wire::AuthUserRevokeRoleResponse { header })
    }

    pub(crate) async fn role_add(
        &self,
        request: wire::AuthRoleAddRequest,
    ) -> Result<wire::AuthRoleAddResponse, Error> {
        let header = self.change_auth(AuthCommand::AddRole(request.name)).await?;
        Ok(wire::AuthRoleAddResponse { header })
    }

    pub(crate) async fn role_get(
        &self,
        request: wire::AuthRoleGetRequest,
    ) -> Result<wire::AuthRoleGetResponse, Error> {
        let (term, role) = self.ask_auth(AuthQuery::Role(request.role)).await?;
        let header = self.header(role.revision, term);
        match role.answer {
            AuthAnswer::Permissions(permissions) => {
                let perm = permissions.into_iter().map(permission_to_wire).collect();
                Ok(wire::AuthRoleGetResponse { header, perm })
            }
            other => unreachable!("the node answered after a role with {other:?}"),
        }
    }

    pub(crate) async fn role_list(
        &self,
        _: wire::AuthRoleListRequest,
    ) -> Result<wire::AuthRoleListResponse, Error> {
        let (header, roles) = self.names(AuthQuery::Roles).await?;
        Ok(wire::AuthRoleListResponse { header, roles })
    }

    pub(crate) async fn role_delete(
        &self,
        request: wire::AuthRoleDeleteRequest,
    ) -> Result<wire::AuthRoleDeleteResponse, Error> {
        let header = self.change_auth(AuthCommand::DeleteRole(request.role)).await?;
        Ok(wire::AuthRoleDeleteResponse { header })
    }

    pub(crate) async fn role_grant_permission(
        &self,
        request: wire::AuthRoleGrantPermissionRequest,
    ) -> Result<wire::AuthRoleGrantPermissionResponse, Error> {
        let permission = request.perm.map(permission).transpose()?;
        let command = AuthCommand::GrantPermission { role: request.name, permission };
        Ok(wire::AuthRoleGrantPermissionResponse { header: self.change_auth(command).await? })
    }

    pub(crate) async fn role_revoke_permission(
        &self,
        request: wire::AuthRoleRevokePermissionRequest,
    ) -> Result<wire::AuthRoleRevokePermissionResponse, Error> {
        let wire::AuthRoleRevokePermissionRequest { role, key, range_end } = request;
        let range = convert::key_range(key, range_end);
        let header = self.change_auth(AuthCommand::RevokePermission { role, range }).await?;
        Ok(wire::AuthRoleRevokePermissionResponse { header })
    }

    async fn change_auth(
        &self,
        command: AuthCommand,
    ) -> Result<Option<wire::ResponseHeader>, Error> {
        match self.command(Command::Auth(command)).await? {
            (term, Response::Auth(done)) => Ok(self.header(done.revision, term)),
            (_, other) => unreachable!("the node answered a change of users with {other:?}"),
        }
    }

    async fn ask_auth(&self, query: AuthQuery) -> Result<(u64, AuthResponse), Error> {
        match self.query(Query::Auth(query), false).await? {
            (term, Response::Auth(answer)) => Ok((term, answer)),
            (_, other) => unreachable!("the node answered a question after users with {other:?}"),
        }
    }

    async fn names(
        &self,
        query: AuthQuery,
    ) -> Result<(Option<wire::ResponseHeader>, Vec<String>), Error> {
        let (term, answer) = self.ask_auth(query).await?;
        match answer.answer {
            AuthAnswer::Names(names) => Ok((self.header(answer.revision, term), names)),
            other => unreachable!("the node answered after names with {other:?}"),
        }
    }
}

fn permission(permission: authpb::Permission) -> Result<Permission, Error> {
    use authpb::permission::Type;
    let kind = Type::try_from(permission.perm_type).map_err(|_| StoreError::InvalidAuthMgmt)?;
    let access = match kind {
        Type::Read => Access::Read,
        Type::Write => Access::Write,
        Type::Readwrite => Access::ReadWrite,
    };
    Ok(Permission { range: convert::key_range(permission.key, permission.range_end), access })
}

fn permission_to_wire(permission: Permission) -> authpb::Permission {
    use authpb::permission::Type;
    let kind = match permission.access {
        Access::Read => Type::Read,
        Access::Write => Type::Write,
        Access::ReadWrite => Type::Readwrite,
    };
    let (key, range_end) = convert::key_range_to_wire(permission.range);
    authpb::Permission { perm_type: kind.into(), key, range_end }
}
