//! Operations, and the endpoints they are tried on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::Endpoint;
use crate::endpoint::ANSWER_BYTES_MAX;
use crate::error::{ClientError, Outcome};
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    StatusRequest, StatusResponse, TxnRequest, TxnResponse,
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
enum Repeat {
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
        self.call(Repeat::Harmless, |mut kv| {
            let request = request.clone();
            async move { kv.range(request).await }
        })
        .await
    }

    /// Writes a key.
    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, ClientError> {
        self.call(Repeat::OnlyIfItDidNotHappen, |mut kv| {
            let request = request.clone();
            async move { kv.put(request).await }
        })
        .await
    }

    /// Carries out a transaction.
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, ClientError> {
        self.call(Repeat::OnlyIfItDidNotHappen, |mut kv| {
            let request = request.clone();
            async move { kv.txn(request).await }
        })
        .await
    }

    /// Removes keys.
    pub async fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, ClientError> {
        self.call(Repeat::OnlyIfItDidNotHappen, |mut kv| {
            let request = request.clone();
            async move { kv.delete_range(request).await }
        })
        .await
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
    async fn call<T, F>(
        &self,
        repeat: Repeat,
        operation: impl Fn(KvClient<Channel>) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let nodes = self.0.nodes.len();
        let first = self.0.preferred.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for index in (0..nodes).map(|step| (first + step) % nodes) {
            let kv = KvClient::new(self.0.nodes[index].channel.clone())
                .max_decoding_message_size(ANSWER_BYTES_MAX);
            let error = match self.attempt(index, operation(kv)).await {
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
        let endpoint = self.0.nodes[index].endpoint.to_string();
        match tokio::time::timeout(self.0.timeout, operation).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(ClientError::from_status(&endpoint, &status)),
            Err(_) => {
                let message = format!("no answer within {} ms", self.0.timeout.as_millis());
                Err(ClientError::Uncertain { endpoint, message })
            }
        }
    }
}
