//! What holds as long as a client lives: leases, and the locks and leaderships that are bound to them.
//!
//! Waiting for a lock has no timeout: it takes as long as those before one take. **A wait that broke must not be
//! continued under the same lease.** The node that was asked takes the place in the line away when it finds that its
//! client has gone, which may be late: after another node has said that the lock is held. A new lease has a place of its
//! own.

use std::time::Duration;

use tonic::codegen::tokio_stream;
use tonic::{Response, Status, Streaming};

use crate::client::{Client, Repeat};
use crate::error::ClientError;
use crate::proto::etcdserverpb::lease_client::LeaseClient;
use crate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseRevokeRequest,
};
use crate::proto::v3electionpb::election_client::ElectionClient;
use crate::proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderRequest, LeaderResponse,
};
use crate::proto::v3lockpb::lock_client::LockClient;
use crate::proto::v3lockpb::{LockRequest, LockResponse};

impl Client {
    /// Grants a lease for so many seconds, under an id that the server chooses. If it is granted twice, nobody knows of
    /// one of them, and it ends by itself.
    pub async fn grant_lease(&self, ttl: Duration) -> Result<LeaseGrantResponse, ClientError> {
        let ttl = i64::try_from(ttl.as_secs().max(1)).unwrap_or(i64::MAX);
        let request = LeaseGrantRequest { ttl, id: 0 };
        let grant = self.call(Repeat::Harmless, |channel| async move {
            LeaseClient::new(channel).lease_grant(request).await
        });
        grant.await
    }

    /// Renews a lease. Returns whether it is still there.
    pub async fn renew_lease(&self, id: i64) -> Result<bool, ClientError> {
        let renewal = self.call(Repeat::Harmless, |channel| async move {
            let requests = tokio_stream::once(LeaseKeepAliveRequest { id });
            let answers = LeaseClient::new(channel).lease_keep_alive(requests).await?;
            let answer = answers.into_inner().message().await?;
            answer.map(Response::new).ok_or_else(|| Status::unknown("no answer to a renewal"))
        });
        Ok(renewal.await?.ttl > 0)
    }

    /// Ends a lease, and with it whatever is bound to it. One that has ended is well.
    pub async fn revoke_lease(&self, id: i64) -> Result<(), ClientError> {
        let revocation = self.call(Repeat::Harmless, |channel| async move {
            LeaseClient::new(channel).lease_revoke(LeaseRevokeRequest { id }).await
        });
        match revocation.await {
            Err(ClientError::Refused { code: tonic::Code::NotFound, .. }) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Waits for a lock.
    pub async fn lock(&self, name: &[u8], lease: i64) -> Result<LockResponse, ClientError> {
        let waiting = self.wait(|channel| {
            let request = LockRequest { name: name.to_vec().into(), lease };
            async move { LockClient::new(channel).lock(request).await }
        });
        waiting.await
    }

    /// Waits to be the leader.
    pub async fn campaign(
        &self,
        request: CampaignRequest,
    ) -> Result<CampaignResponse, ClientError> {
        let waiting = self.wait(|channel| {
            let request = request.clone();
            async move { ElectionClient::new(channel).campaign(request).await }
        });
        waiting.await
    }

    /// Who leads, and what they proclaim, as it changes: from one node, until the connection to it breaks.
    pub async fn observe(&self, name: &[u8]) -> Result<Leaders, ClientError> {
        let begin = self.call(Repeat::Harmless, |channel| {
            let request = LeaderRequest { name: name.to_vec().into() };
            async move { ElectionClient::new(channel).observe(request).await }
        });
        Ok(Leaders { answers: begin.await?, endpoint: self.preferred_endpoint() })
    }
}

/// The leaders of an election, as one node tells of them.
pub struct Leaders {
    answers: Streaming<LeaderResponse>,
    endpoint: String,
}

impl Leaders {
    /// The next leader, or the next thing that the leader proclaims; none if the node says no more.
    pub async fn next(&mut self) -> Result<Option<LeaderResponse>, ClientError> {
        let next = self.answers.message().await;
        next.map_err(|status| ClientError::from_status(&self.endpoint, &status))
    }
}
