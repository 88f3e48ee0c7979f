//! The database's messages, records and requests in words, for who reads a run.

use bytes::Bytes;
use quorate_core::GroupId;
use quorate_kv::node::{Envelope, Node, Record, Timer};
use quorate_kv::request::{
    Command, DeleteRangeRequest, KeyRange, Operation, PutRequest, Query, RangeEnd, Response,
    TxnRequest,
};
use quorate_kv::service::{Member, MemberChange, Members, NodeRequest, NodeResponse};
use quorate_kv::wire;
use quorate_protocols::consensus::raft;
use quorate_sim::Describe;
use quorate_trace::Label;

/// All of it, as one reads it beside a diagram.
pub(crate) fn describe() -> Describe<Node> {
    Describe { message, timer, record, request, response }
}

fn message(envelope: &Envelope) -> Label {
    let texts: Vec<String> = envelope
        .messages
        .iter()
        .map(|(group, message)| {
            let text = raft::words::message(message, payload);
            in_group(*group, &text)
        })
        .collect();
    let text = texts.join("; ");
    let kind = envelope.messages.first().map(|(_, message)| raft::words::message(message, payload));
    let kind = kind.as_deref().and_then(|text| text.split(' ').next()).unwrap_or_default();
    let is_routine = envelope.messages.iter().all(|(_, message)| raft::words::is_routine(message));
    let label = Label::of_kind(kind, &text);
    if is_routine { label.routine() } else { label }
}

fn timer(timer: &Timer) -> Label {
    match timer {
        Timer::Heartbeat => Label::new("heartbeat").routine(),
        Timer::Flush => Label::new("flush").routine(),
        Timer::Overdue => Label::new("overdue"),
        Timer::Collect => Label::new("collect").routine(),
        Timer::Upkeep => Label::new("upkeep").routine(),
        Timer::Group(group, timer) => {
            let name = raft::words::timer(*timer);
            let label = Label::of_kind(name, &in_group(*group, name));
            let is_routine = matches!(timer, raft::Timer::Quorum | raft::Timer::Lease(_));
            if is_routine { label.routine() } else { label }
        }
    }
}

fn record(record: &Record) -> Label {
    in_group(record.group, &raft::words::record(&record.record, payload)).into()
}

/// Most runs have one group, the first, which goes without saying.
fn in_group(group: GroupId, text: &str) -> String {
    if group == GroupId(1) { text.to_owned() } else { format!("{group} {text}") }
}

fn request(request: &NodeRequest) -> Label {
    match request {
        NodeRequest::Command { command, .. } => self::command(command).into(),
        NodeRequest::Query { query: Query::Range(range), .. } => {
            format!("get {}", keys(&range.range)).into()
        }
        NodeRequest::Query { query: Query::Txn(txn), .. } => self::txn(txn).into(),
        NodeRequest::Query { query: Query::LeaseStatus { id, .. }, .. } => {
            format!("lease {}", id.0).into()
        }
        NodeRequest::Query { query: Query::Leases, .. } => "leases".into(),
        NodeRequest::Query { query: Query::Auth(query), .. } => format!("{query:?}").into(),
        NodeRequest::For { asker, request } => {
            format!("{}: {}", asker.user, self::request(request).text).into()
        }
        NodeRequest::History { beyond, .. } => match beyond {
            Some(known) => format!("history beyond {}", known.revision.0).into(),
            None => "history".into(),
        },
        NodeRequest::Tick { .. } => "tick".into(),
        NodeRequest::Status { group } => format!("status {group}").into(),
        NodeRequest::TransferLeadership { group, to } => format!("transfer {group} to {to}").into(),
        NodeRequest::Backup { group } => format!("backup {group}").into(),
        NodeRequest::Digest { group, .. } => format!("digest {group}").into(),
        NodeRequest::Members { group, .. } => format!("members {group}").into(),
        NodeRequest::ChangeMembers { group, change } => {
            in_group(*group, &self::change(change)).into()
        }
    }
}

fn response(response: &NodeResponse) -> Label {
    match response {
        NodeResponse::Done { outcome: Ok(response), .. } => self::done(response).into(),
        NodeResponse::Done { outcome: Err(error), .. }
        | NodeResponse::Transfer(Err(error))
        | NodeResponse::Members(Err(error))
        | NodeResponse::Backup(Err(error))
        | NodeResponse::History(Err(error))
        | NodeResponse::Digest(Err(error)) => Label::of_kind("refused", &error.to_string()),
        NodeResponse::Members(Ok(members)) => self::members(members).into(),
        NodeResponse::Backup(Ok(_)) => "backup".into(),
        NodeResponse::History(Ok(history)) => format!("history up to {}", history.now.0).into(),
        NodeResponse::LongRead(_) => "a long read".into(),
        NodeResponse::Digest(Ok(digest)) => format!("digest up to {}", digest.upto.0).into(),
        NodeResponse::Transfer(Ok(())) => "begun".into(),
        NodeResponse::Status(status) => format!("{status:?}").into(),
    }
}

