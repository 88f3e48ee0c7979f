//! What clients ask, drawn at random, in the words of the model that judges it and of the database that does it.

use bytes::Bytes;
use quorate_check::kv_model::{
    Action, Compare, KeyValue, KvInput, KvOutput, KvReply, Relation, Reply, Revision, Span, Target,
};
use quorate_core::GroupId;
use quorate_kv::request::{self as kv, Command, Operation, Query};
use quorate_kv::service::NodeRequest;
use quorate_sim::Rng;

/// So few that clients are always in each other's way.
const KEYS: u64 = 4;

fn draw_key(rng: &mut Rng) -> Vec<u8> {
    vec![b'a' + rng.below(KEYS) as u8]
}

fn draw_span(rng: &mut Rng) -> Span {
    match rng.below(4) {
        0 => Span::All,
        1 => Span::From(draw_key(rng)),
        2 => {
            let (one, other) = (draw_key(rng), draw_key(rng));
            Span::Between(one.clone().min(other.clone()), one.max(other))
        }
        _ => Span::One(draw_key(rng)),
    }
}

/// Draws what a client asks. `value` is one that nobody has written; `seen` is something a client has seen, which makes
/// a condition that may well hold.
pub(crate) fn draw(rng: &mut Rng, value: Vec<u8>, seen: Option<&KeyValue>) -> KvInput {
    let put = |rng: &mut Rng, value| Action::Put {
        key: draw_key(rng),
        value,
        wants_previous: rng.below(2) == 0,
    };
    match rng.below(100) {
        0..35 => KvInput::One(put(rng, value)),
        35..60 => KvInput::get(draw_key(rng)),
        60..68 => KvInput::range(draw_span(rng)),
        68..76 => {
            KvInput::One(Action::Delete { span: draw_span(rng), wants_previous: rng.below(2) == 0 })
        }
        _ => {
            let compare = draw_compare(rng, seen);
            let key = compare.key.clone();
            let read = Action::Range { span: Span::One(key.clone()) };
            let write = Action::Put { key, value, wants_previous: true };
            let failure = if rng.below(3) == 0 { Vec::new() } else { vec![read.clone()] };
            KvInput::Txn { compares: vec![compare], success: vec![write, read], failure }
        }
    }
}

fn draw_compare(rng: &mut Rng, seen: Option<&KeyValue>) -> Compare {
    let relations = [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater];
    let relation = if rng.below(4) == 0 { *rng.pick(&relations) } else { Relation::Equal };
    let (key, target) = match seen {
        Some(seen) if rng.below(4) > 0 => {
            let target = match rng.below(4) {
                0 => Target::Value(seen.value.clone()),
                1 => Target::Version(seen.version),
                2 => Target::CreateRevision(seen.create_revision),
                _ => Target::ModRevision(seen.mod_revision),
            };
            (seen.key.clone(), target)
        }
        _ => (draw_key(rng), Target::Version(0)),
    };
    Compare { key, relation, target }
}

/// The request that asks the database for `input`.
pub(crate) fn request(group: GroupId, input: &KvInput) -> NodeRequest {
    match input {
        KvInput::One(Action::Range { span }) => NodeRequest::Query {
            group,
            query: Query::Range(range_request(span)),
            serializable: false,
        },
        KvInput::One(action) => NodeRequest::Command { group, command: command(action) },
        KvInput::Txn { compares, success, failure } => NodeRequest::Command {
            group,
            command: Command::Txn(kv::TxnRequest {
                compare: compares.iter().map(compare).collect(),
                success: success.iter().map(operation).collect(),
                failure: failure.iter().map(operation).collect(),
            }),
        },
    }
}

fn command(action: &Action) -> Command {
    match operation(action) {
        Operation::Put(put) => Command::Put(put),
        Operation::DeleteRange(delete) => Command::DeleteRange(delete),
        Operation::Range(_) | Operation::Txn(_) => unreachable!("a read is no command"),
    }
}

