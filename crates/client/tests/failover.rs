//! What the client does when an endpoint fails, against servers that fail on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate_api_etcd::{Face, FaceConfig};
use quorate_client::proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
use quorate_client::{Client, ClientError, Endpoint, Options, Outcome};
use quorate_core::NodeId;
use quorate_kv::error::Error;
use quorate_kv::request::{
    Command, DeleteRangeResponse, PutResponse, RangeResponse, Response, Revision,
};
use quorate_kv::service::{Members, NodeRequest, NodeResponse, Role, Status};
use quorate_kv::tally::Tally;
use quorate_runtime::Handle;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// A node behind a real face that answers everything alike, and counts what it was asked.
#[derive(Clone)]
struct Node {
    asked: Arc<AtomicUsize>,
    refusal: Option<Error>,
}

impl Node {
    /// Finds, writes or removes nothing, with success.
    fn serving() -> Self {
        Node { asked: Arc::default(), refusal: None }
    }

    fn refusing(refusal: Error) -> Self {
        Node { asked: Arc::default(), refusal: Some(refusal) }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn answer(&self, request: &NodeRequest) -> NodeResponse {
        if matches!(request, NodeRequest::Status { .. }) {
            return NodeResponse::Status(Status {
                role: Role::Follower,
                is_learner: false,
                log_base: 0,
                is_counted: true,
                life: 0,
                is_removed: false,
                leader: None,
                term: 3,
                leader_changes: 0,
                commit_index: 0,
                applied_index: 0,
                revision: Revision(1),
                compact_revision: Revision(0),
                keys: 0,
                bytes: 0,
                occupied_bytes: 0,
                is_full: false,
                is_over_quota: false,
                quota_bytes: None,
                tally: Tally::default(),
                messages_unread: 0,
                messages_nonsense: 0,
            });
        }
        if matches!(request, NodeRequest::Members { .. }) {
            return NodeResponse::Members(Ok(Members { term: 3, members: Vec::new() }));
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let revision = Revision(7);
        let done = match request {
            NodeRequest::Command { command: Command::Put(_), .. } => {
                Response::Put(PutResponse { revision, prev_kv: None })
            }
            NodeRequest::Command { .. } => {
                let prev_kvs = Vec::new();
                Response::DeleteRange(DeleteRangeResponse { revision, deleted: 0, prev_kvs })
            }
            _ => {
                let kvs = Vec::new();
                Response::Range(RangeResponse { revision, kvs, more: false, count: 0 })
            }
        };
        let outcome = self.refusal.clone().map_or(Ok(done), Err);
        NodeResponse::Done { term: 1, outcome }
    }

    async fn listen(&self) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
        let (handle, mut questions) = Handle::channel();
        let face =
            Face::new(FaceConfig::new(1, NodeId(1 << 20)), handle.clone(), handle, Arc::default());
        tokio::spawn(quorate_api_etcd::serve(listener, Arc::new(face), std::future::pending()));
        let node = self.clone();
        tokio::spawn(async move {
            while let Some(question) = questions.recv().await {
                let _ = question.answer.send(node.answer(&question.request));
            }
        });
        endpoint
    }
}

/// A port at which nobody listens.
async fn nobody() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string().parse().unwrap()
}

/// A node that takes a request, and hangs up.
async fn hangs_up() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut preface = [0; 24];
            let _ = stream.read_exact(&mut preface).await;
        }
    });
    endpoint
}

/// A node that takes connections, and never says a word.
async fn keeps_silent() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    endpoint
}

fn client(endpoints: &[Endpoint]) -> Client {
    let timeout = Duration::from_secs(20);
    Client::new(endpoints, Options { timeout, ..Options::default() }).unwrap()
}

#[tokio::test]
async fn a_write_goes_on_to_the_next_endpoint_when_the_first_cannot_be_reached() {
    let node = Node::serving();
    let client = client(&[nobody().await, node.listen().await]);
    client.put(PutRequest::default()).await.unwrap();
    client.put(PutRequest::default()).await.unwrap();
    assert_eq!(node.asked(), 2);
}

#[tokio::test]
async fn a_write_goes_on_when_the_first_node_had_no_leader_to_give_it_to() {
    let first = Node::refusing(Error::NoLeader);
    let second = Node::serving();
    let client = client(&[first.listen().await, second.listen().await]);
    client.put(PutRequest::default()).await.unwrap();
    assert_eq!((first.asked(), second.asked()), (1, 1));
}

#[tokio::test]
async fn a_write_that_may_have_happened_is_not_repeated() {
    let timed_out = Node::refusing(Error::TimedOut);
    let second = Node::serving();
    for first in [timed_out.listen().await, hangs_up().await] {
        let client = client(&[first.clone(), second.listen().await]);
        let error = client.put(PutRequest::default()).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::MayHaveHappened, "{error}");
        let error = client.delete_range(DeleteRangeRequest::default()).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::MayHaveHappened, "{error}");
        assert!(error.to_string().starts_with(&first.to_string()), "{error}");
    }
    assert_eq!(second.asked(), 0);
}

#[tokio::test]
async fn a_read_is_repeated_whatever_became_of_the_first_attempt() {
    let timed_out = Node::refusing(Error::TimedOut);
    let second = Node::serving();
    for first in [timed_out.listen().await, hangs_up().await, nobody().await] {
        let client = client(&[first, second.listen().await]);
        let header = client.range(RangeRequest::default()).await.unwrap().header.unwrap();
        assert_eq!(header.revision, 7);
    }
}

#[tokio::test]
async fn a_refused_request_is_not_taken_to_another_node() {
    let first = Node::refusing(Error::EmptyKey);
    let second = Node::serving();
    let client = client(&[first.listen().await, second.listen().await]);
    let error = client.range(RangeRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error}");
    assert_eq!(second.asked(), 0);
}

#[tokio::test]
async fn an_endpoint_that_answered_is_asked_first_the_next_time() {
    let first = Node::refusing(Error::NoLeader);
    let second = Node::serving();
    let client = client(&[first.listen().await, second.listen().await]);
    for _ in 0..3 {
        client.range(RangeRequest::default()).await.unwrap();
    }
    assert_eq!((first.asked(), second.asked()), (1, 3));
}

#[tokio::test]
async fn a_silent_node_is_given_up_when_its_time_is_over() {
    let options = Options { timeout: Duration::from_millis(1), ..Options::default() };
    let client = Client::new(&[keeps_silent().await], options).unwrap();
    let error = client.put(PutRequest::default()).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::MayHaveHappened, "{error}");
    assert!(error.to_string().contains("within 1 ms"), "{error}");
}

#[tokio::test]
async fn when_all_fail_each_is_named_with_its_reason() {
    let (first, second) = (nobody().await, nobody().await);
    let error =
        client(&[first.clone(), second.clone()]).put(PutRequest::default()).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::DidNotHappen);
    let said = error.to_string();
    for endpoint in [first, second] {
        let line = format!("{endpoint}: cannot connect: Connection refused");
        assert!(said.contains(&line), "{said:?} lacks {line:?}");
    }
}

#[tokio::test]
async fn the_status_of_every_endpoint_is_asked_even_of_those_that_do_not_answer() {
    let client = client(&[nobody().await, Node::serving().listen().await]);
    let statuses = client.statuses().await;
    assert!(matches!(statuses[0].1, Err(ClientError::Unreachable { .. })));
    assert_eq!(statuses[1].1.as_ref().unwrap().raft_term, 3);
}
