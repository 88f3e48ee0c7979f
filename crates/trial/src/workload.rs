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
use quorate_sim::{Clients, Cluster, Workload};

use crate::hunt::Hunt;
use crate::operation;

/// The clients that are at work at one time.
const CLIENTS: u64 = 6;
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
    pub fn new(groups: &[GroupId], operations: u32) -> Self {
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
        }
    }

    /// Has the leaders of a group hunted while clients are at work.
    pub(crate) fn hunting(mut self, hunt: Option<Hunt>) -> Self {
        self.hunt = hunt;
        self
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
        let node = clients.any_node();
        let groups: Vec<GroupId> = self.shards.keys().copied().collect();
        let group = *clients.rng().pick(&groups);
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

    /// Once all is well and all operations have ended, client k reads everything through node k.
    fn look_at_the_end(&mut self, client: u64, clients: &mut Clients<'_, Node>) {
        let nodes = clients.cluster().nodes().count() as u64;
        let is_judged = |open: &Open| !matches!(open.purpose, Purpose::FinalRead(..));
        if client >= nodes || !clients.is_healed() || self.open.values().any(is_judged) {
            clients.wake_after(Duration::from_millis(100), client);
            return;
        }
        let node = NodeId(client + 1);
        let now = clients.now().0;
        let missing = self
            .shards
            .iter_mut()
            .find(|(group, _)| !self.final_reads.contains_key(&(node, **group)));
        if let Some((&group, shard)) = missing {
            let input = KvInput::range(Span::All);
            match clients.ask(node, operation::request(group, &input)) {
                Some(id) => {
                    let operation = shard.history.invoke(ClientId(client), input, now);
                    let purpose = Purpose::FinalRead(group, operation);
                    self.open.insert((node, id), Open { client, purpose });
                }
                None => clients.wake_after(Duration::from_millis(100), client),
            }
        }
        self.is_over = self.final_reads.len() == nodes as usize * self.shards.len();
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
                    Err(_) => shard.history.refused(operation),
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
                let digest = shard.store().digest().map_err(|error| format!("{id}: {error}"))?;
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
    }

    fn wake(&mut self, client: u64, clients: &mut Clients<'_, Node>) {
        self.act(client, clients);
    }

    fn reply(
        &mut self,
        node: NodeId,
        id: RequestId,
        response: NodeResponse,
        clients: &mut Clients<'_, Node>,
    ) {
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
        // The promises of a run end with it: its successor is looked at anew.
        for shard in self.shards.values_mut() {
            shard.properties.forget(node);
        }
    }

    fn stepped(&mut self, node: NodeId, clients: &mut Clients<'_, Node>) {
        if let Some(hunt) = self.hunt.as_mut().filter(|_| !clients.is_healed()) {
            hunt.stepped(node, clients);
        }
    }

    fn healed(&mut self, _: &mut Clients<'_, Node>) {
        self.operations_left = self.operations_left.min(20);
    }

    // After every step of every node, so it is enough to look at the one that took it.
    fn invariant(&mut self, stepped: NodeId, cluster: &Cluster<'_, Node>) -> Result<(), String> {
        let Some(node) = cluster.state(stepped) else { return Ok(()) };
        for (group, shard) in &mut self.shards {
            if let Some(member) = node.shard(*group) {
                shard.properties.observe_member(stepped, member.raft())?;
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_over
    }

    fn verdict(&mut self, cluster: &Cluster<'_, Node>) -> Result<(), String> {
        if !self.is_over {
            let states: Vec<String> = cluster
                .live()
                .map(|(id, node)| format!("{id}: {}", quorate_core::Protocol::view(node)))
                .collect();
            return Err(format!(
                "all has been well for long, yet {} requests are unanswered and {} final reads missing; {}",
                self.open.len(),
                cluster.nodes().count() * self.shards.len() - self.final_reads.len(),
                states.join("; ")
            ));
        }
        self.replicas_are_equal(cluster)?;
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
