//! A client that goes away leaves nothing behind.

use quorate_api_etcd::proto::etcdserverpb::PutRequest;
use quorate_kv::service::{NodeRequest, NodeResponse};
use quorate_runtime::Handle;
use quorate_runtime::handle::Question;

use crate::Served;
use crate::endpoints::ask;
use crate::fake_node::{FakeNode, Inbox, Map};

/// The line that says how many commands are under way.
async fn pending(served: &Served, inbox: &mut Inbox) -> String {
    let answer = async {
        let question = inbox.recv().await.expect("a scrape asks after the status");
        let status = FakeNode::default().status(&Map::default());
        question.answer.send(NodeResponse::Status(status)).expect("the scrape waits");
    };
    let ((_, text), ()) = tokio::join!(ask(served, "GET /metrics"), answer);
    let line = text.lines().find(|line| line.starts_with("etcd_server_proposals_pending "));
    line.expect("the metric is there").to_owned()
}

/// A put whose question is under way at a node that does not answer.
async fn put_under_way(
    served: &Served,
    inbox: &mut Inbox,
) -> (tokio::task::JoinHandle<()>, Question<NodeRequest, NodeResponse>) {
    let mut kv = served.kv().await;
    let put = PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
    let client = tokio::spawn(async move {
        let answer = kv.put(put).await;
        panic!("a node that never answers answered {answer:?}");
    });
    let question = inbox.recv().await.expect("the face asks the node");
    (client, question)
}

#[tokio::test]
async fn nobody_waits_for_the_answer_to_a_client_that_has_gone() {
    let (node, mut inbox) = Handle::channel();
    let served = Served::start(node).await;
    let (client, mut question) = put_under_way(&served, &mut inbox).await;
    assert!(!question.answer.is_closed(), "the client is still waiting");
    client.abort();
    question.answer.closed().await;
    assert_eq!(pending(&served, &mut inbox).await, "etcd_server_proposals_pending 0");
}

#[tokio::test]
async fn a_write_under_way_is_a_pending_proposal() {
    let (node, mut inbox) = Handle::channel();
    let served = Served::start(node).await;
    let (_client, _question) = put_under_way(&served, &mut inbox).await;
    assert_eq!(pending(&served, &mut inbox).await, "etcd_server_proposals_pending 1");
}

#[tokio::test]
async fn a_face_that_stops_cuts_off_calls_that_do_not_end() {
    let (node, mut inbox) = Handle::channel();
    let served = Served::start(node).await;
    let (client, mut question) = put_under_way(&served, &mut inbox).await;
    served.stop.send(()).expect("the face is being served");
    served.ended.await.expect("the face does not panic").expect("the face stops in order");
    question.answer.closed().await;
    assert!(client.await.is_err(), "the client learns that it got no answer");
}
