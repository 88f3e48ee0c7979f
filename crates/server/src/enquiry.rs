//! What nodes ask of each other, and are asked by those that are about to join, on the peer port: who the members are,
//! to have the leader change that, and for the fingerprint of their data.
//!
//! A question and its answer are protocol buffers: fields may be added under new numbers. Both name the cluster.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use quorate_core::NodeId;
use quorate_kv::error::Error;
use quorate_kv::node::members::MemberInfo;
use quorate_kv::request::Revision;
use quorate_kv::service::{Alarm, Member, MemberChange, Members};
use quorate_runtime::{EnquiryError, enquire};
use quorate_tls::Dialer;

use crate::fingerprint::Fingerprint;

/// How long an answer may take. A change of membership takes a node that is asked for it a few seconds at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Enquiry {
    /// Who the members are, as the cluster has agreed.
    Roll,
    /// A change of them, for the leader.
    Change(MemberChange),
    /// The fingerprint of what can be read up to a revision.
    Fingerprint(Revision),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// To a roll or a change.
    Members(Members),
    /// To a question after a fingerprint; none as long as it is being computed.
    Fingerprint(Option<Fingerprint>),
}

/// Why an enquiry came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody was asked, or nobody answered.
    Transport(EnquiryError),
    /// The other node is of this other cluster.
    OtherCluster(u64),
    /// It refused.
    Refused(Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Transport(error) => error.fmt(f),
            Failure::OtherCluster(cluster) => write!(f, "it is of another cluster, {cluster:x}"),
            Failure::Refused(error) => error.fmt(f),
        }
    }
}

/// Asks the node whose peer port is at `address`. A node that joins knows of no cluster yet, and asks whichever it finds.
/// Returns the cluster with the answer, which is about the members.
pub(crate) async fn ask(
    address: &str,
    dialer: Option<&Dialer>,
    cluster: Option<u64>,
    enquiry: &Enquiry,
) -> Result<(u64, Members), Failure> {
    let answer = converse(address, dialer, cluster, enquiry).await?;
    let members = answer.members.into_iter().map(|member| Member {
        node: NodeId(member.node),
        is_learner: member.is_learner,
        info: member.info.unwrap_or_default(),
    });
    Ok((answer.cluster, Members { term: answer.term, members: members.collect() }))
}

/// Asks the node whose peer port is at `address` for its fingerprint at a revision. It is to be asked again as long as
/// that is not there. Earlier versions say something else, and nothing comes of it.
pub(crate) async fn ask_fingerprint(
    address: &str,
    dialer: Option<&Dialer>,
    cluster: u64,
    upto: Revision,
) -> Result<Option<Fingerprint>, Failure> {
    let enquiry = Enquiry::Fingerprint(upto);
    let answer = converse(address, dialer, Some(cluster), &enquiry).await?;
    let WireFingerprint { is_there, hash, compacted } =
        answer.fingerprint.ok_or(Failure::Transport(EnquiryError::Nonsense))?;
    Ok(is_there.then_some(Fingerprint { hash, compacted: Revision(compacted) }))
}

async fn converse(
    address: &str,
    dialer: Option<&Dialer>,
    cluster: Option<u64>,
    enquiry: &Enquiry,
) -> Result<WireAnswer, Failure> {
    let question = WireQuestion {
        cluster: cluster.unwrap_or(0),
        change: match enquiry {
            Enquiry::Change(change) => Some(change.into()),
            Enquiry::Roll | Enquiry::Fingerprint(_) => None,
        },
        fingerprint_upto: match enquiry {
            Enquiry::Fingerprint(upto) => Some(upto.0),
            Enquiry::Roll | Enquiry::Change(_) => None,
        },
    };
    let answer = enquire(address, dialer, &question.encode_to_vec(), ANSWER_WITHIN).await;
    let answer = WireAnswer::decode(answer.map_err(Failure::Transport)?)
        .map_err(|_| Failure::Transport(EnquiryError::Nonsense))?;
    if cluster.is_some_and(|cluster| cluster != answer.cluster) {
        return Err(Failure::OtherCluster(answer.cluster));
    }
    if answer.error != 0 {
        return Err(Failure::Refused(error_of(answer.error)));
    }
    Ok(answer)
}

