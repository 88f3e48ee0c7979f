//! What clients ask of Raft in the lab, and how that and the rest is put into words.

use bytes::Bytes;
use quorate_core::NodeId;
use quorate_protocols::consensus::raft::{
    Change, Message, Raft, Record, Request, Response, Timer, words,
};
use quorate_sim::Describe;
use quorate_trace::Label;

use crate::exhibit::Asking;

/// What the leader alone can do.
pub(crate) const LEADERS: i64 = TRANSFERS.0 | CHANGES.0 | JOINT_CHANGES.0;

/// Each kind of request has a bit in the knob `kinds`, and how often it is drawn beside the others.
const PROPOSALS: (i64, u64) = (1, 6);
pub(super) const READS: (i64, u64) = (2, 6);
const TRANSFERS: (i64, u64) = (4, 2);
const CHANGES: (i64, u64) = (8, 4);
const JOINT_CHANGES: (i64, u64) = (16, 2);

/// All kinds.
pub(crate) const ALL: i64 = 31;

/// What clients may ask of a member, kind by kind, each with how often it is asked.
fn by_kind(kinds: i64, asked: u32, node: NodeId, nodes: &[NodeId]) -> Vec<(u64, Vec<Request>)> {
    let proposals = || vec![Request::Propose(Bytes::from(format!("v{}", asked + 1)))];
    let others = || nodes.iter().copied().filter(|other| *other != node);
    let transfers = || others().map(Request::Transfer).collect();
    let changes = || nodes.iter().copied().flat_map(changes_of).collect();
    let joint = || {
        let pairs = nodes.iter().enumerate();
        let pairs = pairs.flat_map(|(at, a)| nodes[at + 1..].iter().map(|b| (*a, *b)));
        pairs.map(|(a, b)| Request::ChangeMembership(both(a, b))).collect()
    };
    let all: [((i64, u64), &dyn Fn() -> Vec<Request>); 5] = [
        (PROPOSALS, &proposals),
        (READS, &|| vec![Request::Read]),
        (TRANSFERS, &transfers),
        (CHANGES, &changes),
        (JOINT_CHANGES, &joint),
    ];
    let wanted = all.into_iter().filter(|((bit, _), _)| kinds & bit != 0);
    wanted.map(|((_, weight), requests)| (weight, requests())).collect()
}

/// Four changes for each member: it comes as a learner, gets a vote, loses it, goes.
fn changes_of(node: NodeId) -> [Request; 4] {
    let changes = [
        Change::AddLearner { node, context: Bytes::new() },
        Change::Promote { node },
        Change::Demote { node },
        Change::Remove { node },
    ];
    changes.map(Request::ChangeMembership)
}

/// Two votes move at once.
fn both(a: NodeId, b: NodeId) -> Change {
    Change::All(vec![Change::Demote { node: a }, Change::Demote { node: b }])
}

/// All that may be asked of a member, in an order that scenarios count by.
pub(crate) fn requests(kinds: i64, asked: u32, node: NodeId, nodes: &[NodeId]) -> Vec<Request> {
    by_kind(kinds, asked, node, nodes).into_iter().flat_map(|(_, requests)| requests).collect()
}

/// What a simulated client asks next, of any member.
pub(crate) fn ask(
    kinds: i64,
    asking: &mut Asking<'_>,
    nodes: &[NodeId],
) -> Option<(NodeId, Request)> {
    let node = NodeId(asking.rng.below(asking.nodes) + 1);
    let mut kinds = by_kind(kinds, asking.asked, node, nodes);
    kinds.retain(|(_, requests)| !requests.is_empty());
    let mut drawn = asking.rng.below(kinds.iter().map(|(weight, _)| weight).sum::<u64>().max(1));
    for (weight, mut requests) in kinds {
        match drawn.checked_sub(weight) {
            Some(left) => drawn = left,
            None => {
                let at = asking.rng.below(requests.len() as u64) as usize;
                return Some((node, requests.swap_remove(at)));
            }
        }
    }
    None
}

/// Whether a message is of no interest here: a leader saying that it is there, and what members know of each other's runs,
/// which matters to those alone that have lost their memory.
fn is_routine(message: &Message) -> bool {
    words::is_routine(message) || matches!(message, Message::Hello { .. })
}

fn request(request: &Request) -> Label {
    Label::new(&match request {
        Request::Propose(payload) => format!("Propose {}", words::plain(payload)),
        Request::Read => "Read".to_owned(),
        Request::Transfer(to) => format!("Transfer to {to}"),
        Request::ChangeMembership(change) => format!("Change: {}", self::change(change)),
    })
}

fn change(change: &Change) -> String {
    match change {
        Change::AddLearner { node, .. } => format!("add {node} as a learner"),
        Change::Promote { node } => format!("promote {node}"),
        Change::Demote { node } => format!("demote {node}"),
        Change::Remove { node } => format!("remove {node}"),
        Change::Update { node, .. } => format!("update {node}"),
        Change::All(changes) => changes.iter().map(self::change).collect::<Vec<_>>().join(" and "),
    }
}

fn response(response: &Response) -> Label {
    Label::new(&match response {
        Response::Committed(index) => format!("committed at {index}"),
        Response::Readable(index) => format!("may read at {index}"),
        Response::Transferring => "is handing over".to_owned(),
        Response::Changed(index) => format!("changed at {index}"),
        Response::Refused(refusal) => format!("refused: {refusal:?}"),
        Response::Unknown => "nobody knows".to_owned(),
    })
}

pub(crate) fn describe() -> Describe<Raft> {
    Describe {
        message: |message: &Message| {
            let label = Label::new(&words::message(message, words::plain));
            if is_routine(message) { label.routine() } else { label }
        },
        timer: |timer: &Timer| Label::new(words::timer(*timer)),
        record: |record: &Record| Label::new(&words::record(record, words::plain)),
        request,
        response,
    }
}
