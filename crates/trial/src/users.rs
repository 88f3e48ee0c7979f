//! Users and what they may do, while everything goes wrong: an administrator who grants and revokes and changes passwords,
//! users who ask for what they may and may not, and the judge of what they get.
//!
//! The judge reads the log of whichever node comes to an entry first, and has a [model](crate::permissions) say what is
//! permitted there. A command is carried out, and answered, as the users and roles before it in the log have it. A query
//! is answered as they were at some time while it was under way; so what was revoked before it was asked holds, through
//! whichever node. A watch tells of nothing that whoever watches might not read then or later.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{GroupId, Mutants, NodeId, RequestId};
use quorate_kv::auth::{Asker, AuthAnswer, AuthQuery};
use quorate_kv::error::Error;
use quorate_kv::node::Node;
use quorate_kv::request::{Query, Response, Revision};
use quorate_kv::service::{NodeRequest, NodeResponse};
use quorate_kv::store::Portion;
use quorate_kv::watch::{History, Hub, Limits, Notice, StreamId, Watch};
use quorate_kv::wire;
use quorate_protocols::consensus::raft::Index;
use quorate_sim::{Clients, Cluster};

use crate::administrator::Administrator;
use crate::asking;
use crate::permissions::{Needs, Permissions, Ruling};

/// The shard that not everybody may use. Nobody else does.
pub(crate) const GUARDED: GroupId = GroupId(10);

/// Who asks, beside the administrator.
pub(crate) const NAMES: [&str; 2] = ["ann", "ben"];
/// How long anybody waits before something is done again.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(3)..Duration::from_millis(150);

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserTally {
    /// Requests that were carried out on behalf of a user.
    pub permitted: u64,
    /// Requests that a user's permissions didn't allow.
    pub denied: u64,
    /// Requests of users whose password had been changed.
    pub outdated: u64,
    /// Changes that were told to users who watch.
    pub told: u64,
    /// Watches that ended with their permission.
    pub ended: u64,
}

pub(crate) struct Users {
    token: u64,
    mutants: Mutants,
    administrator: Administrator,
    /// At which revision each has shown its password.
    sessions: BTreeMap<&'static str, u64>,
    open: BTreeMap<(NodeId, RequestId), Asked>,
    hubs: BTreeMap<NodeId, Seat>,
    watches: BTreeMap<StreamId, Watch>,
    asked: u64,
    judge: Judge,
    tally: UserTally,
}

/// A node's hub.
struct Seat {
    hub: Hub,
    is_awaiting: bool,
}

/// What was asked for.
enum Asked {
    /// A command of the administrator's.
    Administration,
    /// The hash of a user's password, and when it became that.
    Login(&'static str),
    /// A command, by its number.
    Command { asker: Option<Asker>, number: u64 },
    /// A query, with whoever asks, what it needs, and how far the log had been carried out.
    Query { asker: Option<Asker>, needs: Needs, after: Index },
    /// What a node's hub begins with, for a watch.
    Watch(Watch),
    /// What comes next, for a node's hub.
    More,
}

impl Users {
    pub(crate) fn new(token: u64, mutants: Mutants) -> Self {
        Users {
            token,
            mutants,
            administrator: Administrator::default(),
            sessions: BTreeMap::new(),
            open: BTreeMap::new(),
            hubs: BTreeMap::new(),
            watches: BTreeMap::new(),
            asked: 0,
            judge: Judge::default(),
            tally: UserTally::default(),
        }
    }

    pub(crate) fn tally(&self) -> UserTally {
        self.tally
    }

    pub(crate) fn pause(&self, clients: &mut Clients<'_, Node>) {
        let after = clients.rng().duration_by_magnitude(&PAUSE);
        clients.wake_after(after, self.token);
    }

    /// Everybody does something.
    pub(crate) fn act(&mut self, clients: &mut Clients<'_, Node>) {
        self.serve(clients);
        if clients.is_healed() {
            self.pause(clients);
            return;
        }
        if let Some(command) = self.administrator.next(clients.rng()) {
            let node = clients.any_node();
            let request = NodeRequest::Command { group: GUARDED, command };
            let request = on_behalf(Some(Administrator::asker()), request);
            match self.ask(node, request, Asked::Administration, clients) {
                true => self.administrator.is_asking = true,
                false => self.administrator.settle(false),
            }
        }
        for name in NAMES {
            let asker = match (clients.rng().below(16), self.sessions.get(name)) {
                (0, _) => None,
                // It comes with a certificate.
                (1, _) => Some(Asker { user: name.to_owned(), checked_at: None }),
                (_, Some(at)) => Some(Asker { user: name.to_owned(), checked_at: Some(*at) }),
                (_, None) => {
                    self.log_in(name, clients);
                    continue;
                }
            };
            self.put_request(asker, clients);
        }
        self.pause(clients);
    }

