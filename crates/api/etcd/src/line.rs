//! Waiting lines: keys below one name, in the order in which they were created. Whose key is the oldest holds the lock,
//! or leads.
//!
//! The naive version is one key that whoever creates it has. All who wait watch it, and when it goes all of them try
//! again: a thousand tries for one that succeeds, and who has waited longest has no better chance. In a line, each waits
//! for the key before its own alone.
//!
//! A key is bound to a lease, so that whoever dies gives up its place. It names the lease: a client that asks again,
//! because its connection broke or the node that it waited at has died, finds the place that it has.
//!
//! *Omitted.* A line `a` has the keys of a line `a/b` among its own, as in etcd.

use std::sync::Arc;

use bytes::Bytes;
use quorate_kv::error::Error as StoreError;
use quorate_kv::request::{KeyRange, RangeEnd, Revision};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::face::Face;
use crate::proto::etcdserverpb::{
    self as wire, compare, compare::TargetUnion, range_request, request_op::Request,
    response_op::Response,
};
use crate::proto::mvccpb::{KeyValue, event::EventType};
use crate::watch::Vigil;

/// What a lease that nobody asked for by name lives, in seconds.
const TTL_SECONDS: i64 = 60;

/// The keys of a line.
pub(crate) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// The key after all that begin with the prefix of a line, which ends in a slash.
pub(crate) fn end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = b'/' + 1;
    }
    end.into()
}

/// The name that a place has for a lease.
fn key(prefix: &[u8], lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let lease = format!("{sign}{:x}", lease.unsigned_abs());
    [prefix, lease.as_bytes()].concat().into()
}

/// A place in a line.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    prefix: Bytes,
    /// The key that is there as long as the place is.
    pub(crate) key: Bytes,
    /// The revision at which it was created. Whoever comes later has a larger one.
    pub(crate) since: i64,
    /// The lease that the key is bound to.
    pub(crate) lease: i64,
    is_new: bool,
}

/// A place that has become the first.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) place: Place,
    /// Of the answer that gave the place.
    pub(crate) joined: Option<wire::ResponseHeader>,
    /// Of the answer that told that it is the first.
    pub(crate) reached: Option<wire::ResponseHeader>,
    has_waited: bool,
}

impl Face {
    /// Takes a place in a line, with a value, and waits for its turn. Whoever stops waiting for this gives its place up.
    pub(crate) async fn line_up(
        self: &Arc<Self>,
        name: &[u8],
        lease: i64,
        value: Bytes,
    ) -> Result<Turn, Error> {
        let (answer, turn) = oneshot::channel();
        let (face, prefix) = (self.clone(), prefix(name));
        // A call whose client has gone is dropped where it stands. This one must go on, to clear its place away.
        tokio::spawn(async move { face.stand_in_line(prefix, lease, value, answer).await });
        turn.await.map_err(|_| StoreError::Stopped)?
    }

    async fn stand_in_line(
        &self,
        prefix: Bytes,
        lease: i64,
        value: Bytes,
        mut answer: oneshot::Sender<Result<Turn, Error>>,
    ) {
        let outcome = match self.join(prefix, lease, value).await {
            Err(error) => Err(error),
            Ok((place, joined, true)) => {
                Ok(Turn { place, joined, reached: joined, has_waited: false })
            }
            Ok((place, joined, false)) => {
                let reached = tokio::select! {
                    biased;
                    reached = self.wait_for_turn(&place) => reached,
                    () = answer.closed() => Err(Error::Disconnected),
                };
                match reached {
                    Ok(reached) => Ok(Turn { place, joined, reached, has_waited: true }),
                    Err(error) => {
                        self.leave(&place).await;
                        Err(error)
                    }
                }
            }
        };
        if let Err(Ok(turn)) = answer.send(outcome)
            && (turn.place.is_new || turn.has_waited)
        {
            // Nobody knows of it. What another call has been given under the same lease is left alone.
            self.leave(&turn.place).await;
        }
    }

    /// Takes a place, unless the lease has one. Returns whether it is the first.
    async fn join(
        &self,
        prefix: Bytes,
        lease: i64,
        value: Bytes,
    ) -> Result<(Place, Option<wire::ResponseHeader>, bool), Error> {
        let lease = if lease == 0 {
            let grant = wire::LeaseGrantRequest { id: 0, ttl: TTL_SECONDS };
            self.lease_grant(grant).await?.id
        } else {
            lease
        };
        let key = key(&prefix, lease);
        let put = wire::PutRequest {
            key: key.clone(),
            value: value.clone(),
            lease,
            ..Default::default()
        };
        let first = || Request::RequestRange(oldest(prefix.clone()));
        let txn = self.txn(wire::TxnRequest {
            compare: vec![is_created_at(key.clone(), 0)],
            success: operations([Request::RequestPut(put), first()]),
            failure: operations([Request::RequestRange(one(key.clone())), first()]),
        });
        let txn = txn.await?;
        let revision = txn.header.map_or(0, |header| header.revision);
        let [held, first] = read(&txn);
        let since = held.map_or(revision, |held| held.create_revision);
        let is_first = first.is_some_and(|first| first.create_revision == since);
        if held.is_some_and(|held| held.value != value) {
            // Before it may be the first: nobody is to be told of a leader what it said of itself in another life.
            self.put_created_at(key.clone(), since, lease, value).await?;
        }
        let is_new = txn.succeeded;
        Ok((Place { prefix, key, since, lease, is_new }, txn.header, is_first))
    }

