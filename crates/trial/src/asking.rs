//! What users ask for, drawn at random: of few keys, whose names are single letters, so that ranges and permissions meet,
//! touch, and leave gaps.

use bytes::Bytes;
use quorate_kv::auth::{AuthCommand, PasswordHash};
use quorate_kv::request::{
    Command, Compare, CompareTarget, DeleteRangeRequest, KeyRange, LeaseId, Operation, PutRequest,
    RangeEnd, RangeRequest, Relation, Revision, TxnRequest,
};
use quorate_kv::watch::Watch;
use quorate_sim::Rng;

use crate::permissions::KEYS;
use crate::users::NAMES;

fn letter(place: u64) -> Bytes {
    vec![b'a' + place as u8].into()
}

fn key(rng: &mut Rng) -> Bytes {
    letter(rng.below(KEYS.into()))
}

/// A few keys that lie next to each other.
pub(crate) fn range(rng: &mut Rng) -> KeyRange {
    let start = rng.below(KEYS.into());
    let end = match rng.below(4) {
        0 => RangeEnd::Single,
        1 if start + 2 >= KEYS.into() => RangeEnd::Unbounded,
        _ => RangeEnd::Before(letter((start + 1 + rng.below(2)).min(KEYS.into()))),
    };
    KeyRange { start: letter(start), end }
}

/// A read of a range.
pub(crate) fn read(range: KeyRange) -> RangeRequest {
    RangeRequest::of(range)
}

/// A watch of a range, by nobody yet.
pub(crate) fn watch(rng: &mut Rng) -> Watch {
    Watch {
        range: range(rng),
        start: Revision(0),
        no_put: false,
        // A deletion says nothing of who asked for it.
        no_delete: true,
        prev_kv: rng.below(2) == 0,
        progress_notify: false,
        fragment: false,
        asker: None,
    }
}

/// A write, alone or in a transaction, maybe in one that lies in another; or a change that only the administrator may make.
/// Whatever is carried out writes this number.
pub(crate) fn command(rng: &mut Rng, number: u64) -> Command {
    if rng.below(16) == 0 {
        let name = (*rng.pick(&NAMES)).to_owned();
        let password = PasswordHash(number.to_string());
        return Command::Auth(AuthCommand::ChangePassword { name, password });
    }
    let put = put(rng, number);
    match rng.below(3) {
        0 => Command::Put(put),
        1 => Command::Txn(txn(rng, vec![Operation::Put(put)])),
        _ => {
            let inner = txn(rng, vec![Operation::Put(put)]);
            // Whoever may do nothing outside has little to be caught at inside.
            Command::Txn(TxnRequest {
                success: vec![Operation::Txn(inner)],
                ..TxnRequest::default()
            })
        }
    }
}

fn put(rng: &mut Rng, number: u64) -> PutRequest {
    PutRequest {
        key: key(rng),
        value: format!("{number}").into(),
        lease: LeaseId(0),
        prev_kv: rng.below(2) == 0,
        ignore_value: false,
        ignore_lease: false,
    }
}

/// A transaction whose conditions always hold, with something else in one of its blocks.
fn txn(rng: &mut Rng, success: Vec<Operation>) -> TxnRequest {
    let mut txn = TxnRequest { success, ..TxnRequest::default() };
    if rng.below(2) == 0 {
        txn.compare.push(Compare {
            range: KeyRange { start: key(rng), end: RangeEnd::Single },
            relation: Relation::Greater,
            target: CompareTarget::Version(-1),
        });
    }
    let other = match rng.below(3) {
        0 => return txn,
        1 => Operation::Range(read(range(rng))),
        _ => {
            let prev_kv = rng.below(2) == 0;
            Operation::DeleteRange(DeleteRangeRequest { range: range(rng), prev_kv })
        }
    };
    match rng.below(2) {
        // Before the write, which it might undo.
        0 => txn.success.insert(0, other),
        _ => txn.failure.push(other),
    }
    txn
}

/// The number that a command writes.
pub(crate) fn number(command: &Command) -> Option<u64> {
    match command {
        Command::Put(put) => number_of(&put.value),
        Command::Txn(txn) => number_in(txn),
        Command::Auth(AuthCommand::ChangePassword { password, .. }) => {
            number_of(password.0.as_bytes())
        }
        _ => None,
    }
}

fn number_in(txn: &TxnRequest) -> Option<u64> {
    txn.success.iter().find_map(|operation| match operation {
        Operation::Put(put) => number_of(&put.value),
        Operation::Txn(txn) => number_in(txn),
        Operation::Range(_) | Operation::DeleteRange(_) => None,
    })
}

/// The number that a value is.
pub(crate) fn number_of(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
