//! Watches while everything goes wrong: a shard of its own, who writes to it, and who watches it.
//!
//! Each node has a hub, as in production, that dies with it. A watcher sits at one node; when that dies, or at a whim, it
//! goes to another and asks to be told of what follows the last revision that it was told of, as a client does. So what it
//! was told at all of them together is held to the guarantees of one watch ([`quorate_check::watch`]). What really
//! happened is read from whichever node comes to a revision first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use quorate_check::kv_model::Revision as CheckedRevision;
use quorate_check::watch::{self, Asked, Change, Past, Told};
use quorate_core::{GroupId, Mutants, NodeId, RequestId};
use quorate_kv::node::Node;
use quorate_kv::request::{
    Command, CompactRequest, DeleteRangeRequest, Event, KeyRange, LeaseId, Operation, PutRequest,
    RangeEnd, Revision, TxnRequest,
};
use quorate_kv::service::{NodeRequest, NodeResponse};
use quorate_kv::store::Portion;
use quorate_kv::watch::{History, Hub, Limits, Notice, StreamId, Watch};
use quorate_sim::{Clients, Cluster};

use crate::locks::{LockTally, Locks};
use crate::tenants::{Tenants, is_bound};

/// The shard that is watched. Nobody else writes to it.
pub(crate) const WATCHED: GroupId = GroupId(9);

/// How many watchers there are.
const WATCHERS: usize = 4;
/// So few keys that watches and writes meet.
const KEYS: u64 = 5;
/// So little that watches fall behind, and histories come in parts.
const LIMITS: Limits = Limits {
    queued_bytes_max: 700,
    portion: Portion { changes: 4, bytes: 1 << 10 },
    behind_per_step: 2,
};
/// How long anybody waits before something is done again.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(3)..Duration::from_millis(150);

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudienceTally {
    /// Changes that watchers were told of.
    pub told: u64,
    /// Times that a watcher went on at another node.
    pub resumed: u64,
    /// Watches that had to end since what they were to be told was compacted.
    pub compacted: u64,
    /// Watches that were behind at some look.
    pub behind: u64,
    /// Leases that ended because their time was over.
    pub leases_ended: u64,
    /// Leases that were renewed.
    pub leases_renewed: u64,
    /// What became of the lock.
    pub locks: LockTally,
}

/// Those who watch, and those who give them something to see.
pub(crate) struct Audience {
    token: u64,
    mutants: Mutants,
    hubs: BTreeMap<NodeId, Seat>,
    watchers: Vec<Watcher>,
    over: Vec<Watcher>,
    open: BTreeMap<(NodeId, RequestId), Purpose>,
    past: Past,
    /// The last revision in the past.
    known: Revision,
    /// The keys that are there and bound to a lease.
    bound: BTreeSet<Bytes>,
    writes: u64,
    tenants: Tenants,
    locks: Locks,
    tally: AudienceTally,
}

/// A node's hub, and what is under way to each watcher there.
struct Seat {
    hub: Hub,
    queued: BTreeMap<StreamId, usize>,
    is_awaiting: bool,
}

struct Watcher {
    /// Where it sits, once it is known there; which changes whenever it goes elsewhere.
    node: Option<NodeId>,
    is_asking: bool,
    stream: StreamId,
    watch: Watch,
    asked: Option<Asked>,
    responses: Vec<watch::Response>,
    is_over: bool,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Write,
    /// What comes next, for a node's hub.
    More,
    /// What there is now, for a watcher that wants to begin.
    Begin(usize),
    /// What there is now, for a watcher that wants to know how far it has come.
    Inquire(usize),
}

impl Audience {
    pub(crate) fn new(token: u64, mutants: Mutants) -> Self {
        Audience {
            token,
            mutants,
            hubs: BTreeMap::new(),
            watchers: Vec::new(),
            over: Vec::new(),
            open: BTreeMap::new(),
            past: Past::default(),
            known: Revision(1),
            bound: BTreeSet::new(),
            writes: 0,
            tenants: Tenants::default(),
            locks: Locks::new(mutants),
            tally: AudienceTally::default(),
        }
    }

    pub(crate) fn tally(&self) -> AudienceTally {
        let (leases_ended, leases_renewed) = self.tenants.counts();
        AudienceTally { leases_ended, leases_renewed, locks: self.locks.tally, ..self.tally }
    }

    pub(crate) fn pause(&self, clients: &mut Clients<'_, Node>) {
        let after = clients.rng().duration_by_magnitude(&PAUSE);
        clients.wake_after(after, self.token);
    }

    /// Everybody does something.
    pub(crate) fn act(&mut self, clients: &mut Clients<'_, Node>) {
        self.write(clients);
        self.tenants.act(clients);
        self.locks.act(clients);
        self.seat_watchers(clients);
        self.stir(clients);
        self.serve(clients);
        self.pause(clients);
    }