/// Reads what a node of `cluster` is asked; none if it is meant for another cluster, or makes no sense.
pub(crate) fn read(cluster: u64, question: Bytes) -> Option<Enquiry> {
    let WireQuestion { cluster: theirs, change, fingerprint_upto } =
        WireQuestion::decode(question).ok()?;
    match (change, fingerprint_upto) {
        _ if theirs != 0 && theirs != cluster => None,
        (None, None) => Some(Enquiry::Roll),
        // Whoever has the membership changed, or makes a node work, must know which cluster's.
        _ if theirs == 0 => None,
        (Some(change), _) => change.try_into().ok().map(Enquiry::Change),
        (None, Some(upto)) => Some(Enquiry::Fingerprint(Revision(upto))),
    }
}

/// The answer of a node of `cluster`.
pub(crate) fn answer(cluster: u64, outcome: Result<Reply, Error>) -> Bytes {
    let mut answer = WireAnswer { cluster, ..Default::default() };
    match outcome {
        Ok(Reply::Fingerprint(found)) => {
            let there = |Fingerprint { hash, compacted }| WireFingerprint {
                is_there: true,
                hash,
                compacted: compacted.0,
            };
            answer.fingerprint = Some(found.map(there).unwrap_or_default());
        }
        Ok(Reply::Members(Members { term, members })) => {
            answer.term = term;
            answer.members = members
                .into_iter()
                .map(|Member { node, is_learner, info }| WireMember {
                    node: node.0,
                    is_learner,
                    info: Some(info),
                })
                .collect();
        }
        Err(error) => answer.error = number_of(&error),
    }
    answer.encode_to_vec().into()
}

/// The errors that travel, each with its number, which is never used again.
const ERRORS: &[(u32, Error)] = &[
    (1, Error::NotLeader),
    (2, Error::NoLeader),
    (3, Error::TooManyRequests),
    (4, Error::MemberNotFound),
    (5, Error::MemberExists),
    (6, Error::PeerUrlExists),
    (7, Error::MemberBadUrls),
    (8, Error::MemberNotEnoughStarted),
    (9, Error::MemberNotLearner),
    (10, Error::LearnerNotReady),
    (11, Error::TooManyLearners),
    (12, Error::ChangeUnderWay),
    (13, Error::TimedOut),
    (14, Error::FutureRevision),
    (15, Error::Compacted),
];

fn number_of(error: &Error) -> u32 {
    // Of what has no number nothing is known, and so neither is what came of the request.
    ERRORS.iter().find(|(_, known)| known == error).map_or(13, |(number, _)| *number)
}