    /// Waits until no older place is left. Fails when the place is lost.
    async fn wait_for_turn(&self, place: &Place) -> Result<Option<wire::ResponseHeader>, Error> {
        loop {
            let before = wire::RangeRequest {
                max_create_revision: place.since - 1,
                sort_order: range_request::SortOrder::Descend.into(),
                ..oldest(place.prefix.clone())
            };
            // Both at one revision, so that there is none at which the place was lost and yet seen as the first.
            let reads =
                [Request::RequestRange(one(place.key.clone())), Request::RequestRange(before)];
            let txn = wire::TxnRequest { success: operations(reads), ..Default::default() };
            let txn = self.txn(txn).await?;
            let [own, before] = read(&txn);
            if own.is_none_or(|own| own.create_revision != place.since) {
                return Err(Error::SessionExpired);
            }
            let Some(before) = before else { return Ok(txn.header) };
            let revision = txn.header.map_or(0, |header| header.revision);
            let keys = [before.key.clone(), place.key.clone()];
            let keys = keys.map(|start| KeyRange { start, end: RangeEnd::Single });
            let mut vigil = Vigil::over(self, keys, Revision(revision + 1)).await?;
            while let Some(events) = vigil.next().await? {
                if events.iter().any(|event| event.r#type() == EventType::Delete) {
                    break;
                }
            }
        }
    }

    /// Gives a place up. If that fails, the lease ends it.
    async fn leave(&self, place: &Place) {
        if let Err(error) = self.delete_created_at(place.key.clone(), place.since).await {
            tracing::debug!(%error, "a place in a line is left to its lease");
        }
    }

    /// Writes a key if it is the one that was created at a revision, and is bound to a lease; 0 is the one that it is bound
    /// to. Returns the header of the answer.
    pub(crate) async fn put_created_at(
        &self,
        key: Bytes,
        since: i64,
        lease: i64,
        value: Bytes,
    ) -> Result<Option<wire::ResponseHeader>, Error> {
        if since == 0 {
            // To a transaction it would say that the key is not there.
            return Err(Error::ElectionNotLeader);
        }
        let put = wire::PutRequest {
            key: key.clone(),
            value,
            lease,
            ignore_lease: lease == 0,
            ..Default::default()
        };
        let txn = self.txn(wire::TxnRequest {
            compare: vec![is_created_at(key, since)],
            success: operations([Request::RequestPut(put)]),
            failure: Vec::new(),
        });
        let txn = txn.await?;
        if txn.succeeded { Ok(txn.header) } else { Err(Error::ElectionNotLeader) }
    }

    /// Deletes a key if it is the one that was created at a revision. Returns the header of the answer.
    pub(crate) async fn delete_created_at(
        &self,
        key: Bytes,
        since: i64,
    ) -> Result<Option<wire::ResponseHeader>, Error> {
        let delete = wire::DeleteRangeRequest { key: key.clone(), ..Default::default() };
        let txn = wire::TxnRequest {
            compare: vec![is_created_at(key, since)],
            success: operations([Request::RequestDeleteRange(delete)]),
            failure: Vec::new(),
        };
        Ok(self.txn(txn).await?.header)
    }

    /// The key that is first in a line, and the header of the answer.
    pub(crate) async fn first_in_line(
        &self,
        prefix: Bytes,
    ) -> Result<(Option<wire::ResponseHeader>, Option<KeyValue>), Error> {
        let reads = operations([Request::RequestRange(oldest(prefix))]);
        let txn = self.txn(wire::TxnRequest { success: reads, ..Default::default() }).await?;
        let [first] = read(&txn);
        Ok((txn.header, first.cloned()))
    }
}

/// A read of one key.
fn one(key: Bytes) -> wire::RangeRequest {
    wire::RangeRequest { key, ..Default::default() }
}

/// A read of the oldest key of a line.
fn oldest(prefix: Bytes) -> wire::RangeRequest {
    wire::RangeRequest {
        range_end: end(&prefix),
        key: prefix,
        limit: 1,
        sort_order: range_request::SortOrder::Ascend.into(),
        sort_target: range_request::SortTarget::Create.into(),
        ..Default::default()
    }
}

/// That a key was created at a revision; 0 is that it is not there.
fn is_created_at(key: Bytes, revision: i64) -> wire::Compare {
    wire::Compare {
        key,
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Create.into(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

fn operations(requests: impl IntoIterator<Item = Request>) -> Vec<wire::RequestOp> {
    let operations = requests.into_iter().map(|request| wire::RequestOp { request: Some(request) });
    operations.collect()
}

/// The first key that each of the operations has read; none for one that was no read, or has found nothing.
fn read<const N: usize>(txn: &wire::TxnResponse) -> [Option<&KeyValue>; N] {
    std::array::from_fn(|place| match &txn.responses.get(place)?.response {
        Some(Response::ResponseRange(range)) => range.kvs.first(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_after_the_line_and_the_lease_as_etcd_names_it() {
        let prefix = prefix(b"jobs");
        assert_eq!(key(&prefix, 0x4ee7_a1ff_cad0_d80c), "jobs/4ee7a1ffcad0d80c");
        assert_eq!(key(&prefix, -5), "jobs/-5");
    }

    #[test]
    fn a_line_has_all_keys_below_its_name_and_no_other() {
        let prefix = prefix(b"jobs");
        let range = KeyRange { start: prefix.clone(), end: RangeEnd::Before(end(&prefix)) };
        assert!(range.holds(b"jobs/") && range.holds(b"jobs/ff") && range.holds(b"jobs/\xff"));
        assert!(!range.holds(b"jobs") && !range.holds(b"jobs0") && !range.holds(b"jobs."));
    }
}