    fn log_in(&mut self, name: &'static str, clients: &mut Clients<'_, Node>) {
        let query = Query::Auth(AuthQuery::Password(name.to_owned()));
        let request = NodeRequest::Query { group: GUARDED, query, serializable: false };
        let node = clients.any_node();
        self.ask(node, request, Asked::Login(name), clients);
    }

    /// A user asks for something.
    fn put_request(&mut self, asker: Option<Asker>, clients: &mut Clients<'_, Node>) {
        let node = clients.any_node();
        let (request, asked) = match clients.rng().below(10) {
            0 => {
                let watch = Watch { asker, ..asking::watch(clients.rng()) };
                let request = NodeRequest::History { group: GUARDED, beyond: None };
                self.ask(node, request, Asked::Watch(watch), clients);
                return;
            }
            1..5 => {
                let range = asking::range(clients.rng());
                let needs = Needs::read(&range);
                let query = Query::Range(asking::read(range));
                let request = NodeRequest::Query { group: GUARDED, query, serializable: false };
                let after = self.judge.applied;
                (request, Asked::Query { asker: asker.clone(), needs, after })
            }
            _ => {
                self.asked += 1;
                let command = asking::command(clients.rng(), self.asked);
                let asked = Asked::Command { asker: asker.clone(), number: self.asked };
                (NodeRequest::Command { group: GUARDED, command }, asked)
            }
        };
        self.ask(node, on_behalf(asker, request), asked, clients);
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

    /// A node has answered; whether it was asked by one of these. What that breaks is found out with its next step.
    pub(crate) fn reply(
        &mut self,
        node: NodeId,
        id: RequestId,
        response: &NodeResponse,
        cluster: &Cluster<'_, Node>,
    ) -> bool {
        let Some(asked) = self.open.remove(&(node, id)) else { return false };
        match (asked, response) {
            (Asked::Administration, response) => {
                let is_done = matches!(
                    response,
                    NodeResponse::Done {
                        outcome: Ok(_) | Err(Error::UserExists | Error::RoleExists),
                        ..
                    }
                );
                self.administrator.settle(is_done);
            }
            (Asked::Login(name), NodeResponse::Done { outcome: Ok(Response::Auth(auth)), .. }) => {
                if let AuthAnswer::Password(Some(_)) = auth.answer {
                    self.sessions.insert(name, auth.auth_revision);
                }
            }
            (Asked::Command { asker, number }, NodeResponse::Done { outcome, .. }) => {
                if let Some(ruling) = ruling_of(outcome) {
                    self.count(asker.as_ref(), ruling);
                    self.judge.order(number).answered = Some(ruling);
                }
            }
            (Asked::Query { asker, needs, after }, NodeResponse::Done { outcome, .. }) => {
                if let Some(ruling) = ruling_of(outcome) {
                    let shard = cluster.state(node).and_then(|node| node.shard(GUARDED));
                    let upto = shard.map_or(Index(0), |shard| shard.applied());
                    self.count(asker.as_ref(), ruling);
                    self.judge.queries.push(Queried { asker, needs, after, upto, ruling });
                }
            }
            (Asked::Watch(watch), NodeResponse::History(Ok(history))) => {
                self.begin(node, watch, history.clone());
            }
            (Asked::More, response) => {
                if let Some(seat) = self.hubs.get_mut(&node) {
                    seat.is_awaiting = false;
                    if let NodeResponse::History(Ok(history)) = response {
                        seat.hub.learn(history.clone());
                    }
                }
            }
            _ => {}
        }
        true
    }

    fn count(&mut self, asker: Option<&Asker>, ruling: Ruling) {
        match ruling {
            Ruling::Permitted => self.tally.permitted += 1,
            Ruling::Denied => self.tally.denied += 1,
            Ruling::Outdated => {
                self.tally.outdated += 1;
                // Whoever it was shows the new password, unless that is done already.
                self.sessions.retain(|name, at| {
                    asker.is_none_or(|asker| asker.user != *name || asker.checked_at != Some(*at))
                });
            }
            Ruling::Nobody => {}
        }
    }

    pub(crate) fn crashed(&mut self, node: NodeId) {
        self.hubs.remove(&node);
        for (_, asked) in self.open.extract_if(.., |(of, _), _| *of == node) {
            if matches!(asked, Asked::Administration) {
                self.administrator.settle(false);
            }
        }
    }

    fn begin(&mut self, node: NodeId, watch: Watch, history: History) {
        let mutants = self.mutants;
        let seat = self.hubs.entry(node).or_insert_with(|| {
            let hub = Hub::new(history.clone(), Limits::default(), mutants);
            Seat { hub, is_awaiting: false }
        });
        self.asked += 1;
        let stream = StreamId(self.asked);
        seat.hub.open(stream);
        seat.hub.create(stream, 0, watch.clone(), history);
        self.watches.insert(stream, watch);
    }

    /// Hubs do their work, and ask for more.
    fn serve(&mut self, clients: &mut Clients<'_, Node>) {
        let nodes: Vec<NodeId> = self.hubs.keys().copied().collect();
        for node in nodes {
            let Some(seat) = self.hubs.get_mut(&node) else { continue };
            // What can't be read now is read from another history.
            while matches!(seat.hub.work(), Ok(true)) {}
            for (stream, notice) in seat.hub.take_notices() {
                seat.hub.sent(stream, notice.bytes());
                match notice {
                    Notice::Events { events, .. } => {
                        self.tally.told += events.len() as u64;
                        if let (Some(watch), Some(last)) =
                            (self.watches.get(&stream), events.last())
                        {
                            self.judge.told.push((watch.clone(), last.kv.mod_revision));
                        }
                    }
                    Notice::Denied { .. } | Notice::Refused { .. } | Notice::Canceled { .. } => {
                        self.tally.ended += u64::from(matches!(notice, Notice::Denied { .. }));
                        self.watches.remove(&stream);
                        seat.hub.close(stream);
                    }
                    Notice::Created { .. } | Notice::Progress { .. } => {}
                }
            }
            if !seat.is_awaiting {
                let beyond = Some(seat.hub.known());
                let request = NodeRequest::History { group: GUARDED, beyond };
                let is_awaiting = self.ask(node, request, Asked::More, clients);
                if let Some(seat) = self.hubs.get_mut(&node) {
                    seat.is_awaiting = is_awaiting;
                }
            }
        }
    }

    /// What is still to be answered once everything is well. That there is nothing new is no answer.
    pub(crate) fn unsettled(&self) -> Option<String> {
        let open = self.open.values().filter(|asked| !matches!(asked, Asked::More)).count();
        (open > 0).then(|| format!("{open} requests of users are unanswered"))
    }

    /// A node has taken a step. What that breaks, or what was answered before.
    pub(crate) fn stepped(&mut self, node: NodeId, clients: &Clients<'_, Node>) -> Option<String> {
        self.judge.stepped(node, &clients.cluster()).err()
    }
}

/// A request on behalf of somebody, or of nobody.
fn on_behalf(asker: Option<Asker>, request: NodeRequest) -> NodeRequest {
    match asker {
        Some(asker) => NodeRequest::For { asker, request: Box::new(request) },
        None => request,
    }
}

/// What an answer says of the asker's permission; none if it says nothing.
fn ruling_of(outcome: &Result<Response, Error>) -> Option<Ruling> {
    match outcome {
        Ok(_) => Some(Ruling::Permitted),
        Err(Error::PermissionDenied) => Some(Ruling::Denied),
        Err(Error::AuthOldRevision) => Some(Ruling::Outdated),
        Err(Error::UserEmpty) => Some(Ruling::Nobody),
        Err(_) => None,
    }
}

/// Knows what was permitted at each place of the log.
struct Judge {
    /// How far any node has carried the log out.
    applied: Index,
    /// The users and roles from that entry on.
    versions: Vec<(Index, Permissions)>,
    orders: BTreeMap<u64, Order>,
    /// Those of which more is known since the last step.
    fresh: Vec<u64>,
    /// The entries that made revisions.
    revisions: BTreeMap<Revision, Index>,
    known: Revision,
    queries: Vec<Queried>,
    /// What watches were told of.
    told: Vec<(Watch, Revision)>,
}

/// A command of a user's.
#[derive(Default)]
struct Order {
    at: Option<(Index, Ruling)>,
    answered: Option<Ruling>,
}

/// A query that was answered.
struct Queried {
    asker: Option<Asker>,
    needs: Needs,
    after: Index,
    upto: Index,
    ruling: Ruling,
}

impl Default for Judge {
    fn default() -> Self {
        Judge {
            applied: Index(0),
            versions: vec![(Index(0), Permissions::default())],
            orders: BTreeMap::new(),
            fresh: Vec::new(),
            revisions: BTreeMap::new(),
            known: Revision(1),
            queries: Vec::new(),
            told: Vec::new(),
        }
    }
}

impl Judge {
    fn stepped(&mut self, node: NodeId, cluster: &Cluster<'_, Node>) -> Result<(), String> {
        let Some(shard) = cluster.state(node).and_then(|node| node.shard(GUARDED)) else {
            return Ok(());
        };
        while self.applied < shard.applied() {
            let index = self.applied.next();
            let Some(entry) = shard.raft().log().get(index) else {
                return Err(format!("{node} let go of entry {index} before anybody applied it"));
            };
            self.applied = index;
            if entry.origin.is_some() {
                self.take(index, entry.payload.clone())?;
            }
        }
        if shard.store().revision() > self.known && shard.failure().is_none() {
            let past = shard.store().committed_changes();
            let everything = Portion { changes: usize::MAX, bytes: usize::MAX };
            let from = Revision(self.known.0 + 1);
            // What can't be read here is read elsewhere.
            if let Ok(changes) = past.read(from, past.now, everything, false) {
                self.known = changes.upto;
                for event in changes.events.iter().filter(|event| !event.is_deletion) {
                    self.was_written(&event.kv.value, event.kv.mod_revision)?;
                }
            }
        }
        for number in std::mem::take(&mut self.fresh) {
            self.judge_order(number)?;
        }
        for queried in std::mem::take(&mut self.queries) {
            self.judge_query(&queried)?;
        }
        for (watch, revision) in std::mem::take(&mut self.told) {
            match revision <= self.known {
                true => self.judge_told(&watch, revision)?,
                false => self.told.push((watch, revision)),
            }
        }
        Ok(())
    }

