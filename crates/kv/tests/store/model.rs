//! The store, too simple to be wrong: a list of all revisions, each with everything that was there.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_kv::error::Error;
use quorate_kv::request::*;
use quorate_kv::store::{SLACK_MS, TICK_MS_MAX};

type Map = BTreeMap<Bytes, KeyValue>;

#[derive(Debug)]
pub(crate) struct Model {
    /// By revision, the first at 1.
    past: Vec<Map>,
    compacted: i64,
    /// Each with its time to live in seconds, and when it is over.
    leases: BTreeMap<LeaseId, (i64, u64)>,
    pub(crate) clock_ms: u64,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { past: vec![Map::new()], compacted: -1, leases: BTreeMap::new(), clock_ms: 0 }
    }

    pub(crate) fn revision(&self) -> i64 {
        self.past.len() as i64
    }

    pub(crate) fn now(&self) -> &Map {
        self.past.last().expect("revision 1 is always there")
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Result<Response, Error> {
        if let Command::Compact(compact) = command {
            if compact.revision.0 <= self.compacted {
                return Err(Error::Compacted);
            }
            if compact.revision.0 > self.revision() {
                return Err(Error::FutureRevision);
            }
            self.compacted = compact.revision.0;
            let revision = Revision(self.revision());
            return Ok(Response::Compact(CompactResponse { revision }));
        }
        if let Some(answered) = self.apply_to_leases(command) {
            return answered;
        }
        let mut draft = Draft { model: self, map: self.now().clone(), has_written: false };
        let response = match command {
            // A put alone looks for its lease first, one in a transaction for what it keeps.
            Command::Put(put) if !self.has_lease(put.lease) => return Err(Error::LeaseNotFound),
            Command::Put(put) => draft.put(put)?,
            Command::DeleteRange(delete) => draft.delete(delete),
            Command::Txn(txn) => draft.outermost(txn)?,
            Command::LeaseRevoke(id) => draft.revoke(*id)?,
            _ => unreachable!("answered above"),
        };
        if draft.has_written {
            let map = draft.map;
            self.past.push(map);
        }
        if let Command::LeaseRevoke(id) = command {
            self.leases.remove(id);
        }
        Ok(response)
    }

    fn has_lease(&self, id: LeaseId) -> bool {
        id == LeaseId(0) || self.leases.contains_key(&id)
    }

    /// What changes leases and no keys.
    fn apply_to_leases(&mut self, command: &Command) -> Option<Result<Response, Error>> {
        let revision = Revision(self.revision());
        let deadline = |ttl: i64| self.clock_ms + ttl.max(0) as u64 * 1000 + SLACK_MS;
        Some(match command {
            Command::LeaseGrant(grant) if self.leases.contains_key(&grant.id) => {
                Err(Error::LeaseExists)
            }
            Command::LeaseGrant(LeaseGrantRequest { id, ttl_seconds }) => {
                self.leases.insert(*id, (*ttl_seconds, deadline(*ttl_seconds)));
                let (id, ttl_seconds) = (*id, *ttl_seconds);
                Ok(Response::LeaseGrant(LeaseGrantResponse { revision, id, ttl_seconds }))
            }
            Command::LeaseRenew(id) => match self.leases.get(id).copied() {
                Some((ttl_seconds, _)) => {
                    self.leases.insert(*id, (ttl_seconds, deadline(ttl_seconds)));
                    Ok(Response::LeaseRenew(LeaseRenewResponse { revision, ttl_seconds }))
                }
                None => Err(Error::LeaseNotFound),
            },
            Command::Tick(tick) => {
                if tick.from_ms == self.clock_ms {
                    self.clock_ms += tick.by_ms.min(TICK_MS_MAX);
                }
                Ok(Response::Ticked)
            }
            _ => return None,
        })
    }

    /// The lease that was over first, of those that are.
    pub(crate) fn first_expired(&self) -> Option<LeaseId> {
        let over = self.leases.iter().filter(|(_, (_, deadline))| *deadline <= self.clock_ms);
        over.min_by_key(|(id, (_, deadline))| (*deadline, **id)).map(|(id, _)| *id)
    }

    pub(crate) fn lease_status(&self, id: LeaseId) -> LeaseStatus {
        let revision = Revision(self.revision());
        let lease = self.leases.get(&id);
        let bound = self.now().values().filter(|kv| kv.lease == id && lease.is_some());
        let left = |deadline: u64| deadline.saturating_sub(self.clock_ms + SLACK_MS).div_ceil(1000);
        LeaseStatus {
            revision,
            left_seconds: lease.map(|(_, deadline)| left(*deadline) as i64),
            ttl_seconds: lease.map_or(0, |(ttl, _)| *ttl),
            keys: bound.map(|kv| kv.key.clone()).collect(),
        }
    }

    pub(crate) fn lease_ids(&self) -> Vec<LeaseId> {
        let mut by_deadline: Vec<_> =
            self.leases.iter().map(|(id, (_, deadline))| (*deadline, *id)).collect();
        by_deadline.sort_unstable();
        by_deadline.into_iter().map(|(_, id)| id).collect()
    }

    pub(crate) fn range(&self, get: &RangeRequest) -> Result<RangeResponse, Error> {
        let at = match get.revision {
            Some(Revision(at)) if at > self.revision() => return Err(Error::FutureRevision),
            Some(Revision(at)) if at > 0 && at < self.compacted => return Err(Error::Compacted),
            Some(Revision(at)) if at > 0 => &self.past[at as usize - 1],
            _ => self.now(),
        };
        Ok(answer(get, at, Revision(self.revision())))
    }
}

