//! Users and roles as records of the engine. The keys are in the [module's doc](super).

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use prost::Message;
use quorate_engine::{Engine, EngineError};

use super::table::{AuthTable, Settings};
use crate::auth::{Access, PasswordHash, Permission, TokenKey, User};
use crate::request::{KeyRange, RangeEnd};
use crate::store::layout::damaged;

pub(super) const SETTINGS_KEY: &[u8] = b"a";
const ROLE: u8 = b'p';
const USER: u8 = b'u';

#[derive(Clone, PartialEq, Message)]
struct SettingsRecord {
    #[prost(uint64, tag = "1")]
    revision: u64,
    /// Absent while authentication is not enabled.
    #[prost(bytes = "bytes", optional, tag = "2")]
    token_key: Option<Bytes>,
    #[prost(uint64, tag = "3")]
    enabled_at: u64,
}

#[derive(Clone, PartialEq, Message)]
struct UserRecord {
    /// Absent for one without a password.
    #[prost(string, optional, tag = "1")]
    password: Option<String>,
    #[prost(uint64, tag = "2")]
    since: u64,
    #[prost(string, repeated, tag = "3")]
    roles: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct RoleRecord {
    #[prost(message, repeated, tag = "1")]
    permissions: Vec<PermissionRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct PermissionRecord {
    #[prost(bytes = "bytes", tag = "1")]
    start: Bytes,
    /// The first key behind it; absent if it has no end.
    #[prost(bytes = "bytes", optional, tag = "2")]
    end: Option<Bytes>,
    /// It is its start alone.
    #[prost(bool, tag = "3")]
    is_single: bool,
    #[prost(bool, tag = "4")]
    may_read: bool,
    #[prost(bool, tag = "5")]
    may_write: bool,
}

pub(super) fn user_key(name: &str) -> Bytes {
    key(USER, name)
}

pub(super) fn role_key(name: &str) -> Bytes {
    key(ROLE, name)
}

fn key(family: u8, name: &str) -> Bytes {
    [&[family], name.as_bytes()].concat().into()
}

pub(super) fn settings_record(settings: &Settings) -> Bytes {
    let (token_key, enabled_at) = match &settings.enabled {
        Some((TokenKey(key), since)) => (Some(key.clone()), *since),
        None => (None, 0),
    };
    let revision = settings.revision;
    SettingsRecord { revision, token_key, enabled_at }.encode_to_vec().into()
}

pub(super) fn user_record(user: &User) -> Bytes {
    let record = UserRecord {
        password: user.password.as_ref().map(|PasswordHash(hash)| hash.clone()),
        since: user.since,
        roles: user.roles.iter().cloned().collect(),
    };
    record.encode_to_vec().into()
}

pub(super) fn role_record(permissions: &[Permission]) -> Bytes {
    let permissions = permissions.iter().map(|Permission { range, access }| PermissionRecord {
        start: range.start.clone(),
        end: match &range.end {
            RangeEnd::Before(end) => Some(end.clone()),
            RangeEnd::Single | RangeEnd::Unbounded => None,
        },
        is_single: range.end == RangeEnd::Single,
        may_read: access.includes(Access::Read),
        may_write: access.includes(Access::Write),
    });
    RoleRecord { permissions: permissions.collect() }.encode_to_vec().into()
}

/// All users and roles in an engine.
pub(super) fn read<E: Engine>(engine: &E) -> Result<AuthTable, EngineError> {
    let mut table = AuthTable::default();
    if let Some(record) = engine.get(SETTINGS_KEY)? {
        let record: SettingsRecord = decode("the record about authentication", record)?;
        let enabled = record.token_key.map(|key| (TokenKey(key), record.enabled_at));
        table.settings = Settings { revision: record.revision, enabled };
    }
    let users = family(engine, USER, |record: UserRecord| User {
        password: record.password.map(PasswordHash),
        since: record.since,
        roles: record.roles.into_iter().collect(),
    })?;
    let roles = family(engine, ROLE, |record: RoleRecord| {
        record.permissions.into_iter().map(permission).collect()
    })?;
    Ok(AuthTable::new(table.settings, users, roles))
}

fn permission(record: PermissionRecord) -> Permission {
    let end = match record.end {
        _ if record.is_single => RangeEnd::Single,
        Some(end) => RangeEnd::Before(end),
        None => RangeEnd::Unbounded,
    };
    let access = match (record.may_read, record.may_write) {
        (true, true) => Access::ReadWrite,
        (true, false) => Access::Read,
        (false, _) => Access::Write,
    };
    Permission { range: KeyRange { start: record.start, end }, access }
}

/// The records of a family by name.
fn family<E: Engine, R: Message + Default, T>(
    engine: &E,
    family: u8,
    make: impl Fn(R) -> T,
) -> Result<BTreeMap<String, T>, EngineError> {
    let bound = |byte| Bytes::copy_from_slice(&[byte]);
    let mut found = BTreeMap::new();
    for pair in engine.scan((Bound::Included(bound(family)), Bound::Excluded(bound(family + 1)))) {
        let (raw, record) = pair?;
        let what = format!("the record {raw:?} of a user or a role");
        let name = String::from_utf8(raw[1..].to_vec())
            .map_err(|error| damaged(what.clone(), error.to_string()))?;
        found.insert(name, make(decode(&what, record)?));
    }
    Ok(found)
}

fn decode<R: Message + Default>(what: &str, record: Bytes) -> Result<R, EngineError> {
    R::decode(record).map_err(|error| damaged(what, error.to_string()))
}
