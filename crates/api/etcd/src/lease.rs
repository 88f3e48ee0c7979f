//! The Lease service.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Body;
use prost::Message;
use quorate_kv::error::Error as StoreError;
use quorate_kv::request::{Command, LeaseGrantRequest, LeaseId, Query, Response};
use quorate_kv::service::{NodeRequest, NodeResponse};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::error::Error;
use crate::face::Face;
use crate::grpc;
use crate::inbound::Inbound;
use crate::proto::etcdserverpb as wire;

/// How many answers may wait for the connection.
const QUEUED_MAX: usize = 16;
/// How many renewals of one stream are under way at one time.
const RENEWALS_MAX: usize = 1024;
/// The time to live of a lease that is not there.
const NO_LEASE: i64 = -1;

impl Face {
    pub(crate) async fn lease_grant(
        &self,
        request: wire::LeaseGrantRequest,
    ) -> Result<wire::LeaseGrantResponse, Error> {
        loop {
            let is_chosen = request.id != 0;
            let id = LeaseId(if is_chosen { request.id } else { draw_id() });
            let grant = LeaseGrantRequest { id, ttl_seconds: request.ttl };
            match self.command(Command::LeaseGrant(grant)).await {
                Ok((term, Response::LeaseGrant(grant))) => {
                    return Ok(wire::LeaseGrantResponse {
                        header: self.header(grant.revision, term),
                        id: grant.id.0,
                        ttl: grant.ttl_seconds,
                        error: String::new(),
                    });
                }
                Ok((_, other)) => unreachable!("the node answered a grant with {other:?}"),
                // Somebody has drawn the same number.
                Err(Error::Store(StoreError::LeaseExists)) if !is_chosen => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) async fn lease_revoke(
        &self,
        request: wire::LeaseRevokeRequest,
    ) -> Result<wire::LeaseRevokeResponse, Error> {
        match self.command(Command::LeaseRevoke(LeaseId(request.id))).await? {
            (term, Response::LeaseRevoke(revoke)) => {
                Ok(wire::LeaseRevokeResponse { header: self.header(revoke.revision, term) })
            }
            (_, other) => unreachable!("the node answered a revocation with {other:?}"),
        }
    }

    pub(crate) async fn lease_time_to_live(
        &self,
        request: wire::LeaseTimeToLiveRequest,
    ) -> Result<wire::LeaseTimeToLiveResponse, Error> {
        let query = Query::LeaseStatus { id: LeaseId(request.id), keys: request.keys };
        match self.query(query, false).await? {
            (term, Response::LeaseStatus(status)) => Ok(wire::LeaseTimeToLiveResponse {
                header: self.header(status.revision, term),
                id: request.id,
                ttl: status.left_seconds.unwrap_or(NO_LEASE),
                granted_ttl: status.ttl_seconds,
                keys: status.keys,
            }),
            (_, other) => unreachable!("the node answered about a lease with {other:?}"),
        }
    }

    pub(crate) async fn lease_leases(
        &self,
        _: wire::LeaseLeasesRequest,
    ) -> Result<wire::LeaseLeasesResponse, Error> {
        match self.query(Query::Leases, false).await? {
            (term, Response::Leases(all)) => {
                let leases = all.leases.iter().map(|id| wire::LeaseStatus { id: id.0 });
                Ok(wire::LeaseLeasesResponse {
                    header: self.header(all.revision, term),
                    leases: leases.collect(),
                })
            }
            (_, other) => unreachable!("the node answered about leases with {other:?}"),
        }
    }

    /// Begins a stream of renewals, and returns what its client is sent.
    pub(crate) fn lease_keep_alive<B>(
        self: &Arc<Self>,
        inbound: Inbound<B>,
    ) -> Receiver<Result<Bytes, Error>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (messages, sent) = channel(QUEUED_MAX);
        let face = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = messages.closed() => {}
                ended = renew_all(&face, inbound, &messages) => {
                    if let Err(error) = ended {
                        // If the client has gone, nobody wants to know.
                        let _ = messages.send(Err(error)).await;
                    }
                }
            }
        });
        sent
    }
}

/// Answers each renewal in its turn. Those that have arrived together are under way together.
async fn renew_all<B>(
    face: &Face,
    mut inbound: Inbound<B>,
    messages: &Sender<Result<Bytes, Error>>,
) -> Result<(), Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    while let Some(first) = inbound.next().await? {
        let mut under_way = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            let id = wire::LeaseKeepAliveRequest::decode(message)?.id;
            let command = Command::LeaseRenew(LeaseId(id));
            let group = face.config.group;
            under_way.push((id, face.post(NodeRequest::Command { group, command })));
            next = if under_way.len() < RENEWALS_MAX { inbound.next_arrived()? } else { None };
        }
        for (id, answer) in under_way {
            let answer = answer.await.map_err(|_| Error::from(StoreError::Stopped))?;
            let renewed = renewed(face, id, answer).await?;
            if messages.send(Ok(grpc::frame(&renewed)?)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn renewed(
    face: &Face,
    id: i64,
    answer: NodeResponse,
) -> Result<wire::LeaseKeepAliveResponse, Error> {
    let NodeResponse::Done { term, outcome } = answer else {
        unreachable!("the node answered a renewal with {answer:?}")
    };
    let (revision, ttl) = match face.verdict(outcome) {
        Ok(Response::LeaseRenew(renewal)) => (renewal.revision, renewal.ttl_seconds),
        Ok(other) => unreachable!("the node answered a renewal with {other:?}"),
        // etcd says so in the answer rather than by an error, and clients look for it there.
        Err(StoreError::LeaseNotFound) => (face.status().await?.revision, 0),
        Err(error) => return Err(error.into()),
    };
    Ok(wire::LeaseKeepAliveResponse { header: face.header(revision, term), id, ttl })
}

/// An id that hardly anybody has: positive, as etcd's are.
fn draw_id() -> i64 {
    let drawn = RandomState::new().hash_one(0) >> 1;
    drawn.max(1).cast_signed()
}