/// The map of the next revision, while a command is at work on it.
struct Draft<'a> {
    model: &'a Model,
    map: Map,
    has_written: bool,
}

impl Draft<'_> {
    fn next(&self) -> Revision {
        Revision(self.model.revision() + 1)
    }

    fn revision(&self) -> Revision {
        if self.has_written { self.next() } else { Revision(self.model.revision()) }
    }

    fn put(&mut self, put: &PutRequest) -> Result<Response, Error> {
        let kept = self.model.now().get(&put.key);
        if (put.ignore_value || put.ignore_lease) && kept.is_none() {
            return Err(Error::KeyNotFound);
        }
        if !self.model.has_lease(put.lease) {
            return Err(Error::LeaseNotFound);
        }
        let (mut value, mut lease) = (put.value.clone(), put.lease);
        if let Some(kept) = kept.filter(|_| put.ignore_value) {
            value = kept.value.clone();
        }
        if let Some(kept) = kept.filter(|_| put.ignore_lease) {
            lease = kept.lease;
        }
        let next = self.next();
        let prev_kv = self.map.get(&put.key).cloned();
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: prev_kv.as_ref().map_or(next, |kv| kv.create_revision),
            mod_revision: next,
            version: prev_kv.as_ref().map_or(0, |kv| kv.version) + 1,
            value,
            lease,
        };
        self.map.insert(put.key.clone(), kv);
        self.has_written = true;
        let prev_kv = if put.prev_kv { prev_kv } else { None };
        Ok(Response::Put(PutResponse { revision: next, prev_kv }))
    }

    fn delete(&mut self, delete: &DeleteRangeRequest) -> Response {
        let gone = select(&self.map, &delete.range);
        for kv in &gone {
            self.map.remove(&kv.key);
            self.has_written = true;
        }
        Response::DeleteRange(DeleteRangeResponse {
            revision: self.revision(),
            deleted: gone.len(),
            prev_kvs: if delete.prev_kv { gone } else { Vec::new() },
        })
    }

    fn revoke(&mut self, id: LeaseId) -> Result<Response, Error> {
        if id == LeaseId(0) || !self.model.has_lease(id) {
            return Err(Error::LeaseNotFound);
        }
        let before = self.map.len();
        self.map.retain(|_, kv| kv.lease != id);
        self.has_written = self.map.len() < before;
        Ok(Response::LeaseRevoke(LeaseRevokeResponse { revision: self.revision() }))
    }

    fn outermost(&mut self, txn: &TxnRequest) -> Result<Response, Error> {
        let mut response = self.txn(txn)?;
        response.revision = self.revision();
        Ok(Response::Txn(response))
    }

    fn txn(&mut self, txn: &TxnRequest) -> Result<TxnResponse, Error> {
        let succeeded = txn.compare.iter().all(|compare| holds(compare, self.model.now()));
        let block = if succeeded { &txn.success } else { &txn.failure };
        let mut responses = Vec::new();
        for operation in block {
            responses.push(match operation {
                Operation::Put(put) => self.put(put)?,
                Operation::DeleteRange(delete) => self.delete(delete),
                Operation::Txn(txn) => Response::Txn(self.txn(txn)?),
                Operation::Range(get) => Response::Range(self.range(get)?),
            });
        }
        Ok(TxnResponse { revision: Revision(0), succeeded, responses })
    }

    fn range(&self, get: &RangeRequest) -> Result<RangeResponse, Error> {
        if get.revision.is_some_and(|at| at.0 < 0 && at.0 < self.model.compacted) {
            return Err(Error::Compacted);
        }
        let mut response = self.model.range(get)?;
        if get.revision.is_none_or(|at| at.0 <= 0) {
            response = answer(get, &self.map, self.revision());
        }
        response.revision = self.revision();
        Ok(response)
    }
}

