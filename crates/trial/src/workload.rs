//! The clients of the database, and the judges of what they saw.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_check::history::{ClientId, History, OpId};
use quorate_check::kv_model::{self, Contents, KeyValue, KvHistory, KvInput, Span};
use quorate_check::{Verdict, revisions};
use quorate_core::{GroupId, NodeId, RequestId};
use quorate_kv::error::Error;
use quorate_kv::node::Node;
use quorate_kv::request::{Command, CompactRequest, Response, Revision};
use quorate_kv::service::{NodeRequest, NodeResponse};
use quorate_protocols::consensus::raft::properties::Properties;
use quorate_sim::{Clients, Cluster, Loss, Workload};

use crate::audience::{Audience, AudienceTally};
use crate::churn::{Churn, ChurnTally};
use crate::engines::{EngineTally, Engines};
use crate::hunt::Hunt;
use crate::losses::Losses;
use crate::users::{UserTally, Users};
use crate::versions::{VersionTally, Versions};
use crate::{members, operation};

/// The clients that are at work at one time. A run may have as many nodes, since each client reads from one in the end.
pub(crate) const CLIENTS: u64 = 6;
/// Who else is woken.
pub(crate) const OPERATOR: u64 = CLIENTS;
pub(crate) const ENGINES: u64 = CLIENTS + 1;
pub(crate) const AUDIENCE: u64 = CLIENTS + 2;
pub(crate) const USERS: u64 = CLIENTS + 3;
/// After so many steps of the model a history counts as undecided, and is only audited.
const CHECK_STEPS_MAX: u64 = 500_000;

/// The workload of one run.
pub struct Trial {
    shards: BTreeMap<GroupId, ShardTrial>,
    /// What is under way, by node and request.
    open: BTreeMap<(NodeId, RequestId), Open>,
    operations_left: u32,
    values_written: u64,
    /// What each node answered to a read of everything, once all was well and all operations had ended.
    final_reads: BTreeMap<(NodeId, GroupId), Contents>,
    is_over: bool,
    undecided: u32,
    hunt: Option<Hunt>,
    churn: Option<Churn>,
    losses: Losses,
    engines: Option<Engines>,
    versions: Option<Versions>,
    audience: Option<Audience>,
    users: Option<Users>,
    /// What the audience or the users found broken.
    broken: Option<String>,
}

/// What a run's hazards came to; the tests demand that they were real.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How members came and went.
    pub churn: ChurnTally,
    /// What happened to engines.
    pub engines: EngineTally,
    /// What was new to nodes of this version.
    pub versions: VersionTally,
    /// What was watched, and what became of leases.
    pub audience: AudienceTally,
    /// What users asked for.
    pub users: UserTally,
    /// Losses of memory that only others could know of, and that they made known.
    pub losses_found_out: u64,
    /// Losses that nobody could know of, so that the node was told.
    pub losses_told: u64,
    /// Runs after a loss that ended before the node could be told.
    pub runs_cut_short: u64,
}

impl Tally {
    /// Each number with its name.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Tally { churn, engines, versions, audience, users, .. } = *self;
        let Tally { losses_found_out, losses_told, runs_cut_short, .. } = *self;
        [
            ("members added", churn.added),
            ("members added again", churn.added_again),
            ("learners promoted", churn.promoted),
            ("learners removed", churn.learners_removed),
            ("voters removed", churn.voters_removed),
            ("leaders that removed themselves", churn.leaders_removed),
            ("changes refused", churn.refused),
            ("changes of unknown outcome", churn.unknown),
            ("former members wiped", churn.wiped),
            ("engines rotten", engines.rotten),
            ("engines restored", engines.restored),
            ("engines full", engines.full),
            ("requests refused for want of space", engines.refused),
            ("messages of an unknown kind beside others", versions.skipped),
            ("records of the next version", versions.records),
            ("changes told to watchers", audience.told),
            ("watchers that went elsewhere", audience.resumed),
            ("watches ended by compaction", audience.compacted),
            ("watches seen behind", audience.behind),
            ("leases ended", audience.leases_ended),
            ("leases renewed", audience.leases_renewed),
            ("locks taken", audience.locks.taken),
            ("writes under a lock", audience.locks.guarded),
            ("writes under a lock that was lost", audience.locks.fenced_off),
            ("requests permitted", users.permitted),
            ("requests denied", users.denied),
            ("requests after a change of the password", users.outdated),
            ("changes told to users", users.told),
            ("watches ended with their permission", users.ended),
            ("losses found out by others", losses_found_out),
            ("losses told", losses_told),
            ("runs cut short after a loss", runs_cut_short),
        ]
        .into_iter()
    }
}

