//! Locks while everything goes wrong: contenders who stand in [line](quorate_kv::line) for one, and write what it guards
//! while they believe that they hold it.
//!
//! They fall asleep and wake up after their lease has ended, and don't know. So two may believe at one time that they hold
//! it; but of what they write, only what the holder writes may be taken: what is written under a place is written while the
//! place is there and the oldest of all, and places never come back. Once all is well, whoever waits has its turn.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{Mutants, NodeId, RequestId};
use quorate_kv::error::Error;
use quorate_kv::line::{self, Joined, Place, Seen};
use quorate_kv::node::Node;
use quorate_kv::request::{
    Command, Event, LeaseGrantRequest, LeaseId, Operation, PutRequest, Query, Response, Revision,
    TxnRequest, TxnResponse,
};
use quorate_kv::service::{Known, NodeRequest, NodeResponse};
use quorate_kv::store::AuthTable;
use quorate_sim::{Clients, Time};

use crate::audience::WATCHED;

/// Bugs that contenders can be given.
pub const MUTANTS: &[&str] =
    &["lock_ignores_the_fence", "lock_jumps_the_line", "lock_is_never_given_up"];

/// How many stand in line at one time.
const CONTENDERS: usize = 3;
/// What the lock is called, and what it guards.
const LOCK: &[u8] = b"lock";
const GUARDED: &[u8] = b"what the lock guards";
/// Leases of others have smaller ids.
const FIRST_LEASE: i64 = 1 << 20;
/// How long a contender may sleep; leases live a second or two.
const SLEEP: std::ops::Range<Duration> = Duration::from_millis(500)..Duration::from_secs(4);

/// Contenders for one lock, and the judge of what was written under it.
pub(crate) struct Locks {
    mutants: Mutants,
    contenders: [Contender; CONTENDERS],
    open: BTreeMap<(NodeId, RequestId), (usize, Asked)>,
    granted: i64,
    judge: Judge,
    pub(crate) tally: LockTally,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockTally {
    /// How often a contender came to believe that it held the lock.
    pub taken: u64,
    /// Writes of what the lock guards.
    pub guarded: u64,
    /// Writes that came too late: their place was gone.
    pub fenced_off: u64,
}

#[derive(Default)]
struct Contender {
    stage: Stage,
    /// Whether what its stage asks for is under way.
    is_asking: bool,
    /// Until when it does nothing at all.
    sleeps_until: Time,
}

/// What a contender believes.
#[derive(Default)]
enum Stage {
    /// It wants nothing.
    #[default]
    Away,
    /// It has a lease.
    Leased(LeaseId),
    /// It has a place, and may be the first or not.
    Waiting(Place),
    /// It has seen that others are before it, as of that revision.
    Behind(Place, Revision),
    /// It holds the lock, and wants to write so often yet.
    Holding(Place, u64),
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Grant(LeaseId),
    Join,
    Look,
    News,
    Write,
    Leave,
    Renewal,
}

impl Stage {
    fn lease(&self) -> Option<LeaseId> {
        match self {
            Stage::Away => None,
            Stage::Leased(lease) => Some(*lease),
            Stage::Waiting(place) | Stage::Behind(place, _) | Stage::Holding(place, _) => {
                Some(place.lease)
            }
        }
    }
}

impl Locks {
    pub(crate) fn new(mutants: Mutants) -> Self {
        Locks {
            mutants,
            contenders: Default::default(),
            open: BTreeMap::new(),
            granted: 0,
            judge: Judge::default(),
            tally: LockTally::default(),
        }
    }

    pub(crate) fn act(&mut self, clients: &mut Clients<'_, Node>) {
        for place in 0..CONTENDERS {
            self.contend(place, clients);
        }
    }

    /// Who still waits, for its turn or for an end to it.
    pub(crate) fn unsettled(&self) -> Option<String> {
        let is_busy = |one: &&Contender| one.is_asking || one.stage.lease().is_some();
        let left = self.contenders.iter().filter(is_busy).count();
        (left > 0).then(|| format!("{left} contenders have not had their turn"))
    }