fn select(map: &Map, range: &KeyRange) -> Vec<KeyValue> {
    let is_in = |key: &Bytes| match &range.end {
        RangeEnd::Single => *key == range.start,
        RangeEnd::Before(end) => *key >= range.start && key < end,
        RangeEnd::Unbounded => *key >= range.start,
    };
    map.values().filter(|kv| is_in(&kv.key)).cloned().collect()
}

fn answer(get: &RangeRequest, map: &Map, revision: Revision) -> RangeResponse {
    let mut kvs = select(map, &get.range);
    let count = kvs.len();
    if get.count_only {
        return RangeResponse { revision, kvs: Vec::new(), more: false, count };
    }
    let max = |bound: Revision| if bound.0 == 0 { i64::MAX } else { bound.0 };
    let min = |bound: Revision| if bound.0 == 0 { i64::MIN } else { bound.0 };
    kvs.retain(|kv| {
        (min(get.min_mod_revision)..=max(get.max_mod_revision)).contains(&kv.mod_revision.0)
            && (min(get.min_create_revision)..=max(get.max_create_revision))
                .contains(&kv.create_revision.0)
    });
    if let Some((target, order)) = get.sort {
        match target {
            SortTarget::Key => kvs.sort_by_key(|kv| kv.key.clone()),
            SortTarget::Version => kvs.sort_by_key(|kv| kv.version),
            SortTarget::CreateRevision => kvs.sort_by_key(|kv| kv.create_revision),
            SortTarget::ModRevision => kvs.sort_by_key(|kv| kv.mod_revision),
            SortTarget::Value => kvs.sort_by_key(|kv| kv.value.clone()),
        }
        if order == SortOrder::Descending {
            // Backwards, and then each run of keys that tie forwards again.
            kvs.reverse();
            for run in kvs.chunk_by_mut(|a, b| ties(target, a, b)) {
                run.reverse();
            }
        }
    }
    let more = get.limit > 0 && kvs.len() > get.limit;
    if more {
        kvs.truncate(get.limit);
    }
    if get.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    RangeResponse { revision, kvs, more, count }
}

fn ties(target: SortTarget, a: &KeyValue, b: &KeyValue) -> bool {
    match target {
        SortTarget::Key => a.key == b.key,
        SortTarget::Version => a.version == b.version,
        SortTarget::CreateRevision => a.create_revision == b.create_revision,
        SortTarget::ModRevision => a.mod_revision == b.mod_revision,
        SortTarget::Value => a.value == b.value,
    }
}

fn holds(compare: &Compare, map: &Map) -> bool {
    let relates = |ordering: std::cmp::Ordering| match compare.relation {
        Relation::Equal => ordering.is_eq(),
        Relation::NotEqual => ordering.is_ne(),
        Relation::Greater => ordering.is_gt(),
        Relation::Less => ordering.is_lt(),
    };
    let numbers = |version: i64, create: i64, modified: i64, lease: i64| match &compare.target {
        CompareTarget::Version(expected) => version.cmp(expected),
        CompareTarget::CreateRevision(expected) => create.cmp(&expected.0),
        CompareTarget::ModRevision(expected) => modified.cmp(&expected.0),
        CompareTarget::Lease(expected) => lease.cmp(&expected.0),
        CompareTarget::Value(_) => unreachable!("a value is not a number"),
    };
    let kvs = select(map, &compare.range);
    if let CompareTarget::Value(expected) = &compare.target {
        return !kvs.is_empty() && kvs.iter().all(|kv| relates(kv.value.cmp(expected)));
    }
    if kvs.is_empty() {
        return relates(numbers(0, 0, 0, 0));
    }
    kvs.iter()
        .all(|kv| relates(numbers(kv.version, kv.create_revision.0, kv.mod_revision.0, kv.lease.0)))
}