    /// A node has answered; whether it was asked by one of these.
    pub(crate) fn reply(&mut self, node: NodeId, id: RequestId, response: &NodeResponse) -> bool {
        if self.tenants.reply(node, id, response) || self.locks.reply(node, id, response) {
            return true;
        }
        let Some(purpose) = self.open.remove(&(node, id)) else { return false };
        let history = match response {
            NodeResponse::History(Ok(history)) => Some(history.clone()),
            _ => None,
        };
        match (purpose, history) {
            (Purpose::Write, _) => {}
            (Purpose::More, history) => {
                if let Some(seat) = self.hubs.get_mut(&node) {
                    seat.is_awaiting = false;
                    if let Some(history) = history {
                        seat.hub.learn(history);
                    }
                }
            }
            (Purpose::Begin(watcher), Some(history)) => self.begin(node, watcher, history),
            (Purpose::Begin(watcher), None) => self.watchers[watcher].is_asking = false,
            (Purpose::Inquire(watcher), Some(history)) => {
                let Watcher { node: seated, stream, .. } = self.watchers[watcher];
                if seated == Some(node)
                    && let Some(seat) = self.hubs.get_mut(&node)
                {
                    seat.hub.inquire(stream, history);
                }
            }
            (Purpose::Inquire(_), None) => {}
        }
        true
    }

    pub(crate) fn crashed(&mut self, node: NodeId) {
        self.hubs.remove(&node);
        let lost = |of: &(NodeId, RequestId)| of.0 == node;
        for (_, purpose) in self.open.extract_if(.., |of, _| lost(of)) {
            if let Purpose::Begin(watcher) = purpose {
                self.watchers[watcher].is_asking = false;
            }
        }
        for watcher in &mut self.watchers {
            if watcher.node == Some(node) {
                watcher.node = None;
            }
        }
        self.tenants.crashed(node);
        self.locks.crashed(node);
    }

    /// A node has taken a step: what it is the first to know is what happened.
    pub(crate) fn stepped(&mut self, node: NodeId, clients: &Clients<'_, Node>) -> Option<String> {
        let cluster = clients.cluster();
        let shard = cluster.state(node)?.shard(WATCHED)?;
        if shard.store().revision() <= self.known || shard.failure().is_some() {
            return None;
        }
        let past = shard.store().committed_changes();
        let from = Revision(self.known.0 + 1);
        if past.compacted > from {
            return Some(format!("{node} has compacted what nobody had applied"));
        }
        let everything = Portion { changes: usize::MAX, bytes: usize::MAX };
        // What can't be read here is read elsewhere.
        let changes = past.read(from, past.now, everything, false).ok()?;
        self.known = changes.upto;
        for event in &changes.events {
            self.past.add(told(event, false).change);
            if event.is_deletion {
                self.bound.remove(&event.kv.key);
            } else if is_bound(&event.kv.key) {
                self.bound.insert(event.kv.key.clone());
            }
            if event.is_deletion
                && let Some(broken) = self.tenants.deleted(&event.kv.key, clients.now())
            {
                return Some(broken);
            }
            if let Some(broken) = self.locks.changed(event) {
                return Some(broken);
            }
        }
        None
    }

