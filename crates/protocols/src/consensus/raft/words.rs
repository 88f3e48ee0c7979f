//! Messages, records and entries in words, for traces and diagrams.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::NodeId;

use super::{
    Append, Entry, Index, InstallSnapshot, Member, Membership, Message, Outcome, Record, Standing,
    Submission, Timer,
};

/// How an application puts its payloads into words.
pub type Payload = fn(&Bytes) -> String;

/// A payload that is text.
pub fn plain(payload: &Bytes) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

/// A message in one line.
pub fn message(message: &Message, payload: Payload) -> String {
    let is_reborn = message.greeting().is_some_and(|greeting| greeting.life != 0);
    said(message, payload) + if is_reborn { " (reborn)" } else { "" }
}

/// A message in one line, but for what it tells of its sender's memory.
fn said(message: &Message, payload: Payload) -> String {
    match message {
        Message::RequestVote { term, last_term, last_index, kind, .. } => {
            format!("RequestVote {kind:?} term={term} last={last_index}:{last_term}")
        }
        Message::Vote { term, is_pre, is_granted, .. } => {
            let kind = if *is_pre { "Pre" } else { "Real" };
            let answer = if *is_granted { "granted" } else { "refused" };
            format!("Vote {kind} term={term} {answer}")
        }
        Message::Append(Append {
            term,
            previous_index,
            previous_term,
            entries,
            commit,
            round,
            ..
        }) => {
            format!(
                "Append term={term} after={previous_index}:{previous_term} [{}] commit={commit}{}",
                self::entries(*previous_index, entries, payload),
                self::round(*round)
            )
        }
        Message::Appended { term, round, outcome, .. } => {
            let outcome = match outcome {
                Outcome::Matched(index) => format!("matched={index}"),
                Outcome::Conflict { rejected, term: None, first } => {
                    format!("conflict at {rejected}, ends before {first}")
                }
                Outcome::Conflict { rejected, term: Some(term), first } => {
                    format!("conflict at {rejected}, has term {term} from {first}")
                }
                Outcome::Stale => "stale".into(),
                Outcome::NeedsSnapshot(index) => format!("matched={index}, needs a snapshot"),
                Outcome::ChunksTaken { transfer, next } => {
                    format!("transfer {transfer}: chunks taken before {next}")
                }
            };
            format!("Appended term={term} {outcome}{}", self::round(*round))
        }
        Message::InstallSnapshot(InstallSnapshot {
            term,
            transfer,
            snapshot,
            number,
            is_last,
            ..
        }) => {
            let last = if *is_last { " (last)" } else { "" };
            format!(
                "InstallSnapshot term={term} transfer {transfer} of {}:{} chunk {number}{last}",
                snapshot.index, snapshot.term
            )
        }
        Message::TimeoutNow { term } => format!("TimeoutNow term={term}"),
        Message::Submit(Submission { term, boot, settled_below, proposals }) => {
            let proposals: Vec<String> = proposals
                .iter()
                .map(|(id, proposal)| format!("{id}={}", payload(proposal)))
                .collect();
            format!(
                "Submit term={term} boot={boot} settled<{settled_below} [{}]",
                proposals.join(" ")
            )
        }
        Message::Hello { greeting } => {
            format!("Hello boot={} met={}", boot(greeting.boot), greeting.met)
        }
        Message::ReadIndex { ticket } => format!("ReadIndex {}.{}", ticket.boot, ticket.number),
        Message::ReadIndexAnswer { ticket, index } => {
            format!("ReadIndexAnswer {}.{} index={index}", ticket.boot, ticket.number)
        }
    }
}

/// Whether the message comes again and again and seldom matters: a leader saying that it is there.
pub fn is_routine(message: &Message) -> bool {
    matches!(message, Message::Append(append) if append.entries.is_empty())
}

/// A timer in one word.
pub fn timer(timer: Timer) -> &'static str {
    match timer {
        Timer::Election => "election",
        Timer::Heartbeat => "heartbeat",
        Timer::Quorum => "quorum",
        Timer::Flush => "flush",
        Timer::Retry => "retry",
        Timer::Lease(_) => "lease",
        Timer::Promise => "promise",
    }
}

/// A record in one line.
pub fn record(record: &Record, payload: Payload) -> String {
    match record {
        Record::Booted { boot, .. } => format!("boot={boot}"),
        Record::Reborn { boot, .. } => format!("reborn boot={}", self::boot(*boot)),
        Record::Met { peer, met } => {
            format!("met {peer} boot={} told in {}", boot(met.boot), boot(met.told_in))
        }
        Record::Voted { term, vote: None } => format!("term={term}"),
        Record::Voted { term, vote: Some(vote) } => format!("term={term} vote={vote}"),
        Record::Appended { after, entries, .. } => {
            format!("after {after}: [{}]", self::entries(*after, entries, payload))
        }
        Record::Compacted { snapshot, keeps_tail, life, boot, term, vote, .. } => {
            let tail = if *keeps_tail { "keeping" } else { "dropping" };
            let reborn = if *life == 0 { "" } else { "reborn " };
            let vote = vote.map(|vote| format!(" vote={vote}")).unwrap_or_default();
            format!(
                "base={}:{}, {tail} what follows; {reborn}boot={} term={term}{vote}",
                snapshot.index,
                snapshot.term,
                self::boot(*boot)
            )
        }
    }
}

/// Each as `index:term`, and `=payload` or `={members}` unless it opens a term.
pub fn entries(after: Index, entries: &[Entry], payload: Payload) -> String {
    let entries: Vec<String> = entries
        .iter()
        .zip(after.0 + 1..)
        .map(|(entry, at)| match (&entry.origin, &entry.membership) {
            (Some(_), _) => format!("{at}:{}={}", entry.term, payload(&entry.payload)),
            (None, Some(membership)) => {
                format!("{at}:{}={}", entry.term, self::membership(membership))
            }
            (None, None) => format!("{at}:{}", entry.term),
        })
        .collect();
    entries.join(" ")
}

/// Boots of a life that began after a loss leap too far to be worth a look.
fn boot(boot: u64) -> String {
    if boot < 1000 { boot.to_string() } else { "far".into() }
}

/// Voters by number, learners in brackets, in square ones those that recover, with a mark if it is not their first life;
/// while the membership is joint, the voters before the change first.
fn membership(membership: &Membership) -> String {
    let names = |members: &BTreeMap<NodeId, Member>| {
        let names: Vec<String> = members
            .iter()
            .map(|(node, member)| {
                let life = if member.life == 0 { "" } else { "'" };
                match member.standing {
                    Standing::Voter => format!("{}{life}", node.0),
                    Standing::Recovering => format!("[{}{life}]", node.0),
                    Standing::Learner => format!("({}{life})", node.0),
                }
            })
            .collect();
        names.join(",")
    };
    let now = names(&membership.members);
    if membership.is_joint() {
        format!("{{{} to {now}}}", names(&membership.outgoing))
    } else {
        format!("{{{now}}}")
    }
}

fn round(round: u64) -> String {
    if round == 0 { String::new() } else { format!(" round={round}") }
}
