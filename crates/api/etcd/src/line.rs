//! Who waits in a [line](quorate_kv::line), and how: by watching the place before its own.

use std::sync::Arc;

use bytes::Bytes;
use quorate_kv::error::Error as StoreError;
use quorate_kv::line::{self, Joined, Place, Seen};
use quorate_kv::request::{KeyRange, KeyValue, LeaseId, Operation, PutRequest, RangeEnd, Revision};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::face::Face;
use crate::proto::etcdserverpb as wire;
use crate::proto::mvccpb::event::EventType;
use crate::watch::Vigil;

/// What a lease that nobody asked for by name lives, in seconds.
const TTL_SECONDS: i64 = 60;

/// A place that has become the first.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) place: Place,
    /// Of the answer that gave the place.
    pub(crate) joined: Option<wire::ResponseHeader>,
    /// Of the answer that told that it is the first.
    pub(crate) reached: Option<wire::ResponseHeader>,
    is_new: bool,
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
        let (face, prefix) = (self.clone(), line::prefix(name));
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
            Ok((Joined { place, is_new, is_first: true, .. }, joined)) => {
                Ok(Turn { place, joined, reached: joined, is_new, has_waited: false })
            }
            Ok((Joined { place, is_new, .. }, joined)) => {
                let reached = tokio::select! {
                    biased;
                    reached = self.wait_for_turn(&place) => reached,
                    () = answer.closed() => Err(Error::Disconnected),
                };
                match reached {
                    Ok(reached) => Ok(Turn { place, joined, reached, is_new, has_waited: true }),
                    Err(error) => {
                        self.leave(&place).await;
                        Err(error)
                    }
                }
            }
        };
        if let Err(Ok(turn)) = answer.send(outcome)
            && (turn.is_new || turn.has_waited)
        {
            // Nobody knows of it. What another call has been given under the same lease is left alone.
            self.leave(&turn.place).await;
        }
    }

    /// Takes a place, unless the lease has one. Returns what came of it, with the header of the answer.
    async fn join(
        &self,
        prefix: Bytes,
        lease: i64,
        value: Bytes,
    ) -> Result<(Joined, Option<wire::ResponseHeader>), Error> {
        let lease = if lease == 0 {
            let grant = wire::LeaseGrantRequest { id: 0, ttl: TTL_SECONDS };
            self.lease_grant(grant).await?.id
        } else {
            lease
        };
        let request = line::join(&prefix, LeaseId(lease), value.clone());
        let (header, txn) = self.carry_out(request).await?;
        let joined = line::joined(&prefix, LeaseId(lease), &txn);
        if joined.said.as_ref().is_some_and(|said| *said != value) {
            // Before it may be the first: nobody is to be told of a leader what it said of itself in another life.
            let Place { key, since, .. } = joined.place.clone();
            self.put_created_at(key, since.0, lease, value).await?;
        }
        Ok((joined, header))
    }

    /// Waits until no older place is left. Fails when the place is lost.
    async fn wait_for_turn(&self, place: &Place) -> Result<Option<wire::ResponseHeader>, Error> {
        loop {
            let (header, txn) = self.carry_out(line::look(place)).await?;
            let before = match line::seen(place, &txn) {
                Seen::First => return Ok(header),
                Seen::Lost => return Err(Error::SessionExpired),
                Seen::Behind(before) => before,
            };
            let keys = [before, place.key.clone()];
            let keys = keys.map(|start| KeyRange { start, end: RangeEnd::Single });
            let mut vigil = Vigil::over(self, keys, Revision(txn.revision.0 + 1)).await?;
            while let Some(events) = vigil.next().await? {
                if events.iter().any(|event| event.r#type() == EventType::Delete) {
                    break;
                }
            }
        }
    }

    /// Gives a place up. If that fails, the lease ends it.
    async fn leave(&self, place: &Place) {
        if let Err(error) = self.delete_created_at(place.key.clone(), place.since.0).await {
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
        let put = PutRequest {
            key: key.clone(),
            value,
            lease: LeaseId(lease),
            prev_kv: false,
            ignore_value: false,
            ignore_lease: lease == 0,
        };
        let request = line::while_held(key, Revision(since), Operation::Put(put));
        let (header, txn) = self.carry_out(request).await?;
        if txn.succeeded { Ok(header) } else { Err(Error::ElectionNotLeader) }
    }

    /// Deletes a key if it is the one that was created at a revision. Returns the header of the answer.
    pub(crate) async fn delete_created_at(
        &self,
        key: Bytes,
        since: i64,
    ) -> Result<Option<wire::ResponseHeader>, Error> {
        Ok(self.carry_out(line::leave(key, Revision(since))).await?.0)
    }

    /// The key that is first in a line, and the header of the answer.
    pub(crate) async fn first_in_line(
        &self,
        prefix: &Bytes,
    ) -> Result<(Option<wire::ResponseHeader>, Option<KeyValue>), Error> {
        let (header, txn) = self.carry_out(line::ask_first(prefix)).await?;
        Ok((header, line::first(&txn).cloned()))
    }
}