    fn write(&mut self, clients: &mut Clients<'_, Node>) {
        if clients.is_healed() {
            return;
        }
        let key = |clients: &mut Clients<'_, Node>| {
            Bytes::from(vec![b'a' + clients.rng().below(KEYS) as u8])
        };
        let command = match clients.rng().below(20) {
            0..10 => {
                let key = key(clients);
                Command::Put(self.put(key))
            }
            10..14 => {
                let (a, b) = (key(clients), key(clients));
                let range =
                    KeyRange { start: a.clone().min(b.clone()), end: RangeEnd::Before(a.max(b)) };
                Command::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
            }
            14..19 => {
                let (a, b) = (key(clients), key(clients));
                let mut success = vec![Operation::Put(self.put(a.clone().min(b.clone())))];
                if a != b {
                    success.push(Operation::Put(self.put(a.max(b))));
                }
                Command::Txn(TxnRequest { success, ..TxnRequest::default() })
            }
            _ => {
                let revision = Revision(self.known.0 - clients.rng().below(12) as i64);
                self.past.compact(CheckedRevision(revision.0.max(0).cast_unsigned()));
                Command::Compact(CompactRequest { revision, physical: false })
            }
        };
        let node = clients.any_node();
        if let Some(id) = clients.ask(node, NodeRequest::Command { group: WATCHED, command }) {
            self.open.insert((node, id), Purpose::Write);
        }
    }

    fn put(&mut self, key: Bytes) -> PutRequest {
        self.writes += 1;
        let value = format!("w{}", self.writes).into();
        let lease = LeaseId(0);
        PutRequest { key, value, lease, prev_kv: false, ignore_value: false, ignore_lease: false }
    }

    /// Those who sit nowhere look for a node.
    fn seat_watchers(&mut self, clients: &mut Clients<'_, Node>) {
        while self.watchers.len() < WATCHERS {
            let stream = StreamId(self.watchers.len() as u64);
            let watcher = draw(stream, self.known, clients);
            self.watchers.push(watcher);
        }
        for place in 0..self.watchers.len() {
            let watcher = &mut self.watchers[place];
            if watcher.is_over {
                let (node, stream) = (watcher.node, watcher.stream);
                if let Some(node) = node {
                    self.leave(node, stream);
                }
                let next = draw(stream, self.known, clients);
                self.over.push(std::mem::replace(&mut self.watchers[place], next));
            } else if watcher.node.is_none() && !watcher.is_asking {
                let node = clients.any_node();
                let request = NodeRequest::History { group: WATCHED, beyond: None };
                if let Some(id) = clients.ask(node, request) {
                    watcher.is_asking = true;
                    self.open.insert((node, id), Purpose::Begin(place));
                }
            }
        }
    }

    /// Clients take what is under way to them, ask how far they have come, and go elsewhere.
    fn stir(&mut self, clients: &mut Clients<'_, Node>) {
        for seat in self.hubs.values_mut() {
            let is_taken = clients.is_healed() || clients.rng().below(3) == 0;
            for (stream, bytes) in seat.queued.iter_mut().filter(|_| is_taken) {
                seat.hub.sent(*stream, std::mem::take(bytes));
            }
            if clients.rng().below(20) == 0 {
                seat.hub.tick();
            }
            self.tally.behind += seat.hub.watches_behind() as u64;
        }
        let place = clients.rng().below(self.watchers.len() as u64) as usize;
        let watcher = &mut self.watchers[place];
        let Some(node) = watcher.node else { return };
        match clients.rng().below(20) {
            0 if !clients.is_healed() => {
                watcher.node = None;
                let stream = watcher.stream;
                self.leave(node, stream);
            }
            1..4 => {
                let request = NodeRequest::History { group: WATCHED, beyond: None };
                if let Some(id) = clients.ask(node, request) {
                    self.open.insert((node, id), Purpose::Inquire(place));
                }
            }
            _ => {}
        }
    }

    /// Hubs do their work, and ask for more.
    fn serve(&mut self, clients: &mut Clients<'_, Node>) {
        let nodes: Vec<NodeId> = self.hubs.keys().copied().collect();
        for node in nodes {
            let Some(seat) = self.hubs.get_mut(&node) else { continue };
            let steps = if clients.is_healed() { 100 } else { clients.rng().below(4) };
            // What can't be read now is read from another history.
            for _ in 0..steps {
                if !matches!(seat.hub.work(), Ok(true)) {
                    break;
                }
            }
            if !seat.is_awaiting {
                let request =
                    NodeRequest::History { group: WATCHED, beyond: Some(seat.hub.known()) };
                if let Some(id) = clients.ask(node, request) {
                    seat.is_awaiting = true;
                    self.open.insert((node, id), Purpose::More);
                }
            }
            self.listen(node);
        }
    }

    /// Watchers are told what a hub has to say.
    fn listen(&mut self, node: NodeId) {
        let Some(seat) = self.hubs.get_mut(&node) else { return };
        let notices = seat.hub.take_notices();
        for (stream, notice) in &notices {
            *seat.queued.entry(*stream).or_default() += notice.bytes();
        }
        for (stream, notice) in notices {
            self.hear(stream, notice);
        }
    }

    /// A watcher leaves a node, having heard everything that was said.
    fn leave(&mut self, node: NodeId, stream: StreamId) {
        self.listen(node);
        if let Some(seat) = self.hubs.get_mut(&node) {
            seat.hub.close(stream);
            seat.queued.remove(&stream);
        }
    }

    fn begin(&mut self, node: NodeId, place: usize, history: History) {
        let watcher = &mut self.watchers[place];
        watcher.is_asking = false;
        if watcher.node.is_some() || watcher.is_over {
            return;
        }
        let mutants = self.mutants;
        let seat = self.hubs.entry(node).or_insert_with(|| {
            let hub = Hub::new(history.clone(), LIMITS, mutants);
            Seat { hub, queued: BTreeMap::new(), is_awaiting: false }
        });
        seat.hub.open(watcher.stream);
        seat.queued.insert(watcher.stream, 0);
        if watcher.asked.is_some() {
            self.tally.resumed += 1;
        }
        watcher.asked.get_or_insert_with(|| {
            let start = watcher.watch.start.0.max(1).cast_unsigned();
            asked(&watcher.watch, CheckedRevision(start))
        });
        watcher.node = Some(node);
        seat.hub.create(watcher.stream, 0, watcher.watch.clone(), history);
    }

    fn hear(&mut self, stream: StreamId, notice: Notice) {
        let watcher = &mut self.watchers[stream.0 as usize];
        match notice {
            Notice::Created { .. } => {}
            Notice::Refused { why, .. } => unreachable!("a watch is refused: {why:?}"),
            Notice::Denied { why, .. } => unreachable!("a watch is denied: {why:?}"),
            Notice::Events { events, prev_kv, .. } => {
                self.tally.told += events.len() as u64;
                if let Some(last) = events.last() {
                    watcher.watch.start = Revision(last.kv.mod_revision.0 + 1);
                }
                let told = events.iter().map(|event| told(event, prev_kv)).collect();
                watcher.responses.push(watch::Response::Changes(told));
            }
            // It is of the stream, which has no watch left.
            Notice::Progress { .. } if watcher.is_over => {}
            Notice::Progress { revision, .. } => {
                watcher.watch.start = watcher.watch.start.max(Revision(revision.0 + 1));
                let revision = CheckedRevision(revision.0.cast_unsigned());
                watcher.responses.push(watch::Response::Progress(revision));
            }
            Notice::Canceled { .. } => {
                self.tally.compacted += 1;
                watcher.is_over = true;
            }
        }
    }

    /// What is still to come once everything is well; none if everybody was told of everything.
    pub(crate) fn unsettled(&self, cluster: &Cluster<'_, Node>) -> Option<String> {
        let leases =
            cluster.live().filter_map(|(_, node)| Some(node.shard(WATCHED)?.store().leases()));
        if let Some(left) = leases.max().filter(|left| *left > 0) {
            return Some(format!("{left} leases that nobody renews are still there"));
        }
        if !self.bound.is_empty() {
            return Some(format!(
                "{} keys outlive the lease that they are bound to",
                self.bound.len()
            ));
        }
        self.locks.unsettled().or_else(|| self.judge(true).err())
    }

    /// Holds what every watcher was told to the guarantees.
    pub(crate) fn judge(&self, is_over: bool) -> Result<(), String> {
        let upto = CheckedRevision(self.known.0.cast_unsigned());
        for watcher in self.watchers.iter().chain(&self.over) {
            let Some(asked) = &watcher.asked else { continue };
            let upto = (is_over && !watcher.is_over).then_some(upto);
            watch::check(&self.past, asked, &watcher.responses, upto)
                .map_err(|broken| broken.to_string())?;
        }
        Ok(())
    }
}