    /// An order, of which more is known now.
    fn order(&mut self, number: u64) -> &mut Order {
        self.fresh.push(number);
        self.orders.entry(number).or_default()
    }

    fn take(&mut self, index: Index, payload: Bytes) -> Result<(), String> {
        let (asker, command) = wire::decode_with_asker(payload).map_err(|why| why.to_string())?;
        let newest = &self.versions.last().expect("there is one of the empty log").1;
        let mut next = newest.clone();
        let ruling = next.take(asker.as_ref(), &command);
        if next != *newest {
            self.versions.push((index, next));
        }
        if let Some(number) = asking::number(&command) {
            self.order(number).at = Some((index, ruling));
        }
        Ok(())
    }

    /// A value has appeared in the store.
    fn was_written(&mut self, value: &[u8], revision: Revision) -> Result<(), String> {
        let order = asking::number_of(value).and_then(|number| self.orders.get(&number));
        let Some((index, ruling)) = order.and_then(|order| order.at) else {
            return Err(format!("nobody asked for what was written at {}", revision.0));
        };
        if ruling != Ruling::Permitted {
            return Err(format!("entry {index} is carried out, and is {ruling:?}"));
        }
        self.revisions.insert(revision, index);
        Ok(())
    }

    /// The users and roles at any time from behind one entry to behind another.
    fn during(&self, after: Index, upto: Index) -> impl Iterator<Item = &Permissions> {
        let first = self.versions.partition_point(|(from, _)| *from <= after) - 1;
        let versions = self.versions[first..].iter();
        versions.take_while(move |(from, _)| *from <= upto.max(after)).map(|(_, version)| version)
    }