/// What was seen of one shard.
struct ShardTrial {
    history: KvHistory,
    properties: Properties,
    /// Something a client has seen, to make conditions of.
    seen: Option<KeyValue>,
    newest: Revision,
}

/// A request under way.
struct Open {
    client: u64,
    purpose: Purpose,
}

enum Purpose {
    /// An operation that is judged.
    Operation(GroupId, OpId),
    /// One that only gets in the way of others: a compaction, a transfer of leadership.
    Nuisance,
    /// The last look at everything, which is judged as well.
    FinalRead(GroupId, OpId),
}

impl Trial {
    /// Clients that put `operations` requests to the shards in `groups`.
    pub(crate) fn new(groups: &[GroupId], operations: u32, losses: Losses) -> Self {
        let shard = || ShardTrial {
            history: History::new(),
            properties: Properties::default(),
            seen: None,
            newest: Revision(1),
        };
        Trial {
            shards: groups.iter().map(|group| (*group, shard())).collect(),
            open: BTreeMap::new(),
            operations_left: operations,
            values_written: 0,
            final_reads: BTreeMap::new(),
            is_over: false,
            undecided: 0,
            hunt: None,
            churn: None,
            losses,
            engines: None,
            versions: None,
            audience: None,
            users: None,
            broken: None,
        }
    }

    /// Has the leaders of a group hunted while clients are at work.
    pub(crate) fn hunting(mut self, hunt: Option<Hunt>) -> Self {
        self.hunt = hunt;
        self
    }

    /// Has members come and go while clients are at work.
    pub(crate) fn churning(mut self, churn: Option<Churn>) -> Self {
        self.churn = churn;
        self
    }

    /// Has engines go bad while clients are at work.
    pub(crate) fn spoiling(mut self, engines: Option<Engines>) -> Self {
        self.engines = engines;
        self
    }

    /// Has nodes run different versions.
    pub(crate) fn mixing(mut self, versions: Versions) -> Self {
        self.versions = Some(versions);
        self
    }

    /// Has a shard of its own watched, and leases taken there.
    pub(crate) fn watched(mut self, audience: Option<Audience>) -> Self {
        self.audience = audience;
        self
    }

    /// Has users ask for what they may and may not, in a shard of its own.
    pub(crate) fn guarded(mut self, users: Option<Users>) -> Self {
        self.users = users;
        self
    }

    /// What the hazards of the run came to.
    pub fn tally(&self) -> Tally {
        Tally {
            churn: self.churn.as_ref().map(|churn| churn.tally).unwrap_or_default(),
            engines: self.engines.as_ref().map(|engines| engines.tally).unwrap_or_default(),
            versions: self.versions.as_ref().map(Versions::tally).unwrap_or_default(),
            audience: self.audience.as_ref().map(Audience::tally).unwrap_or_default(),
            users: self.users.as_ref().map(Users::tally).unwrap_or_default(),
            losses_found_out: self.losses.found_out,
            losses_told: self.losses.told,
            runs_cut_short: self.losses.cut_short,
        }
    }

    /// The number of shards whose history was too hard to search, so that it was only audited.
    pub fn undecided(&self) -> u32 {
        self.undecided
    }

    /// The number of shards whose history is judged.
    pub fn histories(&self) -> usize {
        self.shards.len()
    }

    /// The history of a shard.
    pub fn history(&self, group: GroupId) -> Option<&KvHistory> {
        self.shards.get(&group).map(|shard| &shard.history)
    }

