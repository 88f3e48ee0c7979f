//! Operations, and the endpoints they are tried on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Code, Response, Status, Streaming};

use crate::Endpoint;
use crate::endpoint::ANSWER_BYTES_MAX;
use crate::error::{ClientError, Outcome};
use crate::proto::etcdserverpb::cluster_client::ClusterClient;
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, Member, MemberAddRequest, MemberAddResponse,
    MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest,
    MoveLeaderRequest, PutRequest, PutResponse, RangeRequest, RangeResponse, SnapshotRequest,
    SnapshotResponse, StatusRequest, StatusResponse, TxnRequest, TxnResponse,
};

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// Until one endpoint has answered one operation, its connection included.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { connect_timeout: Duration::from_secs(2), timeout: Duration::from_secs(5) }
    }
}

/// Whether an operation may be done twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Harmless,
    OnlyIfItDidNotHappen,
}

struct Node {
    endpoint: Endpoint,
    channel: Channel,
}

struct Inner {
    nodes: Vec<Node>,
    timeout: Duration,
    /// The node that answered last, which is where the next operation begins.
    preferred: AtomicUsize,
}

/// Speaks to a cluster through any of its nodes. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

impl Client {
    /// A client of these endpoints, the first of them preferred. Nothing is connected yet.
    ///
    /// Must be called within a tokio runtime, which then drives the connections.
    pub fn new(endpoints: &[Endpoint], options: Options) -> Result<Self, ClientError> {
        if endpoints.is_empty() {
            return Err(ClientError::NoEndpoints);
        }
        let nodes = endpoints
            .iter()
            .map(|endpoint| Node {
                endpoint: endpoint.clone(),
                channel: endpoint.channel(options.connect_timeout),
            })
            .collect();
        let (timeout, preferred) = (options.timeout, AtomicUsize::new(0));
        Ok(Client(Arc::new(Inner { nodes, timeout, preferred })))
    }

