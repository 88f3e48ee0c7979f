//! Who the members are, to people and to nodes: what stands behind the requests about membership.
//!
//! Raft knows nodes and votes. What else there is to know about a member (its name, where it is reached, what alarm it
//! has raised) is its [`MemberInfo`], which travels in Raft's membership as bytes. So it is agreed upon, kept, and sent
//! to newcomers like everything else in the log, and every node knows all of it.
//!
//! **A newcomer votes once it has caught up, never before.** etcd counts one that is added with a vote from that moment
//! on, and a cluster of three that is given a fourth member which doesn't start is one failure from standing still. Here
//! it is taken in as a learner that [awaits its vote](MemberInfo::awaits_vote), and whoever leads promotes it as soon as
//! that can do no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use quorate_core::{NodeId, Out, RequestId};
use quorate_engine::Engine;
use quorate_protocols::consensus::raft::{
    self, Change, Index, Membership, Raft, Refusal, Standing,
};

use super::Node;
use super::alarms::Alarms;
use crate::error::Error;
use crate::service::{Alarm, Member, MemberChange, Members, NodeResponse};

/// How many learners there may be that do not await a vote. Each is sent everything.
pub const LEARNERS_MAX: usize = 8;

/// What is known of a member beside its vote.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct MemberInfo {
    /// What people call it; empty until it has started.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Where the other members reach it.
    #[prost(string, repeated, tag = "2")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it; none until it has started.
    #[prost(string, repeated, tag = "3")]
    pub client_urls: Vec<String>,
    /// Whether it is to have a vote as soon as it has caught up.
    #[prost(bool, tag = "4")]
    pub awaits_vote: bool,
    /// The alarms that it has raised, by their numbers; see [`Alarm`].
    #[prost(int32, repeated, tag = "5")]
    pub alarm_numbers: Vec<i32>,
}

impl MemberInfo {
    /// As Raft keeps it.
    pub fn encode_to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// What Raft has kept. What this version cannot read says nothing.
    pub fn decode_or_default(bytes: &Bytes) -> Self {
        MemberInfo::decode(bytes.clone()).unwrap_or_default()
    }

    /// The alarms that it has raised. One that only a later version knows is left out.
    pub fn alarms(&self) -> impl Iterator<Item = Alarm> + '_ {
        self.alarm_numbers.iter().filter_map(|number| Alarm::from_number(*number))
    }
}

/// The members as they are seen from outside.
fn listed(membership: &Membership) -> Vec<Member> {
    let all = membership.members.iter().map(|(node, member)| Member {
        node: *node,
        is_learner: member.standing == Standing::Learner,
        info: MemberInfo::decode_or_default(&member.context),
    });
    all.collect()
}

/// What one replica's node keeps about members: who is asking, and what was seen last.
#[derive(Debug)]
pub(super) struct Register {
    /// The membership that was in force at the last look, and how often it was another one than at the look before.
    seen: Arc<Membership>,
    version: u64,
    /// The membership that all had agreed on at the last look, and the alarms in it.
    agreed: Arc<Membership>,
    alarms: Alarms,
    /// Changes and linearizable reads that Raft has under way.
    asked: BTreeSet<RequestId>,
    /// Reads that wait until this replica knows what was committed at their index, each with whether it was waiting
    /// already when overdue ones were last given up.
    readable: BTreeMap<(Index, RequestId), bool>,
    /// What is to be answered at the end of the step.
    done: Vec<(RequestId, Result<(), Error>)>,
}

impl Register {
    pub(super) fn new(raft: &Raft) -> Self {
        Register {
            seen: raft.membership().clone(),
            agreed: raft.committed_membership().clone(),
            alarms: Alarms::of(raft.committed_membership()),
            version: u64::from(!raft.membership().members.is_empty()),
            asked: BTreeSet::new(),
            readable: BTreeMap::new(),
            done: Vec::new(),
        }
    }

    /// Counts up whenever another membership comes into force; 0 while there never was any.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The alarms that all have agreed on.
    pub(super) fn alarms(&self) -> Alarms {
        self.alarms
    }

    /// Everybody who takes part now, and where their peers reach them.
    pub(super) fn peer_urls(&self) -> BTreeMap<NodeId, Vec<String>> {
        let nodes = self.seen.nodes().into_iter();
        let known = nodes.filter_map(|node| Some((node, self.seen.get(node)?)));
        known
            .map(|(node, member)| (node, MemberInfo::decode_or_default(&member.context).peer_urls))
            .collect()
    }

    /// What there is to ask of Raft for a question about the members; none if it is answered at the end of the step.
    pub(super) fn read(&mut self, id: RequestId, is_linearizable: bool) -> Option<raft::Request> {
        if is_linearizable {
            self.asked.insert(id);
            return Some(raft::Request::Read);
        }
        self.done.push((id, Ok(())));
        None
    }

    /// As [`Register::read`], for a change.
    pub(super) fn change(
        &mut self,
        raft: &Raft,
        id: RequestId,
        change: MemberChange,
    ) -> Option<raft::Request> {
        match plan(raft, change) {
            Ok(Some(change)) => {
                self.asked.insert(id);
                Some(raft::Request::ChangeMembership(change))
            }
            Ok(None) => {
                self.done.push((id, Ok(())));
                None
            }
            Err(error) => {
                self.done.push((id, Err(error)));
                None
            }
        }
    }