/// Somebody who watches something, from a while ago or from soon on.
fn draw(stream: StreamId, known: Revision, clients: &mut Clients<'_, Node>) -> Watcher {
    let rng = clients.rng();
    let mut key = || Bytes::from(vec![b'a' + rng.below(KEYS) as u8]);
    let (a, b) = (key(), key());
    let end = match rng.below(4) {
        0 => RangeEnd::Single,
        1 if a < b => RangeEnd::Before(b),
        _ => RangeEnd::Unbounded,
    };
    let watch = Watch {
        range: KeyRange { start: a, end },
        start: Revision((known.0 + 3 - rng.below(12) as i64).max(1)),
        no_put: rng.below(8) == 0,
        no_delete: rng.below(8) == 0,
        prev_kv: rng.below(2) == 0,
        progress_notify: rng.below(2) == 0,
        fragment: false,
        asker: None,
    };
    Watcher {
        node: None,
        is_asking: false,
        stream,
        watch,
        asked: None,
        responses: Vec::new(),
        is_over: false,
    }
}

fn asked(watch: &Watch, start: CheckedRevision) -> Asked {
    let to = match &watch.range.end {
        RangeEnd::Single => Some([&watch.range.start[..], &[0]].concat()),
        RangeEnd::Before(end) => Some(end.to_vec()),
        RangeEnd::Unbounded => None,
    };
    Asked {
        from: watch.range.start.to_vec(),
        to,
        start,
        puts: !watch.no_put,
        deletions: !watch.no_delete,
        previous: watch.prev_kv,
    }
}

fn told(event: &Event, prev_kv: bool) -> Told {
    Told {
        change: Change {
            revision: CheckedRevision(event.kv.mod_revision.0.cast_unsigned()),
            key: event.kv.key.to_vec(),
            value: (!event.is_deletion).then(|| event.kv.value.to_vec()),
            created: CheckedRevision(event.kv.create_revision.0.cast_unsigned()),
        },
        previous: event.prev_kv.as_ref().filter(|_| prev_kv).map(|kv| kv.value.to_vec()),
    }
}