    /// A client does something, or, if its node is down, tries another one soon.
    fn act(&mut self, client: u64, clients: &mut Clients<'_, Node>) {
        if self.operations_left == 0 {
            self.look_at_the_end(client, clients);
            return;
        }
        let groups: Vec<GroupId> = self.shards.keys().copied().collect();
        let mut node = clients.any_node();
        let group = *clients.rng().pick(&groups);
        if self.churn.is_some() && is_outside(node, group, clients) {
            node = clients.any_node();
        }
        let Some(shard) = self.shards.get_mut(&group) else { return };
        let nuisance = match clients.rng().below(100) {
            0..2 => Some(NodeRequest::TransferLeadership { group, to: clients.any_node() }),
            2..4 => {
                let revision = Revision(shard.newest.0 - clients.rng().below(8) as i64);
                let physical = clients.rng().below(2) == 0;
                let command = Command::Compact(CompactRequest { revision, physical });
                Some(NodeRequest::Command { group, command })
            }
            _ => None,
        };
        let asked = match nuisance {
            Some(request) => clients.ask(node, request).map(|id| (id, Purpose::Nuisance)),
            None => {
                let value = format!("v{}", self.values_written).into_bytes();
                let input = operation::draw(clients.rng(), value, shard.seen.as_ref());
                let request = operation::request(group, &input);
                let now = clients.now().0;
                clients.ask(node, request).map(|id| {
                    let operation = shard.history.invoke(ClientId(client), input, now);
                    (id, Purpose::Operation(group, operation))
                })
            }
        };
        match asked {
            Some((id, purpose)) => {
                self.values_written += 1;
                self.operations_left -= 1;
                self.open.insert((node, id), Open { client, purpose });
            }
            None => clients.wake_after(Duration::from_millis(20), client),
        }
    }

    /// Once all is well and all operations have ended, client k reads everything through node k, as far as that takes
    /// part: nobody else has anything to serve.
    fn look_at_the_end(&mut self, client: u64, clients: &mut Clients<'_, Node>) {
        let is_judged = |open: &Open| !matches!(open.purpose, Purpose::FinalRead(..));
        let is_changing = self.churn.as_ref().is_some_and(Churn::is_waiting);
        if !clients.is_healed() || self.open.values().any(is_judged) || is_changing {
            clients.wake_after(Duration::from_millis(100), client);
            return;
        }
        let missing = self.missing_reads(&clients.cluster());
        let cluster = clients.cluster();
        self.is_over = missing.is_empty()
            && self.losses.unsettled(&cluster).is_none()
            && self.unsettled(&cluster).is_none();
        let node = NodeId(client + 1);
        let mine = missing.into_iter().find_map(|(of, group)| (of == node).then_some(group));
        let asked = mine.and_then(|group| {
            let input = KvInput::range(Span::All);
            let id = clients.ask(node, operation::request(group, &input))?;
            let shard = self.shards.get_mut(&group)?;
            let operation = shard.history.invoke(ClientId(client), input, clients.now().0);
            Some((id, Purpose::FinalRead(group, operation)))
        });
        match asked {
            Some((id, purpose)) => {
                self.open.insert((node, id), Open { client, purpose });
            }
            None => clients.wake_after(Duration::from_millis(100), client),
        }
    }

    /// What the audience and the users still wait for.
    fn unsettled(&self, cluster: &Cluster<'_, Node>) -> Option<String> {
        let audience = self.audience.as_ref().and_then(|audience| audience.unsettled(cluster));
        audience.or_else(|| self.users.as_ref().and_then(Users::unsettled))
    }

    /// The reads that are to be made in the end and are not yet.
    fn missing_reads(&self, cluster: &Cluster<'_, Node>) -> Vec<(NodeId, GroupId)> {
        let mut missing = Vec::new();
        for group in self.shards.keys().copied() {
            let members = members::committed(group, cluster).map(|membership| membership.nodes());
            let reads = members.into_iter().flatten().map(|node| (node, group));
            missing.extend(reads.filter(|read| !self.final_reads.contains_key(read)));
        }
        missing
    }

    fn think(client: u64, clients: &mut Clients<'_, Node>) {
        let after = clients
            .rng()
            .duration_by_magnitude(&(Duration::from_micros(100)..Duration::from_millis(300)));
        clients.wake_after(after, client);
    }