fn change(change: &MemberChange) -> String {
    match change {
        MemberChange::Add { node, is_learner: true, .. } => format!("add learner {node}"),
        MemberChange::Add { node, is_learner: false, .. } => format!("add {node}"),
        MemberChange::Remove { node } => format!("remove {node}"),
        MemberChange::Update { node, .. } => format!("update {node}"),
        MemberChange::Promote { node } => format!("promote {node}"),
        MemberChange::Introduce { node, .. } => format!("introduce {node}"),
        MemberChange::SetAlarm { node, alarm, is_raised: true } => {
            format!("alarm {alarm:?} {node}")
        }
        MemberChange::SetAlarm { node, alarm, is_raised: false } => {
            format!("disarm {alarm:?} {node}")
        }
    }
}

/// Learners in brackets.
fn members(members: &Members) -> String {
    let name = |member: &Member| {
        if member.is_learner { format!("({})", member.node) } else { member.node.to_string() }
    };
    let names: Vec<String> = members.members.iter().map(name).collect();
    format!("members {}", names.join(","))
}

fn done(response: &Response) -> String {
    match response {
        Response::Range(range) => {
            let kvs: Vec<String> = range
                .kvs
                .iter()
                .map(|kv| format!("{}={}", text(&kv.key), text(&kv.value)))
                .collect();
            format!("[{}] at {}", kvs.join(" "), range.revision.0)
        }
        Response::Put(put) => format!("put at {}", put.revision.0),
        Response::DeleteRange(deleted) => {
            format!("deleted {} at {}", deleted.deleted, deleted.revision.0)
        }
        Response::Txn(txn) => {
            let responses: Vec<String> = txn.responses.iter().map(done).collect();
            let branch = if txn.succeeded { "then" } else { "else" };
            format!("{branch} {{{}}} at {}", responses.join("; "), txn.revision.0)
        }
        Response::Compact(compact) => format!("compacted at {}", compact.revision.0),
        Response::LeaseGrant(grant) => format!("granted {}", grant.id.0),
        Response::LeaseRevoke(revoke) => format!("revoked at {}", revoke.revision.0),
        Response::LeaseRenew(renewal) => format!("renewed for {} s", renewal.ttl_seconds),
        Response::LeaseStatus(status) => match status.left_seconds {
            Some(left) => format!("{left} s left"),
            None => "no such lease".to_owned(),
        },
        Response::Leases(all) => format!("{} leases", all.leases.len()),
        Response::Ticked => "ticked".to_owned(),
        Response::Auth(auth) => format!("{:?}", auth.answer),
    }
}

/// What an entry of the log holds.
fn payload(payload: &Bytes) -> String {
    match wire::decode(payload.clone()) {
        Ok(command) => self::command(&command),
        Err(_) => format!("{} bytes", payload.len()),
    }
}

fn command(command: &Command) -> String {
    match command {
        Command::Put(put) => self::put(put),
        Command::DeleteRange(delete) => self::delete(delete),
        Command::Txn(txn) => self::txn(txn),
        Command::Compact(compact) => format!("compact({})", compact.revision.0),
        Command::LeaseGrant(grant) => format!("grant({},{} s)", grant.id.0, grant.ttl_seconds),
        Command::LeaseRevoke(id) => format!("revoke({})", id.0),
        Command::LeaseRenew(id) => format!("renew({})", id.0),
        Command::Tick(tick) => format!("tick({} ms from {})", tick.by_ms, tick.from_ms),
        Command::Auth(change) => format!("{change:?}"),
    }
}

fn put(put: &PutRequest) -> String {
    format!("put({},{})", text(&put.key), text(&put.value))
}

fn delete(delete: &DeleteRangeRequest) -> String {
    format!("del({})", keys(&delete.range))
}

fn txn(txn: &TxnRequest) -> String {
    let block = |operations: &[Operation]| {
        let operations: Vec<String> = operations.iter().map(operation).collect();
        operations.join(";")
    };
    let conditions = txn.compare.len();
    format!("txn({conditions}?{{{}}}:{{{}}})", block(&txn.success), block(&txn.failure))
}

fn operation(operation: &Operation) -> String {
    match operation {
        Operation::Range(range) => format!("get({})", keys(&range.range)),
        Operation::Put(put) => self::put(put),
        Operation::DeleteRange(delete) => self::delete(delete),
        Operation::Txn(txn) => self::txn(txn),
    }
}

fn keys(range: &KeyRange) -> String {
    let start = text(&range.start);
    match &range.end {
        RangeEnd::Single => start,
        RangeEnd::Before(end) => format!("{start}..{}", text(end)),
        RangeEnd::Unbounded => format!("{start}.."),
    }
}

fn text(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            format!("0x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
    }
}