    /// Takes Raft's answer if it is to one of these requests; else gives it back.
    pub(super) fn take(
        &mut self,
        id: RequestId,
        response: raft::Response,
    ) -> Option<(RequestId, raft::Response)> {
        if !self.asked.remove(&id) {
            return Some((id, response));
        }
        match response {
            raft::Response::Readable(index) => {
                self.readable.insert((index, id), false);
            }
            raft::Response::Refused(refusal) => self.done.push((id, Err(refused(refusal)))),
            raft::Response::Unknown => self.done.push((id, Err(Error::TimedOut))),
            raft::Response::Changed(_)
            | raft::Response::Committed(_)
            | raft::Response::Transferring => self.done.push((id, Ok(()))),
        }
        None
    }

    /// The end of a step: answers what can be answered, and looks at who takes part now.
    pub(super) fn finish<E: Engine>(&mut self, raft: &Raft, out: &mut Out<'_, Node<E>>) {
        if !Arc::ptr_eq(&self.agreed, raft.committed_membership()) {
            self.agreed = raft.committed_membership().clone();
            self.alarms = Alarms::of(&self.agreed);
        }
        while let Some(entry) = self.readable.first_entry() {
            if entry.key().0 > raft.commit() {
                break;
            }
            let ((_, id), _) = entry.remove_entry();
            self.done.push((id, Ok(())));
        }
        for (id, outcome) in self.done.drain(..) {
            let members = outcome.map(|()| Members {
                term: raft.term().0,
                members: listed(raft.committed_membership()),
            });
            out.reply(id, NodeResponse::Members(members));
        }
        if !Arc::ptr_eq(&self.seen, raft.membership()) {
            self.seen = raft.membership().clone();
            self.version += 1;
        }
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.readable.is_empty()
    }

    /// Gives up the reads that wait since the call before this one.
    pub(super) fn give_up_overdue<E: Engine>(&mut self, out: &mut Out<'_, Node<E>>) {
        self.readable.retain(|(_, id), is_overdue| {
            if *is_overdue {
                out.reply(*id, NodeResponse::Members(Err(Error::TimedOut)));
            }
            !std::mem::replace(is_overdue, true)
        });
    }
}

/// What Raft has to change; none if everything is as it should be already.
fn plan(raft: &Raft, change: MemberChange) -> Result<Option<Change>, Error> {
    if !raft.is_leader() {
        return Err(Error::NotLeader);
    }
    let members = listed(raft.membership());
    let named = |node: NodeId| {
        members.iter().find(|member| member.node == node).ok_or(Error::MemberNotFound)
    };
    match change {
        MemberChange::Add { node, peer_urls, is_learner } => {
            check_peer_urls(&members, None, &peer_urls)?;
            if named(node).is_ok() {
                return Err(Error::MemberExists);
            }
            let learners = members.iter().filter(|member| member.is_plain_learner()).count();
            if is_learner && learners >= LEARNERS_MAX {
                return Err(Error::TooManyLearners);
            }
            let info = MemberInfo { peer_urls, awaits_vote: !is_learner, ..Default::default() };
            Ok(Some(Change::AddLearner { node, context: info.encode_to_bytes() }))
        }
        MemberChange::Remove { node } => {
            named(node)?;
            Ok(Some(Change::Remove { node }))
        }
        MemberChange::Update { node, peer_urls } => {
            check_peer_urls(&members, Some(node), &peer_urls)?;
            Ok(update(named(node)?, |info| info.peer_urls = peer_urls))
        }
        MemberChange::Promote { node } => {
            let member = named(node)?;
            if !member.is_learner {
                return Err(Error::MemberNotLearner);
            }
            let changes =
                [update(member, |info| info.awaits_vote = false), Some(Change::Promote { node })];
            Ok(Some(Change::All(changes.into_iter().flatten().collect())))
        }
        MemberChange::Introduce { node, name, client_urls } => {
            Ok(update(named(node)?, |info| (info.name, info.client_urls) = (name, client_urls)))
        }
        MemberChange::SetAlarm { node, alarm, is_raised } => Ok(update(named(node)?, |info| {
            info.alarm_numbers.retain(|number| *number != alarm.number());
            if is_raised {
                info.alarm_numbers.push(alarm.number());
                info.alarm_numbers.sort_unstable();
            }
        })),
    }
}

/// The change of what is known of a member; none if nothing is another.
fn update(member: &Member, change: impl FnOnce(&mut MemberInfo)) -> Option<Change> {
    let mut info = member.info.clone();
    change(&mut info);
    (info != member.info)
        .then(|| Change::Update { node: member.node, context: info.encode_to_bytes() })
}

/// Peer URLs must be there, and must not be those of another member.
fn check_peer_urls(
    members: &[Member],
    of: Option<NodeId>,
    peer_urls: &[String],
) -> Result<(), Error> {
    if peer_urls.is_empty() {
        return Err(Error::MemberBadUrls);
    }
    let mut others = members.iter().filter(|member| Some(member.node) != of);
    let is_taken =
        others.any(|other| other.info.peer_urls.iter().any(|url| peer_urls.contains(url)));
    if is_taken { Err(Error::PeerUrlExists) } else { Ok(()) }
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NoLeader => Error::NoLeader,
        Refusal::NotLeader { .. } => Error::NotLeader,
        Refusal::Overloaded => Error::TooManyRequests,
        Refusal::NoSuchMember => Error::MemberNotFound,
        Refusal::AlreadyThere => Error::MemberExists,
        Refusal::ChangeUnderWay | Refusal::TermNotOpen => Error::ChangeUnderWay,
        Refusal::LastVoter | Refusal::NoQuorum => Error::MemberNotEnoughStarted,
        Refusal::NotCaughtUp => Error::LearnerNotReady,
    }
}