    fn settle(&mut self, node: NodeId, purpose: Purpose, response: NodeResponse, now: u64) {
        match (purpose, response) {
            (Purpose::Operation(group, operation), NodeResponse::Done { outcome, .. }) => {
                let Some(shard) = self.shards.get_mut(&group) else { return };
                match outcome {
                    Ok(response) => shard.complete(operation, &response, now),
                    // Time ran out, or the node stops: it may have happened.
                    Err(Error::TimedOut | Error::Stopped) => shard.history.unknown(operation),
                    Err(error) => {
                        shard.history.refused(operation);
                        if let Some(engines) = &mut self.engines
                            && error == Error::NoSpace
                        {
                            engines.tally.refused += 1;
                        }
                    }
                }
            }
            (Purpose::FinalRead(group, operation), NodeResponse::Done { outcome, .. }) => {
                let Some(shard) = self.shards.get_mut(&group) else { return };
                match outcome {
                    Ok(response) => {
                        let output = operation::output(&response);
                        let entries = operation::shown(&output).cloned().collect();
                        let contents = Contents { revision: output.revision, entries };
                        self.final_reads.insert((node, group), contents);
                        shard.complete(operation, &response, now);
                    }
                    Err(_) => shard.history.refused(operation),
                }
            }
            _ => {}
        }
    }

    fn replicas_are_equal(&self, cluster: &Cluster<'_, Node>) -> Result<(), String> {
        for &group in self.shards.keys() {
            let mut by_applied = BTreeMap::new();
            for (id, node) in cluster.live() {
                let Some(shard) = node.shard(group) else { continue };
                let digest = match shard.store().digest() {
                    Ok(digest) => digest,
                    // It waits for a state that nobody has reason to send it.
                    Err(_) if !members::is_member(id, group, cluster) => continue,
                    Err(error) => return Err(format!("{id}: {error}")),
                };
                let (first, known) = *by_applied.entry(shard.applied()).or_insert((id, digest));
                if known != digest {
                    return Err(format!(
                        "{first} and {id} have both applied entry {} of {group} and hold different stores",
                        shard.applied()
                    ));
                }
            }
        }
        Ok(())
    }
}

impl ShardTrial {
    fn complete(&mut self, operation: OpId, response: &Response, now: u64) {
        let output = operation::output(response);
        self.newest = self.newest.max(Revision(output.revision.0 as i64));
        if let Some(seen) = operation::shown(&output).last() {
            self.seen = Some(seen.clone());
        }
        self.history.complete(operation, output, now);
    }
}

impl Workload<Node> for Trial {
    fn start(&mut self, clients: &mut Clients<'_, Node>) {
        for client in 0..CLIENTS {
            Trial::think(client, clients);
        }
        if let Some(churn) = &self.churn {
            churn.pause(clients);
        }
        if let Some(engines) = &self.engines {
            engines.pause(clients);
        }
        if let Some(audience) = &self.audience {
            audience.pause(clients);
        }
        if let Some(users) = &self.users {
            users.pause(clients);
        }
    }

    fn wake(&mut self, token: u64, clients: &mut Clients<'_, Node>) {
        let Trial { churn, engines, audience, users, .. } = self;
        match (token, churn, engines, audience, users) {
            (OPERATOR, Some(churn), ..) => churn.act(clients),
            (ENGINES, _, Some(engines), ..) => engines.act(clients),
            (AUDIENCE, _, _, Some(audience), _) => audience.act(clients),
            (USERS, .., Some(users)) => users.act(clients),
            (client, ..) => self.act(client, clients),
        }
    }

    fn reply(
        &mut self,
        node: NodeId,
        id: RequestId,
        response: NodeResponse,
        clients: &mut Clients<'_, Node>,
    ) {
        if let NodeResponse::Members(outcome) = &response
            && let Some(churn) = &mut self.churn
            && churn.reply(node, id, outcome, clients)
        {
            return;
        }
        if let Some(audience) = &mut self.audience
            && audience.reply(node, id, &response)
        {
            return;
        }
        if let Some(users) = &mut self.users
            && users.reply(node, id, &response, &clients.cluster())
        {
            return;
        }
        if let Some(Open { client, purpose }) = self.open.remove(&(node, id)) {
            self.settle(node, purpose, response, clients.now().0);
            Trial::think(client, clients);
        }
    }

