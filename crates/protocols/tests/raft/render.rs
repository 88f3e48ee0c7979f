//! How messages, records and logs look in a trace.

use std::collections::BTreeMap;

use quorate_core::NodeId;
use quorate_protocols::consensus::raft::{
    Append, Entry, Index, Member, Membership, Message, Outcome, Raft, Record, Standing, Submission,
    Timer,
};

/// The timer of that name.
pub(crate) fn timer(name: &str) -> Timer {
    match name {
        "election" => Timer::Election,
        "heartbeat" => Timer::Heartbeat,
        "quorum" => Timer::Quorum,
        "flush" => Timer::Flush,
        "retry" => Timer::Retry,
        _ => panic!("no timer is called {name}"),
    }
}

/// A message in one line.
pub(crate) fn message(message: &Message) -> String {
    let life = message.greeting().filter(|greeting| greeting.life != 0);
    words(message) + life.map_or("", |_| " (reborn)")
}

fn words(message: &Message) -> String {
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
                self::entries(*previous_index, entries),
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
            };
            format!("Appended term={term} {outcome}{}", self::round(*round))
        }
        Message::TimeoutNow { term } => format!("TimeoutNow term={term}"),
        Message::Submit(Submission { term, boot, settled_below, proposals }) => {
            let proposals: Vec<String> = proposals
                .iter()
                .map(|(id, payload)| format!("{id}={}", String::from_utf8_lossy(payload)))
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

/// A record in one line.
pub(crate) fn record(record: &Record) -> String {
    match record {
        Record::Booted { boot } => format!("boot={boot}"),
        Record::Reborn { boot, .. } => format!("reborn boot={}", self::boot(*boot)),
        Record::Met { peer, met } => format!("met {peer} boot={}", boot(met.boot)),
        Record::Voted { term, vote: None } => format!("term={term}"),
        Record::Voted { term, vote: Some(vote) } => format!("term={term} vote={vote}"),
        Record::Appended { after, entries, .. } => {
            format!("after {after}: [{}]", self::entries(*after, entries))
        }
    }
}

/// A member's log in one line.
pub(crate) fn log(raft: &Raft) -> String {
    let log = raft.log();
    format!("[{}]", entries(Index(0), log.slice(Index(1)..=log.last_index())))
}

/// Each as `index:term`, and `=payload` or `={members}` unless it opens a term.
fn entries(after: Index, entries: &[Entry]) -> String {
    let entries: Vec<String> = entries
        .iter()
        .zip(after.0 + 1..)
        .map(|(entry, at)| match (&entry.origin, &entry.membership) {
            (Some(_), _) => {
                format!("{at}:{}={}", entry.term, String::from_utf8_lossy(&entry.payload))
            }
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

/// Voters by number, learners in brackets, square ones if they recover, with a mark if it is not their first life; while the membership is joint, the voters before the change first.
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
