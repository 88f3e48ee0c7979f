//! The Election service: a [line](quorate_kv::line), of which the first leads.

use std::sync::Arc;

use bytes::Bytes;
use quorate_kv::line;
use quorate_kv::request::{KeyRange, RangeEnd, Revision};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::convert;
use crate::error::Error;
use crate::face::Face;
use crate::grpc;
use crate::line::Turn;
use crate::proto::etcdserverpb::ResponseHeader;
use crate::proto::mvccpb::{KeyValue, event::EventType};
use crate::proto::v3electionpb as wire;
use crate::watch::Vigil;

/// How many answers may wait for the connection.
const QUEUED_MAX: usize = 4;

impl Face {
    pub(crate) async fn campaign(
        self: &Arc<Self>,
        request: wire::CampaignRequest,
    ) -> Result<wire::CampaignResponse, Error> {
        let wire::CampaignRequest { name, lease, value } = request;
        let Turn { place, joined, .. } = self.line_up(&name, lease, value).await?;
        let (rev, lease) = (place.since.0, place.lease.0);
        let leader = wire::LeaderKey { name, key: place.key, rev, lease };
        Ok(wire::CampaignResponse { header: joined, leader: Some(leader) })
    }

    pub(crate) async fn proclaim(
        &self,
        request: wire::ProclaimRequest,
    ) -> Result<wire::ProclaimResponse, Error> {
        let wire::LeaderKey { key, rev, lease, .. } =
            request.leader.ok_or(Error::MissingLeaderKey)?;
        let header = self.put_created_at(key, rev, lease, request.value).await?;
        Ok(wire::ProclaimResponse { header })
    }

    pub(crate) async fn leader(
        &self,
        request: wire::LeaderRequest,
    ) -> Result<wire::LeaderResponse, Error> {
        let (header, first) = self.first_in_line(&line::prefix(&request.name)).await?;
        let kv = Some(convert::key_value(first.ok_or(Error::ElectionNoLeader)?));
        Ok(wire::LeaderResponse { header, kv })
    }

    /// Resigning from what one no longer leads is no error, as in etcd.
    pub(crate) async fn resign(
        &self,
        request: wire::ResignRequest,
    ) -> Result<wire::ResignResponse, Error> {
        let leader = request.leader.ok_or(Error::MissingLeaderKey)?;
        let header = self.delete_created_at(leader.key, leader.rev).await?;
        Ok(wire::ResignResponse { header })
    }

    /// Begins a call, and returns what its client is sent.
    pub(crate) fn observe(
        self: &Arc<Self>,
        request: wire::LeaderRequest,
    ) -> Receiver<Result<Bytes, Error>> {
        let (messages, sent) = channel(QUEUED_MAX);
        let (face, prefix) = (self.clone(), line::prefix(&request.name));
        tokio::spawn(async move {
            let observing = Observing { face: &face, prefix, messages: messages.clone() };
            tokio::select! {
                () = messages.closed() => {}
                ended = observing.run() => {
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

/// A call that is told of each leader, and of what it proclaims.
struct Observing<'a> {
    face: &'a Face,
    prefix: Bytes,
    messages: Sender<Result<Bytes, Error>>,
}

impl Observing<'_> {
    async fn run(&self) -> Result<(), Error> {
        loop {
            let (header, first) = self.face.first_in_line(&self.prefix).await?;
            let header = header.unwrap_or_default();
            let found = match first {
                Some(first) => Some((header, convert::key_value(first))),
                None => self.first_to_come(header).await?,
            };
            if let Some((header, leader)) = found {
                self.tell(header, leader.clone()).await?;
                self.follow(header, leader.key).await?;
            }
        }
    }

    /// Waits for the first key in a line without one; none if the line must be looked at again.
    async fn first_to_come(
        &self,
        header: ResponseHeader,
    ) -> Result<Option<(ResponseHeader, KeyValue)>, Error> {
        let all = line::all(self.prefix.clone());
        let mut vigil = Vigil::over(self.face, [all], Revision(header.revision + 1)).await?;
        while let Some(events) = vigil.next().await? {
            let put = events.into_iter().find(|event| event.r#type() == EventType::Put);
            if let Some(kv) = put.and_then(|event| event.kv) {
                return Ok(Some((ResponseHeader { revision: kv.mod_revision, ..header }, kv)));
            }
        }
        Ok(None)
    }

    /// Tells of what the leader proclaims, until it leads no longer.
    async fn follow(&self, header: ResponseHeader, key: Bytes) -> Result<(), Error> {
        let key = KeyRange { start: key, end: RangeEnd::Single };
        let mut vigil = Vigil::over(self.face, [key], Revision(header.revision + 1)).await?;
        while let Some(events) = vigil.next().await? {
            for event in events {
                if event.r#type() == EventType::Delete {
                    return Ok(());
                }
                if let Some(kv) = event.kv {
                    self.tell(ResponseHeader { revision: kv.mod_revision, ..header }, kv).await?;
                }
            }
        }
        Ok(())
    }

    async fn tell(&self, header: ResponseHeader, leader: KeyValue) -> Result<(), Error> {
        let response = wire::LeaderResponse { header: Some(header), kv: Some(leader) };
        let framed = grpc::frame(&response)?;
        self.messages.send(Ok(framed)).await.map_err(|_| Error::Disconnected)
    }
}
