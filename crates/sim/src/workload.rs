//! Workloads: the clients of a simulated cluster, and the judges of what they saw.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_core::{Host, NodeId, Protocol, RequestId};

use crate::counters::Counters;
use crate::disk::Loss;
use crate::faults::{FAULTS_MAX, Fault, Scheduled};
use crate::node::{Event, Process, Shared, Waiting};
use crate::rng::Rng;
use crate::time::Time;

/// What clients do, and what must hold.
///
/// All that a workload does, it does from its callbacks, at the virtual time of the call. What it draws, it draws
/// from [`Clients::rng`].
pub trait Workload<P: Protocol> {
    /// The run begins. Every node has booted.
    fn start(&mut self, clients: &mut Clients<'_, P>);

    /// The time has come that was asked for with [`Clients::wake_after`].
    fn wake(&mut self, token: u64, clients: &mut Clients<'_, P>);

    /// A node has answered.
    fn reply(
        &mut self,
        node: NodeId,
        id: RequestId,
        response: P::Response,
        clients: &mut Clients<'_, P>,
    );

    /// A node has crashed, and takes with it the requests that it had not answered. Each *may have* happened, and
    /// will not be answered.
    fn crashed(
        &mut self,
        node: NodeId,
        orphans: &BTreeSet<RequestId>,
        clients: &mut Clients<'_, P>,
    );

    /// A node has booted again.
    fn booted(&mut self, _node: NodeId, _clients: &mut Clients<'_, P>) {}

    /// A node has booted and has lost its memory: what it held durably is gone. Whoever tells it, or has it find out, also
    /// says when it is [whole again](Clients::mark_whole).
    fn lost_memory(&mut self, _node: NodeId, _loss: Loss, _clients: &mut Clients<'_, P>) {}

    /// A node has taken a step, and all its answers were handed out. The moment for a workload that strikes where it
    /// hurts; see [`Clients::inflict`].
    fn stepped(&mut self, _node: NodeId, _clients: &mut Clients<'_, P>) {}

    /// Everything is well from here on: progress may be demanded.
    fn healed(&mut self, _clients: &mut Clients<'_, P>) {}

    /// Looks at all live nodes after a step of one of them. An error ends the run as a failure.
    fn invariant(&mut self, _stepped: NodeId, _cluster: &Cluster<'_, P>) -> Result<(), String> {
        Ok(())
    }

    /// Whether there is nothing left to wait for. Ends the run once everything has healed.
    fn is_done(&self) -> bool {
        false
    }

    /// The verdict on the whole run.
    fn verdict(&mut self, cluster: &Cluster<'_, P>) -> Result<(), String>;
}

/// The nodes, to look at.
pub struct Cluster<'a, P: Protocol> {
    pub(crate) now: Time,
    pub(crate) hosts: &'a [Option<Host<P>>],
}

impl<'a, P: Protocol> Cluster<'a, P> {
    /// The virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The names of all nodes, live or not.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<P> {
        (1..=self.hosts.len() as u64).map(NodeId)
    }

    /// The state of a node, unless it is down.
    pub fn state(&self, node: NodeId) -> Option<&'a P> {
        self.host(node).map(Host::state)
    }

    /// The host of a node, unless it is down.
    pub fn host(&self, node: NodeId) -> Option<&'a Host<P>> {
        let place = node.0.checked_sub(1)?;
        self.hosts.get(usize::try_from(place).ok()?)?.as_ref()
    }

    /// The nodes that are not down, with their states.
    pub fn live(&self) -> impl Iterator<Item = (NodeId, &'a P)> + use<'a, P> {
        let numbered = self.hosts.iter().zip(1..);
        numbered.filter_map(|(host, id)| Some((NodeId(id), host.as_ref()?.state())))
    }
}

/// The hands of a workload.
pub struct Clients<'a, P: Protocol> {
    pub(crate) hosts: &'a [Option<Host<P>>],
    pub(crate) processes: &'a mut [Process<P>],
    pub(crate) shared: &'a mut Shared<P>,
}

impl<P: Protocol> Clients<'_, P> {
    /// The virtual time.
    pub fn now(&self) -> Time {
        self.shared.now
    }

    /// The workload's own source of chance, which nothing else draws from.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.shared.workload_rng
    }

    /// The nodes, to look at.
    pub fn cluster(&self) -> Cluster<'_, P> {
        Cluster { now: self.shared.now, hosts: self.hosts }
    }

    /// Any node, live or not.
    pub fn any_node(&mut self) -> NodeId {
        NodeId(self.shared.workload_rng.below(self.hosts.len() as u64) + 1)
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Whether everything has healed.
    pub fn is_healed(&self) -> bool {
        self.shared.is_healed
    }

    /// Puts a request to a node. None if the node is down: then the request *did not* happen.
    pub fn ask(&mut self, node: NodeId, request: P::Request) -> Option<RequestId> {
        self.cluster().host(node)?;
        self.shared.requests += 1;
        self.shared.counters.asked += 1;
        let id = RequestId(self.shared.requests);
        let process = &mut self.processes[node.0 as usize - 1];
        process.outstanding.insert(id);
        process.inbox.push_back(Waiting::Ask { id, request });
        process.rouse(self.shared);
        Some(id)
    }

    /// Calls [`Workload::wake`] with that token, after that time.
    pub fn wake_after(&mut self, after: Duration, token: u64) {
        let at = self.shared.now + after;
        self.shared.queue.schedule(at, Event::Wake { token });
    }

    /// The node that has lost its memory and is not whole again, if there is one. While there is, no other disk is ruined.
    pub fn damaged(&self) -> Option<NodeId> {
        self.shared.ruined.now.filter(|_| self.shared.ruined.is_lost)
    }

    /// Says that the [damaged](Clients::damaged) node knows again what it has to know; it must be up. The mark that it has
    /// lost its memory goes, and another disk may be ruined.
    pub fn mark_whole(&mut self, node: NodeId) {
        if self.damaged() == Some(node) && self.cluster().host(node).is_some() {
            self.shared.ruined.is_to_mend = true;
        }
    }

    /// Has a fault strike now, beside those of the schedule; nothing once everything has healed. It is no part of the
    /// plan: whoever runs the plan again has the workload inflict it again, and nobody can shrink it away.
    pub fn inflict(&mut self, fault: Fault) {
        let shared = &mut *self.shared;
        // Those that a seed draws are named 0 to `FAULTS_MAX - 1`, however many are left.
        let index = FAULTS_MAX as u32 + shared.inflicted;
        shared.inflicted += 1;
        let place = shared.faults.len() as u32;
        shared.faults.push(Scheduled { index, at: shared.now, fault });
        shared.queue.schedule(shared.now, Event::Strike { fault: place });
    }
}