fn operation(action: &Action) -> Operation {
    match action {
        Action::Put { key, value, wants_previous } => Operation::Put(kv::PutRequest {
            key: key.clone().into(),
            value: value.clone().into(),
            lease: kv::LeaseId(0),
            prev_kv: *wants_previous,
            ignore_value: false,
            ignore_lease: false,
        }),
        Action::Range { span } => Operation::Range(range_request(span)),
        Action::Delete { span, wants_previous } => Operation::DeleteRange(kv::DeleteRangeRequest {
            range: key_range(span),
            prev_kv: *wants_previous,
        }),
    }
}

fn key_range(span: &Span) -> kv::KeyRange {
    let range = |start: &[u8], end| kv::KeyRange { start: Bytes::copy_from_slice(start), end };
    match span {
        Span::One(key) => range(key, kv::RangeEnd::Single),
        Span::Between(from, to) => range(from, kv::RangeEnd::Before(to.clone().into())),
        Span::From(from) => range(from, kv::RangeEnd::Unbounded),
        Span::All => range(&[0], kv::RangeEnd::Unbounded),
    }
}

fn range_request(span: &Span) -> kv::RangeRequest {
    kv::RangeRequest::of(key_range(span))
}

fn compare(compare: &Compare) -> kv::Compare {
    let revision = |revision: &Revision| kv::Revision(revision.0 as i64);
    kv::Compare {
        range: key_range(&Span::One(compare.key.clone())),
        relation: match compare.relation {
            Relation::Equal => kv::Relation::Equal,
            Relation::NotEqual => kv::Relation::NotEqual,
            Relation::Less => kv::Relation::Less,
            Relation::Greater => kv::Relation::Greater,
        },
        target: match &compare.target {
            Target::Value(value) => kv::CompareTarget::Value(value.clone().into()),
            Target::Version(version) => kv::CompareTarget::Version(*version as i64),
            Target::CreateRevision(at) => kv::CompareTarget::CreateRevision(revision(at)),
            Target::ModRevision(at) => kv::CompareTarget::ModRevision(revision(at)),
        },
    }
}

/// The database's answer, in the model's words.
pub(crate) fn output(response: &kv::Response) -> KvOutput {
    let (at, reply) = match response {
        kv::Response::Txn(txn) => {
            let replies = txn.responses.iter().map(|inner| reply(inner).1).collect();
            (txn.revision, KvReply::Txn { succeeded: txn.succeeded, replies })
        }
        other => {
            let (at, reply) = reply(other);
            (at, KvReply::One(reply))
        }
    };
    KvOutput { revision: Revision(at.0 as u64), reply }
}

fn reply(response: &kv::Response) -> (kv::Revision, Reply) {
    match response {
        kv::Response::Range(range) => {
            (range.revision, Reply::Range { entries: range.kvs.iter().map(key_value).collect() })
        }
        kv::Response::Put(put) => {
            (put.revision, Reply::Put { previous: put.prev_kv.as_ref().map(key_value) })
        }
        kv::Response::DeleteRange(delete) => (
            delete.revision,
            Reply::Delete {
                deleted: delete.deleted as u64,
                previous: delete.prev_kvs.iter().map(key_value).collect(),
            },
        ),
        kv::Response::Txn(_)
        | kv::Response::Compact(_)
        | kv::Response::LeaseGrant(_)
        | kv::Response::LeaseRevoke(_)
        | kv::Response::LeaseRenew(_)
        | kv::Response::LeaseStatus(_)
        | kv::Response::Leases(_)
        | kv::Response::Ticked
        | kv::Response::Auth(_) => {
            unreachable!("the workload nests no transactions, and does not judge compactions")
        }
    }
}

fn key_value(kv: &kv::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key.to_vec(),
        value: kv.value.to_vec(),
        create_revision: Revision(kv.create_revision.0 as u64),
        mod_revision: Revision(kv.mod_revision.0 as u64),
        version: kv.version as u64,
    }
}

/// The keys that an answer shows.
pub(crate) fn shown(output: &KvOutput) -> impl Iterator<Item = &KeyValue> {
    let replies = match &output.reply {
        KvReply::One(reply) => std::slice::from_ref(reply),
        KvReply::Txn { replies, .. } => replies.as_slice(),
    };
    replies.iter().flat_map(|reply| match reply {
        Reply::Range { entries } => entries.as_slice(),
        Reply::Delete { previous, .. } => previous.as_slice(),
        Reply::Put { previous } => previous.as_slice(),
    })
}
