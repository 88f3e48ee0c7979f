//! Who did what: one line of the log for each request that changes something, if that is asked for.
//!
//! A line has the target `audit` and the fields `method`, `user`, `subject` (the keys, or what else it was about), `code` and,
//! if it was refused, `refusal`. Values and passwords are never in it. Not told: renewals of leases, which come by the
//! thousand and change nothing but a deadline.

use bytes::Bytes;
use prost::Message;

use crate::error::Error;
use crate::face::Face;
use crate::method::Method;
use crate::proto::etcdserverpb::{self as wire, request_op::Request};

/// What a request is about; none if it changes nothing.
pub(crate) fn subject(method: Method, message: &Bytes) -> Option<String> {
    method.is_change().then(|| described(method, message.clone()).unwrap_or_default())
}

/// Tells of a request that was carried out, or refused.
pub(crate) fn tell(face: &Face, method: Method, subject: &str, refusal: Option<&Error>) {
    let user = face.asker.as_ref().map_or("", |asker| &asker.user);
    let method = method.name();
    match refusal {
        None => tracing::info!(target: "audit", method, user, subject, code = "Ok"),
        Some(refusal) => {
            let code = format!("{:?}", refusal.code());
            tracing::info!(target: "audit", method, user, subject, code, %refusal);
        }
    }
}

/// A message that doesn't parse has no subject: it is refused anyway.
fn described(method: Method, message: Bytes) -> Option<String> {
    Some(match method {
        Method::Put => keys(&wire::PutRequest::decode(message).ok()?.key, &[]),
        Method::DeleteRange => {
            let delete = wire::DeleteRangeRequest::decode(message).ok()?;
            keys(&delete.key, &delete.range_end)
        }
        Method::Txn => txn(&wire::TxnRequest::decode(message).ok()?),
        Method::Compact => wire::CompactionRequest::decode(message).ok()?.revision.to_string(),
        Method::LeaseGrant => wire::LeaseGrantRequest::decode(message).ok()?.id.to_string(),
        Method::LeaseRevoke => wire::LeaseRevokeRequest::decode(message).ok()?.id.to_string(),
        Method::Authenticate => wire::AuthenticateRequest::decode(message).ok()?.name,
        Method::UserAdd => wire::AuthUserAddRequest::decode(message).ok()?.name,
        Method::UserDelete => wire::AuthUserDeleteRequest::decode(message).ok()?.name,
        Method::UserChangePassword => {
            wire::AuthUserChangePasswordRequest::decode(message).ok()?.name
        }
        Method::UserGrantRole => {
            let grant = wire::AuthUserGrantRoleRequest::decode(message).ok()?;
            format!("{} {}", grant.user, grant.role)
        }
        Method::UserRevokeRole => {
            let revoke = wire::AuthUserRevokeRoleRequest::decode(message).ok()?;
            format!("{} {}", revoke.name, revoke.role)
        }
        Method::RoleAdd => wire::AuthRoleAddRequest::decode(message).ok()?.name,
        Method::RoleDelete => wire::AuthRoleDeleteRequest::decode(message).ok()?.role,
        Method::RoleGrantPermission => {
            let grant = wire::AuthRoleGrantPermissionRequest::decode(message).ok()?;
            let permission = grant.perm.unwrap_or_default();
            let kind = permission.perm_type().as_str_name();
            format!("{} {kind} {}", grant.name, keys(&permission.key, &permission.range_end))
        }
        Method::RoleRevokePermission => {
            let revoke = wire::AuthRoleRevokePermissionRequest::decode(message).ok()?;
            format!("{} {}", revoke.role, keys(&revoke.key, &revoke.range_end))
        }
        Method::MemberAdd => wire::MemberAddRequest::decode(message).ok()?.peer_ur_ls.join(" "),
        Method::MemberRemove => member(wire::MemberRemoveRequest::decode(message).ok()?.id),
        Method::MemberUpdate => member(wire::MemberUpdateRequest::decode(message).ok()?.id),
        Method::MemberPromote => member(wire::MemberPromoteRequest::decode(message).ok()?.id),
        Method::MoveLeader => member(wire::MoveLeaderRequest::decode(message).ok()?.target_id),
        _ => String::new(),
    })
}

fn member(id: u64) -> String {
    format!("{id:x}")
}

/// What a transaction may write, in either block.
fn txn(txn: &wire::TxnRequest) -> String {
    let operations = txn.success.iter().chain(&txn.failure);
    let written = operations.filter_map(|operation| match operation.request.as_ref()? {
        Request::RequestPut(put) => Some(format!("put {}", keys(&put.key, &[]))),
        Request::RequestDeleteRange(delete) => {
            Some(format!("delete {}", keys(&delete.key, &delete.range_end)))
        }
        Request::RequestTxn(nested) => Some(self::txn(nested)),
        Request::RequestRange(_) => None,
    });
    written.collect::<Vec<_>>().join(", ")
}

/// Keys as text; what is none is escaped.
fn keys(key: &[u8], range_end: &[u8]) -> String {
    match range_end {
        [] => key.escape_ascii().to_string(),
        [0] => format!("{}..", key.escape_ascii()),
        end => format!("{}..{}", key.escape_ascii(), end.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject_of(method: Method, message: &impl Message) -> Option<String> {
        subject(method, &message.encode_to_vec().into())
    }

    #[test]
    fn a_change_is_described_by_its_keys_and_never_by_its_values() {
        let put =
            wire::PutRequest { key: "k".into(), value: "secret".into(), ..Default::default() };
        assert_eq!(subject_of(Method::Put, &put).as_deref(), Some("k"));
        let delete = wire::DeleteRangeRequest {
            key: "a\0".into(),
            range_end: vec![0].into(),
            ..Default::default()
        };
        assert_eq!(subject_of(Method::DeleteRange, &delete).as_deref(), Some("a\\x00.."));
        let inner = wire::TxnRequest {
            success: vec![wire::RequestOp { request: Some(Request::RequestPut(put.clone())) }],
            ..Default::default()
        };
        let outer = wire::TxnRequest {
            failure: vec![wire::RequestOp { request: Some(Request::RequestTxn(inner)) }],
            ..Default::default()
        };
        assert_eq!(subject_of(Method::Txn, &outer).as_deref(), Some("put k"));
        let user = wire::AuthUserAddRequest {
            name: "u".into(),
            password: "secret".into(),
            ..Default::default()
        };
        assert_eq!(subject_of(Method::UserAdd, &user).as_deref(), Some("u"));
        assert_eq!(subject_of(Method::Range, &wire::RangeRequest::default()), None);
    }
}
