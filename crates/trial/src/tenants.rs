//! Leases while everything goes wrong: tenants who take one, renew it for a while, and then let it be.
//!
//! None may end before its time, counted from when the last renewal that was acknowledged was asked for; and once nobody
//! renews any, and all is well, all end.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{NodeId, RequestId};
use quorate_kv::error::Error;
use quorate_kv::node::Node;
use quorate_kv::request::{Command, LeaseGrantRequest, LeaseId, PutRequest, Response};
use quorate_kv::service::{NodeRequest, NodeResponse};
use quorate_sim::{Clients, Time};

use crate::audience::WATCHED;

/// How many hold a lease at one time.
const TENANTS: usize = 3;
/// How much faster than the time a clock may run, with some room: no plan has clocks that are farther off.
const FASTEST: f64 = 1.01;

#[derive(Default)]
pub(crate) struct Tenants {
    leases: BTreeMap<LeaseId, Tenancy>,
    granted: u64,
    ended: u64,
    renewed: u64,
    open: BTreeMap<(NodeId, RequestId), Asked>,
}

/// One lease, as its tenant sees it.
struct Tenancy {
    ttl: Duration,
    /// When the grant or renewal was asked for that was acknowledged last; none before the grant was.
    since: Option<u64>,
    /// How often it will be renewed yet.
    renewals_left: u64,
    is_asking: bool,
}

#[derive(Clone, Copy)]
enum Asked {
    Grant { id: LeaseId, at: u64 },
    Renew { id: LeaseId, at: u64 },
    Bind,
    Tick,
}

impl Tenants {
    /// How many leases ended because their time was over, and how many renewals were acknowledged.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.ended, self.renewed)
    }

    pub(crate) fn act(&mut self, clients: &mut Clients<'_, Node>) {
        let nodes: Vec<NodeId> = clients.cluster().live().map(|(node, _)| node).collect();
        for node in nodes {
            let is_asked = |(of, asked): (&(NodeId, RequestId), &Asked)| {
                of.0 == node && matches!(asked, Asked::Tick)
            };
            if !self.open.iter().any(is_asked) {
                self.ask(node, NodeRequest::Tick { group: WATCHED }, Asked::Tick, clients);
            }
        }
        if clients.is_healed() {
            return;
        }
        let held = self.leases.values().filter(|tenancy| tenancy.renewals_left > 0).count();
        if held < TENANTS {
            self.move_in(clients);
        }
        let due: Vec<LeaseId> = self
            .leases
            .iter()
            .filter(|(_, tenancy)| {
                tenancy.renewals_left > 0 && tenancy.since.is_some() && !tenancy.is_asking
            })
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            if clients.rng().below(4) == 0 {
                self.renew(id, clients);
            }
        }
    }

    fn move_in(&mut self, clients: &mut Clients<'_, Node>) {
        self.granted += 1;
        let id = LeaseId(self.granted.cast_signed());
        let ttl_seconds = 1 + clients.rng().below(2).cast_signed();
        let renewals_left = 1 + clients.rng().below(8);
        let tenancy = Tenancy {
            ttl: Duration::from_secs(ttl_seconds.cast_unsigned()),
            since: None,
            renewals_left,
            is_asking: true,
        };
        let grant = LeaseGrantRequest { id, ttl_seconds };
        let asked = Asked::Grant { id, at: clients.now().0 };
        let node = clients.any_node();
        if self.command(node, Command::LeaseGrant(grant), asked, clients) {
            self.leases.insert(id, tenancy);
        }
    }

    fn renew(&mut self, id: LeaseId, clients: &mut Clients<'_, Node>) {
        let node = clients.any_node();
        let asked = Asked::Renew { id, at: clients.now().0 };
        if self.command(node, Command::LeaseRenew(id), asked, clients)
            && let Some(tenancy) = self.leases.get_mut(&id)
        {
            tenancy.is_asking = true;
            tenancy.renewals_left -= 1;
        }
        let bind = PutRequest {
            key: key(id),
            value: Bytes::from_static(b"mine"),
            lease: id,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        };
        let node = clients.any_node();
        self.command(node, Command::Put(bind), Asked::Bind, clients);
    }

    fn command(
        &mut self,
        node: NodeId,
        command: Command,
        asked: Asked,
        clients: &mut Clients<'_, Node>,
    ) -> bool {
        self.ask(node, NodeRequest::Command { group: WATCHED, command }, asked, clients)
    }

    fn ask(
        &mut self,
        node: NodeId,
        request: NodeRequest,
        asked: Asked,
        clients: &mut Clients<'_, Node>,
    ) -> bool {
        let id = clients.ask(node, request);
        if let Some(id) = id {
            self.open.insert((node, id), asked);
        }
        id.is_some()
    }

    /// A node has answered; whether it was asked by one of these.
    pub(crate) fn reply(
        &mut self,
        node: NodeId,
        request: RequestId,
        response: &NodeResponse,
    ) -> bool {
        let Some(asked) = self.open.remove(&(node, request)) else { return false };
        let NodeResponse::Done { outcome, .. } = response else { return true };
        match (asked, outcome) {
            (Asked::Grant { id, at }, Ok(Response::LeaseGrant(_))) => self.hold(id, at),
            (Asked::Renew { id, at }, Ok(Response::LeaseRenew(_))) => {
                self.renewed += 1;
                self.hold(id, at);
            }
            (Asked::Grant { id, .. } | Asked::Renew { id, .. }, Err(error)) => {
                if let Some(tenancy) = self.leases.get_mut(&id) {
                    tenancy.is_asking = false;
                    if *error == Error::LeaseNotFound || tenancy.since.is_none() {
                        tenancy.renewals_left = 0;
                    }
                }
            }
            _ => {}
        }
        true
    }

    fn hold(&mut self, id: LeaseId, at: u64) {
        if let Some(tenancy) = self.leases.get_mut(&id) {
            tenancy.is_asking = false;
            tenancy.since = tenancy.since.max(Some(at));
        }
    }

    pub(crate) fn crashed(&mut self, node: NodeId) {
        for (_, asked) in self.open.extract_if(.., |(of, _), _| *of == node) {
            if let Asked::Grant { id, .. } | Asked::Renew { id, .. } = asked
                && let Some(tenancy) = self.leases.get_mut(&id)
            {
                tenancy.is_asking = false;
            }
        }
    }

    /// A key was deleted for the first time anywhere. What that breaks, if it was a lease's and it was too early.
    pub(crate) fn deleted(&mut self, deleted: &[u8], now: Time) -> Option<String> {
        let (id, tenancy) = self.leases.iter().find(|(id, _)| key(**id) == deleted)?;
        self.ended += 1;
        let since = tenancy.since?;
        let lived = Duration::from_nanos(now.0.saturating_sub(since));
        let ttl = tenancy.ttl;
        (lived.mul_f64(FASTEST) < ttl)
            .then(|| format!("lease {} ends {lived:?} after it was renewed for {ttl:?}", id.0))
    }
}

/// Whether a key is bound to a lease.
pub(crate) fn is_bound(key: &[u8]) -> bool {
    key.starts_with(b"lease ")
}

/// The key that is bound to a lease.
fn key(id: LeaseId) -> Bytes {
    format!("lease {:05}", id.0).into()
}