    /// Reads keys. Tries every endpoint before it fails.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, ClientError> {
        self.call(Repeat::Harmless, |channel| {
            let request = request.clone();
            async move { kv(channel).range(request).await }
        })
        .await
    }

    /// Writes a key.
    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, ClientError> {
        self.call(Repeat::OnlyIfItDidNotHappen, |channel| {
            let request = request.clone();
            async move { kv(channel).put(request).await }
        })
        .await
    }

    /// Carries out a transaction.
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, ClientError> {
        self.call(Repeat::OnlyIfItDidNotHappen, |channel| {
            let request = request.clone();
            async move { kv(channel).txn(request).await }
        })
        .await
    }

    /// Removes keys.
    pub async fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, ClientError> {
        self.call(Repeat::OnlyIfItDidNotHappen, |channel| {
            let request = request.clone();
            async move { kv(channel).delete_range(request).await }
        })
        .await
    }

    /// Who the members are, as all have agreed.
    pub async fn members(&self) -> Result<Vec<Member>, ClientError> {
        let request = MemberListRequest { linearizable: true };
        let answer = self.call(Repeat::Harmless, |channel| async move {
            ClusterClient::new(channel).member_list(request).await
        });
        Ok(answer.await?.members)
    }

    /// Takes a member in. Returns it, and who the members are then.
    pub async fn add_member(
        &self,
        request: MemberAddRequest,
    ) -> Result<MemberAddResponse, ClientError> {
        self.call(Repeat::OnlyIfItDidNotHappen, |channel| {
            let request = request.clone();
            async move { ClusterClient::new(channel).member_add(request).await }
        })
        .await
    }

    /// Lets a member go.
    pub async fn remove_member(&self, id: u64) -> Result<Vec<Member>, ClientError> {
        let request = MemberRemoveRequest { id };
        let answer = self.call(Repeat::OnlyIfItDidNotHappen, |channel| async move {
            ClusterClient::new(channel).member_remove(request).await
        });
        Ok(answer.await?.members)
    }

    /// Says where the other members reach one from now on.
    pub async fn update_member(
        &self,
        request: MemberUpdateRequest,
    ) -> Result<Vec<Member>, ClientError> {
        let answer = self.call(Repeat::OnlyIfItDidNotHappen, |channel| {
            let request = request.clone();
            async move { ClusterClient::new(channel).member_update(request).await }
        });
        Ok(answer.await?.members)
    }

    /// Gives a learner a vote.
    pub async fn promote_member(&self, id: u64) -> Result<Vec<Member>, ClientError> {
        let request = MemberPromoteRequest { id };
        let answer = self.call(Repeat::OnlyIfItDidNotHappen, |channel| async move {
            ClusterClient::new(channel).member_promote(request).await
        });
        Ok(answer.await?.members)
    }

    /// Has the leader, which must be behind one of the endpoints, hand over to a member. Returns the id of the one that
    /// has led until then; none if no endpoint's node leads.
    pub async fn move_leader(&self, to: u64) -> Result<Option<u64>, ClientError> {
        let statuses = self.statuses().await;
        let leads = |status: &StatusResponse| {
            status.header.as_ref().is_some_and(|header| header.member_id == status.leader)
        };
        let place = statuses.iter().position(|(_, status)| status.as_ref().is_ok_and(leads));
        let Some(place) = place else {
            let failures: Vec<ClientError> =
                statuses.into_iter().filter_map(|(_, status)| status.err()).collect();
            let nobody_answers = failures.len() == self.0.nodes.len();
            return if nobody_answers { Err(ClientError::AllFailed(failures)) } else { Ok(None) };
        };
        let leader = statuses[place].1.as_ref().map(|status| status.leader).unwrap_or_default();
        let mut maintenance = MaintenanceClient::new(self.0.nodes[place].channel.clone());
        let request = MoveLeaderRequest { target_id: to };
        self.attempt(place, maintenance.move_leader(request)).await?;
        Ok(Some(leader))
    }

    /// The store of one node, piece by piece: of the first endpoint that begins to answer. How long it takes is not
    /// bounded; how long a piece takes is.
    pub async fn snapshot(&self) -> Result<Snapshot, ClientError> {
        let pieces = self
            .call(Repeat::Harmless, |channel| async move {
                MaintenanceClient::new(channel)
                    .max_decoding_message_size(ANSWER_BYTES_MAX)
                    .snapshot(SnapshotRequest {})
                    .await
            })
            .await?;
        Ok(Snapshot { pieces, endpoint: self.preferred_endpoint(), timeout: self.0.timeout })
    }

    /// The endpoint that has answered last.
    pub(crate) fn preferred_endpoint(&self) -> String {
        self.0.nodes[self.0.preferred.load(Ordering::Relaxed)].endpoint.to_string()
    }

    /// Asks each endpoint how its node is, all at once; in the order of the endpoints.
    pub async fn statuses(&self) -> Vec<(Endpoint, Result<StatusResponse, ClientError>)> {
        let asked: Vec<_> = (0..self.0.nodes.len())
            .map(|index| {
                let client = self.clone();
                tokio::spawn(async move { client.status_of(index).await })
            })
            .collect();
        let mut answers = Vec::with_capacity(asked.len());
        for (node, asked) in self.0.nodes.iter().zip(asked) {
            let answer = asked.await.unwrap_or_else(|error| {
                let (endpoint, message) = (node.endpoint.to_string(), error.to_string());
                Err(ClientError::Uncertain { endpoint, message })
            });
            answers.push((node.endpoint.clone(), answer));
        }
        answers
    }

    async fn status_of(&self, index: usize) -> Result<StatusResponse, ClientError> {
        let mut maintenance = MaintenanceClient::new(self.0.nodes[index].channel.clone());
        self.attempt(index, maintenance.status(StatusRequest::default())).await
    }

    /// Tries the operation on one endpoint after the other, until one answers or going on could do it twice.
    pub(crate) async fn call<T, F>(
        &self,
        repeat: Repeat,
        operation: impl Fn(Channel) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.try_each(repeat, Some(self.0.timeout), operation).await
    }

    /// As [`call`](Self::call), for an operation that takes as long as it takes, and must not be done twice.
    pub(crate) async fn wait<T, F>(
        &self,
        operation: impl Fn(Channel) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.try_each(Repeat::OnlyIfItDidNotHappen, None, operation).await
    }

    async fn try_each<T, F>(
        &self,
        repeat: Repeat,
        timeout: Option<Duration>,
        operation: impl Fn(Channel) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let nodes = self.0.nodes.len();
        let first = self.0.preferred.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for index in (0..nodes).map(|step| (first + step) % nodes) {
            let channel = self.0.nodes[index].channel.clone();
            let attempt = self.attempt_within(timeout, index, operation(channel));
            let error = match attempt.await {
                Ok(answer) => {
                    self.0.preferred.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let may_repeat = repeat == Repeat::Harmless || error.outcome() == Outcome::DidNotHappen;
            if nodes == 1 || !may_repeat || !error.is_about_the_endpoint() {
                return Err(error);
            }
            failures.push(error);
        }
        Err(ClientError::AllFailed(failures))
    }

    async fn attempt<T>(
        &self,
        index: usize,
        operation: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ClientError> {
        self.attempt_within(Some(self.0.timeout), index, operation).await
    }

    async fn attempt_within<T>(
        &self,
        timeout: Option<Duration>,
        index: usize,
        operation: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ClientError> {
        let endpoint = self.0.nodes[index].endpoint.to_string();
        let outcome = match timeout {
            Some(timeout) => tokio::time::timeout(timeout, operation).await,
            None => Ok(operation.await),
        };
        match outcome {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(ClientError::from_status(&endpoint, &status)),
            Err(_) => {
                let message = format!("no answer within {} ms", self.0.timeout.as_millis());
                Err(ClientError::Uncertain { endpoint, message })
            }
        }
    }
}

/// A backup that is being received.
pub struct Snapshot {
    pieces: Streaming<SnapshotResponse>,
    endpoint: String,
    timeout: Duration,
}

impl Snapshot {
    /// The next piece; none after the last.
    pub async fn next(&mut self) -> Result<Option<SnapshotResponse>, ClientError> {
        match tokio::time::timeout(self.timeout, self.pieces.message()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(status)) => Err(ClientError::from_status(&self.endpoint, &status)),
            Err(_) => {
                let message = format!("nothing more came within {} ms", self.timeout.as_millis());
                Err(ClientError::Refused {
                    endpoint: self.endpoint.clone(),
                    code: Code::DeadlineExceeded,
                    message,
                })
            }
        }
    }
}

/// The service of reads and writes behind a connection.
fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}