fn error_of(number: u32) -> Error {
    let known = ERRORS.iter().find(|(known, _)| *known == number);
    known.map_or(Error::TimedOut, |(_, error)| error.clone())
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireQuestion {
    /// 0 for whichever it is.
    #[prost(uint64, tag = "1")]
    cluster: u64,
    /// None asks who the members are.
    #[prost(message, optional, tag = "2")]
    change: Option<WireChange>,
    /// If there is one, it asks for the fingerprint of what can be read up to this revision.
    #[prost(int64, optional, tag = "3")]
    fingerprint_upto: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireAnswer {
    #[prost(uint64, tag = "1")]
    cluster: u64,
    /// 0 if there was none.
    #[prost(uint32, tag = "2")]
    error: u32,
    #[prost(uint64, tag = "3")]
    term: u64,
    #[prost(message, repeated, tag = "4")]
    members: Vec<WireMember>,
    #[prost(message, optional, tag = "5")]
    fingerprint: Option<WireFingerprint>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireFingerprint {
    /// False as long as it is being computed.
    #[prost(bool, tag = "1")]
    is_there: bool,
    #[prost(fixed64, tag = "2")]
    hash: u64,
    #[prost(int64, tag = "3")]
    compacted: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireMember {
    #[prost(uint64, tag = "1")]
    node: u64,
    #[prost(bool, tag = "2")]
    is_learner: bool,
    #[prost(message, optional, tag = "3")]
    info: Option<MemberInfo>,
}

/// A change: its kind, and the fields that this kind has.
#[derive(Clone, PartialEq, prost::Message)]
struct WireChange {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, tag = "2")]
    node: u64,
    #[prost(string, repeated, tag = "3")]
    urls: Vec<String>,
    #[prost(string, tag = "4")]
    name: String,
    /// Of an addition: whether it stays a learner. Of an alarm: whether it is raised.
    #[prost(bool, tag = "5")]
    flag: bool,
    #[prost(int32, tag = "6")]
    alarm: i32,
}

impl From<&MemberChange> for WireChange {
    fn from(change: &MemberChange) -> Self {
        let of = |kind, node: &NodeId| WireChange { kind, node: node.0, ..Default::default() };
        match change {
            MemberChange::Add { node, peer_urls, is_learner } => {
                WireChange { urls: peer_urls.clone(), flag: *is_learner, ..of(1, node) }
            }
            MemberChange::Remove { node } => of(2, node),
            MemberChange::Update { node, peer_urls } => {
                WireChange { urls: peer_urls.clone(), ..of(3, node) }
            }
            MemberChange::Promote { node } => of(4, node),
            MemberChange::Introduce { node, name, client_urls } => {
                WireChange { urls: client_urls.clone(), name: name.clone(), ..of(5, node) }
            }
            MemberChange::SetAlarm { node, alarm, is_raised } => {
                WireChange { alarm: alarm.number(), flag: *is_raised, ..of(6, node) }
            }
        }
    }
}

/// A change of a kind, or of an alarm, that only a later version knows.
struct UnknownChange;

impl TryFrom<WireChange> for MemberChange {
    type Error = UnknownChange;

    fn try_from(change: WireChange) -> Result<Self, UnknownChange> {
        let WireChange { kind, node, urls, name, flag, alarm } = change;
        let node = NodeId(node);
        Ok(match kind {
            1 => MemberChange::Add { node, peer_urls: urls, is_learner: flag },
            2 => MemberChange::Remove { node },
            3 => MemberChange::Update { node, peer_urls: urls },
            4 => MemberChange::Promote { node },
            5 => MemberChange::Introduce { node, name, client_urls: urls },
            6 => {
                let alarm = Alarm::from_number(alarm).ok_or(UnknownChange)?;
                MemberChange::SetAlarm { node, alarm, is_raised: flag }
            }
            _ => return Err(UnknownChange),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_it_was_asked_and_only_by_the_cluster_that_it_is_for() {
        let (node, urls) = (NodeId(7), vec!["http://a:1".to_owned()]);
        let changes = [
            MemberChange::Add { node, peer_urls: urls.clone(), is_learner: true },
            MemberChange::Remove { node },
            MemberChange::Update { node, peer_urls: urls.clone() },
            MemberChange::Promote { node },
            MemberChange::Introduce { node, name: "n".into(), client_urls: urls },
            MemberChange::SetAlarm { node, alarm: Alarm::Corrupt, is_raised: true },
        ];
        for change in changes {
            let question =
                WireQuestion { cluster: 5, change: Some((&change).into()), fingerprint_upto: None };
            let question = Bytes::from(question.encode_to_vec());
            assert_eq!(read(5, question.clone()), Some(Enquiry::Change(change)));
            assert_eq!(read(6, question), None);
        }
        let anybody = Bytes::from(WireQuestion::default().encode_to_vec());
        assert_eq!(read(5, anybody), Some(Enquiry::Roll));
        let after = |cluster| {
            let question =
                WireQuestion { cluster, fingerprint_upto: Some(9), ..Default::default() };
            Bytes::from(question.encode_to_vec())
        };
        assert_eq!(read(5, after(5)), Some(Enquiry::Fingerprint(Revision(9))));
        assert_eq!(read(5, after(6)), None);
        assert_eq!(read(5, after(0)), None, "a stranger makes nobody work");
    }

    #[test]
    fn every_error_that_travels_arrives_as_it_was() {
        for (number, error) in ERRORS {
            assert_eq!(number_of(error), *number);
            assert_eq!(error_of(*number), *error);
        }
        assert_eq!(error_of(99), Error::TimedOut, "of an unknown one nothing is known");
    }
}
