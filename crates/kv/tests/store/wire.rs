//! Commands as bytes.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use quorate_kv::auth::*;
use quorate_kv::request::*;
use quorate_kv::wire::{WireError, decode, decode_with_asker, encode, encode_for, encode_into};

use crate::arbitrary::any_command;
use crate::ask::*;

fn nested(depth: usize) -> Command {
    Command::Txn((1..depth).fold(TxnRequest::default(), |txn, _| always(vec![Operation::Txn(txn)])))
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_command_survives_the_log(command in any_command()) {
        let entry = encode(&command);
        let mut buffer = BytesMut::from(&b"before"[..]);
        encode_into(&command, &mut buffer);
        prop_assert_eq!(&buffer[6..], &entry[..]);
        prop_assert_eq!(decode(entry), Ok(command));
    }

    #[test]
    fn garbage_is_refused_or_read_but_never_panics(garbage in vec(any::<u8>(), 0..200)) {
        if let Ok(command) = decode(garbage.into()) {
            prop_assert_eq!(decode(encode(&command)), Ok(command));
        }
    }

    #[test]
    fn a_damaged_command_is_refused_or_read_but_never_panics(
        command in any_command(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut entry = encode(&command).to_vec();
        for (position, byte) in damage {
            let position = position.index(entry.len());
            entry[position] = byte;
        }
        entry.truncate(cut.index(entry.len()) + 1);
        if let Ok(command) = decode(entry.into()) {
            prop_assert_eq!(decode(encode(&command)), Ok(command));
        }
    }
}

#[test]
fn changes_of_users_and_who_asks_for_them_survive_the_log() {
    let name = || "name".to_owned();
    let password = PasswordHash("hash".into());
    let permission = |access| Some(Permission { range: from("a"), access });
    let changes = [
        AuthCommand::Enable(TokenKey("key".into())),
        AuthCommand::Disable,
        AuthCommand::AddUser { name: name(), password: None },
        AuthCommand::AddUser { name: name(), password: Some(password.clone()) },
        AuthCommand::DeleteUser(name()),
        AuthCommand::ChangePassword { name: name(), password },
        AuthCommand::GrantRole { user: name(), role: "r".into() },
        AuthCommand::RevokeRole { user: name(), role: "r".into() },
        AuthCommand::AddRole(name()),
        AuthCommand::DeleteRole(name()),
        AuthCommand::GrantPermission { role: name(), permission: None },
        AuthCommand::GrantPermission { role: name(), permission: permission(Access::Read) },
        AuthCommand::GrantPermission { role: name(), permission: permission(Access::Write) },
        AuthCommand::GrantPermission { role: name(), permission: permission(Access::ReadWrite) },
        AuthCommand::RevokePermission { role: name(), range: between("a", "b") },
    ];
    for change in changes {
        let command = Command::Auth(change);
        assert_eq!(decode(encode(&command)), Ok(command.clone()));
        for checked_at in [None, Some(0), Some(7)] {
            let asker = Asker { user: name(), checked_at };
            let entry = encode_for(Some(&asker), &command);
            assert_eq!(decode_with_asker(entry), Ok((Some(asker), command.clone())));
        }
    }
}

#[test]
fn keys_and_values_share_the_bytes_of_the_entry() {
    let entry = encode(&Command::Txn(always(vec![Operation::Put(put("the key", "the value"))])));
    let is_inside = |part: &Bytes| entry.as_ptr_range().contains(&part.as_ptr());
    let Ok(Command::Txn(txn)) = decode(entry.clone()) else { panic!("not a transaction") };
    let Operation::Put(put) = &txn.success[0] else { panic!("not a put") };
    assert!(is_inside(&put.key) && is_inside(&put.value));
}

#[test]
fn the_bytes_of_a_put_stay_what_they_are() {
    let request = PutRequest { lease: LeaseId(3), prev_kv: true, ..put("k", "v") };
    let entry = encode(&Command::Put(request));
    assert_eq!(entry[..], [0x0a, 10, 0x0a, 1, b'k', 0x12, 1, b'v', 0x18, 3, 0x20, 1]);
}

#[test]
fn a_command_with_a_field_of_a_later_version_is_refused() {
    let entry = encode(&Command::Put(put("k", "v"))).to_vec();
    let field = [0x98, 0x06, 7];
    // Beside the kind of command, and in it.
    let beside = [&entry[..], &field].concat();
    let mut within = beside.clone();
    within[1] += field.len() as u8;
    for entry in [beside, within] {
        assert_eq!(decode(entry.into()), Err(WireError::UnknownFields(3)));
    }
}

#[test]
fn what_is_missing_or_unknown_is_named() {
    assert_eq!(decode(Bytes::new()), Err(WireError::Missing("kind of command")));
    // A command of number 15, then a deletion without a range, then a transaction with an operation of no kind.
    assert_eq!(decode(vec![0x7a, 0].into()), Err(WireError::Missing("kind of command")));
    assert_eq!(decode(vec![0x12, 0].into()), Err(WireError::Missing("range of keys")));
    let no_operation = vec![0x1a, 2, 0x12, 0];
    assert_eq!(decode(no_operation.into()), Err(WireError::Missing("kind of operation")));
    // A comparison with relation 9, of version 0 of the key without a name.
    let relation = vec![0x1a, 8, 0x0a, 6, 0x0a, 0, 0x10, 9, 0x18, 0];
    let error = WireError::Unknown { field: "relation of a comparison", value: 9 };
    assert_eq!(decode(relation.into()), Err(error));
    assert!(matches!(decode(vec![0x0a, 9].into()), Err(WireError::Malformed(_))));
}

#[test]
fn transactions_nest_as_deep_as_a_node_proposes_and_no_deeper() {
    let deepest = nested(TXN_DEPTH_MAX);
    assert_eq!(decode(encode(&deepest)), Ok(deepest));
    assert_eq!(decode(encode(&nested(TXN_DEPTH_MAX + 1))), Err(WireError::TooDeep));
    assert!(decode(bottomless_entry(20_000)).is_err());
}

/// A transaction that nests deep enough to end the stack, were it followed: built from the inside out, by turns a
/// block's operation (field 2) and the transaction in an operation (field 4), in a command (field 3).
fn bottomless_entry(depth: usize) -> Bytes {
    let mut fields = Vec::new();
    let mut length = 0;
    let inner = [0x22, 0x12].into_iter().cycle().take(2 * depth);
    for tag in inner.chain([0x1a]) {
        let mut field = vec![tag];
        prost::encode_length_delimiter(length, &mut field).expect("a vector has room");
        length += field.len();
        fields.push(field);
    }
    fields.into_iter().rev().flatten().collect()
}