    fn crashed(
        &mut self,
        node: NodeId,
        orphans: &BTreeSet<RequestId>,
        clients: &mut Clients<'_, Node>,
    ) {
        for id in orphans {
            let Some(Open { client, purpose }) = self.open.remove(&(node, *id)) else { continue };
            if let Purpose::Operation(group, operation) | Purpose::FinalRead(group, operation) =
                purpose
                && let Some(shard) = self.shards.get_mut(&group)
            {
                shard.history.unknown(operation);
            }
            Trial::think(client, clients);
        }
        if let Some(churn) = &mut self.churn {
            churn.crashed(node, clients);
        }
        if let Some(audience) = &mut self.audience {
            audience.crashed(node);
        }
        if let Some(users) = &mut self.users {
            users.crashed(node);
        }
        // The promises of a run end with it: its successor is looked at anew.
        for shard in self.shards.values_mut() {
            shard.properties.forget(node);
        }
    }

    fn lost_memory(&mut self, node: NodeId, _: Loss, clients: &mut Clients<'_, Node>) {
        self.losses.note(node, clients);
    }

    fn stepped(&mut self, node: NodeId, clients: &mut Clients<'_, Node>) {
        if let Some(hunt) = self.hunt.as_mut().filter(|_| !clients.is_healed()) {
            hunt.stepped(node, clients);
        }
        self.losses.stepped(node, clients);
        if let Some(audience) = &mut self.audience {
            self.broken = self.broken.take().or(audience.stepped(node, clients));
        }
        if let Some(users) = &mut self.users {
            self.broken = self.broken.take().or(users.stepped(node, clients));
        }
    }

    fn healed(&mut self, _: &mut Clients<'_, Node>) {
        self.operations_left = self.operations_left.min(20);
        if let Some(engines) = &mut self.engines {
            engines.healed();
        }
    }

    // After every step of every node, so it is enough to look at the one that took it.
    fn invariant(&mut self, stepped: NodeId, cluster: &Cluster<'_, Node>) -> Result<(), String> {
        self.losses.invariant()?;
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        for (group, shard) in &mut self.shards {
            if let Some(member) = members::raft(*group, stepped, cluster) {
                shard.properties.observe_member(stepped, member)?;
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_over
    }

    fn verdict(&mut self, cluster: &Cluster<'_, Node>) -> Result<(), String> {
        let mut halted = cluster.live().filter_map(|(id, node)| Some((id, node.why_halted()?)));
        if let Some((id, why)) = halted.next() {
            return Err(format!("{id} must stop: {why}"));
        }
        if !self.is_over {
            let states: Vec<String> = cluster
                .live()
                .map(|(id, node)| format!("{id}: {}", quorate_core::Protocol::view(node)))
                .collect();
            return Err(format!(
                "all has been well for long, yet {} requests are unanswered, {} final reads missing, {}, {}; {}",
                self.open.len(),
                self.missing_reads(cluster).len(),
                self.unsettled(cluster).unwrap_or("nothing untold".into()),
                self.losses.unsettled(cluster).unwrap_or("nobody without its memory".into()),
                states.join("; ")
            ));
        }
        if let Some(engines) = &mut self.engines {
            engines.settle(cluster);
        }
        self.replicas_are_equal(cluster)?;
        if let Some(audience) = &self.audience {
            audience.judge(true)?;
        }
        if let Some(broken) = self.churn.as_ref().and_then(|churn| churn.broken(cluster)) {
            return Err(broken);
        }
        for (group, shard) in &self.shards {
            let finals = self.final_reads.iter().filter(|((_, of), _)| of == group);
            let end = finals.map(|(_, contents)| contents).max_by_key(|end| end.revision);
            if let Some(finding) = revisions::audit(&Contents::empty(), &shard.history, end).first()
            {
                return Err(format!("{group}: {finding}"));
            }
            match kv_model::check(&Contents::empty(), &shard.history, CHECK_STEPS_MAX) {
                Verdict::Linearizable { .. } => {}
                Verdict::Violation(counterexample) => {
                    return Err(format!("{group} is not linearizable:\n{counterexample}"));
                }
                Verdict::Undecided { .. } => self.undecided += 1,
            }
        }
        Ok(())
    }
}

/// Whether a node knows itself that it takes no part in a group.
fn is_outside(node: NodeId, group: GroupId, clients: &Clients<'_, Node>) -> bool {
    members::raft(group, node, &clients.cluster())
        .is_some_and(|raft| raft.membership().get(node).is_none())
}