    /// One contender does what comes next for it.
    fn contend(&mut self, who: usize, clients: &mut Clients<'_, Node>) {
        let contender = &mut self.contenders[who];
        if !clients.is_healed() {
            if clients.now() < contender.sleeps_until {
                return;
            }
            if clients.rng().below(25) == 0 {
                contender.sleeps_until = clients.now() + clients.rng().duration(&SLEEP);
                return;
            }
        }
        if let Some(lease) = contender.stage.lease()
            && clients.rng().below(6) == 0
        {
            let command = Command::LeaseRenew(lease);
            let renewal = NodeRequest::Command { group: WATCHED, command };
            self.ask(who, renewal, Asked::Renewal, clients);
        }
        let contender = &mut self.contenders[who];
        if contender.is_asking {
            // The node that it asked for news may be cut off from them.
            if matches!(contender.stage, Stage::Behind(..)) && clients.rng().below(10) == 0 {
                self.open.retain(|_, (of, asked)| *of != who || matches!(asked, Asked::Renewal));
                contender.is_asking = false;
            }
            return;
        }
        if let Some((request, asked)) = self.next(who, clients) {
            let is_asking = self.ask(who, request, asked, clients);
            self.contenders[who].is_asking = is_asking;
        }
    }

    /// What a contender asks for next, if it wants anything.
    fn next(
        &mut self,
        who: usize,
        clients: &mut Clients<'_, Node>,
    ) -> Option<(NodeRequest, Asked)> {
        let (command, asked) = match &self.contenders[who].stage {
            Stage::Away if clients.is_healed() || clients.rng().below(4) > 0 => return None,
            Stage::Away => {
                self.granted += 1;
                let id = LeaseId(FIRST_LEASE + self.granted);
                let ttl_seconds = 1 + clients.rng().below(2).cast_signed();
                let grant = LeaseGrantRequest { id, ttl_seconds };
                (Command::LeaseGrant(grant), Asked::Grant(id))
            }
            Stage::Leased(lease) => {
                let join = line::join(&line::prefix(LOCK), *lease, Bytes::new());
                (Command::Txn(join), Asked::Join)
            }
            Stage::Waiting(place) => {
                let query = Query::Txn(line::look(place));
                let look = NodeRequest::Query { group: WATCHED, query, serializable: false };
                return Some((look, Asked::Look));
            }
            Stage::Behind(_, revision) => {
                let auth = AuthTable::default().version();
                let beyond = Some(Known { revision: *revision, auth });
                return Some((NodeRequest::History { group: WATCHED, beyond }, Asked::News));
            }
            Stage::Holding(_, 0) if self.mutants.has("lock_is_never_given_up") => return None,
            Stage::Holding(place, 0) => match clients.rng().below(3) {
                0 => (Command::LeaseRevoke(place.lease), Asked::Leave),
                _ => {
                    let leave = line::leave(place.key.clone(), place.since);
                    (Command::Txn(leave), Asked::Leave)
                }
            },
            Stage::Holding(place, _) => {
                (Command::Txn(guarded_write(place, self.mutants)), Asked::Write)
            }
        };
        Some((NodeRequest::Command { group: WATCHED, command }, asked))
    }

    fn ask(
        &mut self,
        who: usize,
        request: NodeRequest,
        asked: Asked,
        clients: &mut Clients<'_, Node>,
    ) -> bool {
        let node = clients.any_node();
        let id = clients.ask(node, request);
        if let Some(id) = id {
            self.open.insert((node, id), (who, asked));
        }
        id.is_some()
    }