    fn judge_query(&self, queried: &Queried) -> Result<(), String> {
        let Queried { asker, needs, after, upto, ruling } = queried;
        let mut rulings =
            self.during(*after, *upto).map(|version| version.rule(asker.as_ref(), needs));
        if rulings.any(|possible| possible == *ruling) {
            return Ok(());
        }
        Err(format!(
            "a query of {asker:?} for {needs:?} is {ruling:?}, and was not between entries {after} and {upto}"
        ))
    }

    fn judge_told(&self, watch: &Watch, revision: Revision) -> Result<(), String> {
        let Some(index) = self.revisions.get(&revision) else {
            return Err(format!("a watch is told of {}, which nobody has made", revision.0));
        };
        let needs = Needs::read(&watch.range);
        let mut versions = self.during(*index, self.applied);
        if versions.any(|version| version.rule(watch.asker.as_ref(), &needs) == Ruling::Permitted) {
            return Ok(());
        }
        Err(format!(
            "{:?} is told of revision {}, and may not read {needs:?} since before",
            watch.asker, revision.0
        ))
    }

    /// Holds the answer to a command to what was permitted, once both are known.
    fn judge_order(&self, number: u64) -> Result<(), String> {
        let Some(Order { at: Some((index, ruling)), answered: Some(answered) }) =
            self.orders.get(&number)
        else {
            return Ok(());
        };
        if ruling == answered {
            return Ok(());
        }
        Err(format!("entry {index}, request {number}, is {ruling:?}, and is answered {answered:?}"))
    }
}