    /// A node has answered; whether it was asked by one of these.
    pub(crate) fn reply(&mut self, node: NodeId, id: RequestId, response: &NodeResponse) -> bool {
        let Some((who, asked)) = self.open.remove(&(node, id)) else { return false };
        if matches!(asked, Asked::Renewal) {
            return true;
        }
        let contender = &mut self.contenders[who];
        contender.is_asking = false;
        let stage = std::mem::take(&mut contender.stage);
        let outcome = match response {
            NodeResponse::Done { outcome, .. } => outcome.as_ref(),
            _ => Err(&Error::TimedOut),
        };
        contender.stage = match (stage, asked, outcome) {
            (Stage::Away, Asked::Grant(id), Ok(_)) => Stage::Leased(id),
            (Stage::Leased(lease), Asked::Join, Ok(Response::Txn(txn))) => {
                let line = line::prefix(LOCK);
                let Joined { place, is_first, .. } = line::joined(&line, lease, txn);
                if is_first { self.tally.hold(place) } else { Stage::Waiting(place) }
            }
            // The lease has ended before there was a place.
            (Stage::Leased(_), Asked::Join, Err(Error::LeaseNotFound)) => Stage::Away,
            (Stage::Waiting(place), Asked::Look, Ok(Response::Txn(txn))) => {
                match self.mutants.has("lock_jumps_the_line") {
                    true => self.tally.hold(place),
                    false => self.tally.look(place, txn),
                }
            }
            (Stage::Behind(place, _), Asked::News, _) => Stage::Waiting(place),
            (Stage::Holding(place, left), Asked::Write, Ok(Response::Txn(txn))) => {
                if txn.succeeded {
                    Stage::Holding(place, left.saturating_sub(1))
                } else {
                    self.tally.fenced_off += 1;
                    Stage::Away
                }
            }
            (Stage::Holding(..), Asked::Leave, Ok(_) | Err(Error::LeaseNotFound)) => Stage::Away,
            // It is asked for again.
            (stage, ..) => stage,
        };
        true
    }

    pub(crate) fn crashed(&mut self, node: NodeId) {
        for (_, (who, asked)) in self.open.extract_if(.., |(of, _), _| *of == node) {
            if !matches!(asked, Asked::Renewal) {
                let contender = &mut self.contenders[who];
                contender.is_asking = false;
                if let Stage::Behind(place, _) = &contender.stage {
                    contender.stage = Stage::Waiting(place.clone());
                }
            }
        }
    }

    /// Something was changed in the store, in the order of its revisions. What that breaks, if it does.
    pub(crate) fn changed(&mut self, event: &Event) -> Option<String> {
        self.tally.guarded += u64::from(event.kv.key == GUARDED);
        self.judge.changed(event)
    }
}

impl LockTally {
    fn look(&mut self, place: Place, txn: &TxnResponse) -> Stage {
        match line::seen(&place, txn) {
            Seen::First => self.hold(place),
            Seen::Behind(_) => Stage::Behind(place, txn.revision),
            Seen::Lost => Stage::Away,
        }
    }

    fn hold(&mut self, place: Place) -> Stage {
        self.taken += 1;
        Stage::Holding(place, 4)
    }
}

/// Writes what the lock guards, if the place is still there: the revision that it was created at is the fencing token.
fn guarded_write(place: &Place, mutants: Mutants) -> TxnRequest {
    let put = PutRequest {
        key: Bytes::from_static(GUARDED),
        value: place.since.0.to_string().into(),
        lease: LeaseId(0),
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    };
    let mut write = line::while_held(place.key.clone(), place.since, Operation::Put(put));
    if mutants.has("lock_ignores_the_fence") {
        write.compare.clear();
    }
    write
}

/// Knows who is in line, from what was changed in the store alone.
#[derive(Default)]
struct Judge {
    places: BTreeMap<Bytes, i64>,
    last_token: i64,
}

impl Judge {
    fn changed(&mut self, Event { is_deletion, kv, .. }: &Event) -> Option<String> {
        if line::all(line::prefix(LOCK)).holds(&kv.key) {
            match is_deletion {
                true => self.places.remove(&kv.key),
                false => self.places.insert(kv.key.clone(), kv.create_revision.0),
            };
        }
        if kv.key != GUARDED || *is_deletion {
            return None;
        }
        let at = kv.mod_revision.0;
        let token = std::str::from_utf8(&kv.value).ok()?.parse().ok()?;
        let last = std::mem::replace(&mut self.last_token, token);
        match self.places.values().min() {
            _ if token < last => {
                Some(format!("at revision {at} a write under lock {token} follows one of {last}"))
            }
            Some(holder) if *holder == token => None,
            Some(holder) => Some(format!(
                "at revision {at} a write under lock {token} is taken, and {holder} holds it"
            )),
            None => Some(format!(
                "at revision {at} a write under lock {token} is taken, and nobody holds it"
            )),
        }
    }
}
