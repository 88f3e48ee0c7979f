//! What is refused, in etcd's codes and words.

use quorate_api_etcd::proto::etcdserverpb::{
    DowngradeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    downgrade_request::DowngradeAction, maintenance_client::MaintenanceClient,
};
use quorate_api_etcd::{MESSAGE_OVERHEAD_BYTES, REQUEST_BYTES_MAX};
use quorate_kv::error::Error;
use tonic::{Code, Status};

use crate::Served;
use crate::fake_node::FakeNode;

fn put(value_bytes: usize) -> PutRequest {
    PutRequest { key: "k".into(), value: vec![0; value_bytes].into(), ..Default::default() }
}

async fn refused(request: PutRequest, node: FakeNode) -> Status {
    let served = Served::start(node.start()).await;
    served.kv().await.put(request).await.expect_err("the request is refused")
}

#[tokio::test]
async fn every_refusal_of_the_node_reads_as_etcds() {
    let table = [
        (Error::EmptyKey, Code::InvalidArgument, "etcdserver: key is not provided"),
        (Error::KeyNotFound, Code::InvalidArgument, "etcdserver: key not found"),
        (Error::ValueProvided, Code::InvalidArgument, "etcdserver: value is provided"),
        (Error::LeaseProvided, Code::InvalidArgument, "etcdserver: lease is provided"),
        (Error::LeaseNotFound, Code::NotFound, "etcdserver: requested lease not found"),
        (
            Error::TooManyOperations,
            Code::InvalidArgument,
            "etcdserver: too many operations in txn request",
        ),
        (
            Error::DuplicateKey,
            Code::InvalidArgument,
            "etcdserver: duplicate key given in txn request",
        ),
        (Error::InvalidSortOption, Code::InvalidArgument, "etcdserver: invalid sort option"),
        (
            Error::Compacted,
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
        ),
        (
            Error::FutureRevision,
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        (Error::RequestTooLarge, Code::InvalidArgument, "etcdserver: request is too large"),
        (Error::TooManyRequests, Code::ResourceExhausted, "etcdserver: too many requests"),
        (Error::NoSpace, Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        (Error::Corrupt, Code::DataLoss, "etcdserver: corrupt cluster"),
        (Error::NoLeader, Code::Unavailable, "etcdserver: no leader"),
        (Error::TimedOut, Code::Unavailable, "etcdserver: request timed out"),
        (Error::Stopped, Code::Unavailable, "etcdserver: server stopped"),
        (Error::Unsupported("x"), Code::Unimplemented, "etcdserver: not supported: x"),
    ];
    for (error, code, message) in table {
        let status = refused(put(1), FakeNode::refusing(error)).await;
        assert_eq!((status.code(), status.message()), (code, message));
    }
}

#[tokio::test]
async fn a_node_that_is_gone_reads_as_a_server_that_stopped() {
    let (node, inbox) = quorate_runtime::Handle::channel();
    drop(inbox);
    let served = Served::start(node).await;
    let status = served.kv().await.put(put(1)).await.expect_err("nobody answers");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "etcdserver: server stopped");
}

#[tokio::test]
async fn a_write_over_the_limit_is_too_large_and_one_at_it_is_not() {
    // The key, its length, and the tags and length of the value.
    let framing = PutRequest { value: bytes::Bytes::new(), ..put(0) };
    let framing = prost::Message::encoded_len(&framing) + 4;
    let served = Served::start(FakeNode::default().start()).await;
    let mut kv = served.kv().await;
    kv.put(put(REQUEST_BYTES_MAX - framing)).await.expect("the limit itself is taken");
    let status = kv.put(put(REQUEST_BYTES_MAX - framing + 1)).await.expect_err("over the limit");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "etcdserver: request is too large");
}

#[tokio::test]
async fn a_message_over_the_limit_of_the_framing_is_refused_and_the_connection_lives_on() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut kv = served.kv().await;
    let status = kv.put(put(REQUEST_BYTES_MAX + MESSAGE_OVERHEAD_BYTES)).await;
    let status = status.expect_err("over the limit");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    kv.put(put(1)).await.expect("a small one is taken");
}

#[tokio::test]
async fn an_unknown_sort_never_reaches_the_node() {
    let node = FakeNode::default();
    let served = Served::start(node.clone().start()).await;
    let range = RangeRequest { key: "k".into(), sort_order: 9, ..Default::default() };
    let status = served.kv().await.range(range).await.expect_err("there is no such order");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "etcdserver: invalid sort option");
    assert!(node.asked.lock().expect("no task panicked with the lock").is_empty());
}

#[tokio::test]
async fn an_empty_operation_is_a_key_that_is_not_found_as_in_etcd() {
    let served = Served::start(FakeNode::default().start()).await;
    let txn = TxnRequest { success: vec![RequestOp { request: None }], ..Default::default() };
    let status = served.kv().await.txn(txn).await.expect_err("the operation is empty");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "etcdserver: key not found");
}

#[tokio::test]
async fn no_downgrade_is_possible_and_none_is_under_way() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut maintenance = MaintenanceClient::new(served.channel().await);
    let expected = [
        (DowngradeAction::Cancel as i32, "", Code::FailedPrecondition, "no inflight downgrade job"),
        (0, "3.5.0", Code::InvalidArgument, "invalid downgrade target version"),
        (0, "3.5.0-rc.1", Code::InvalidArgument, "invalid downgrade target version"),
        (1, "3.5", Code::InvalidArgument, "wrong downgrade target version format"),
        (1, "3.5.x", Code::InvalidArgument, "wrong downgrade target version format"),
        (9, "3.5.0", Code::Unknown, "unknown method"),
    ];
    for (action, version, code, message) in expected {
        let request = DowngradeRequest { action, version: version.to_owned() };
        let status = maintenance.downgrade(request).await.expect_err("it is refused");
        assert_eq!((status.code(), status.message()), (code, &*format!("etcdserver: {message}")));
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_name() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut client = tonic::client::Grpc::new(served.channel().await);
    let expected = [
        ("/etcdserverpb.KV/Drop", "unknown method Drop for service etcdserverpb.KV"),
        ("/etcdserverpb.Nothing/Put", "unknown service etcdserverpb.Nothing"),
    ];
    for (path, message) in expected {
        client.ready().await.expect("the face is there");
        let codec = tonic_prost::ProstCodec::<PutRequest, PutRequest>::default();
        let answer =
            client.unary(tonic::Request::new(put(1)), path.parse().expect("it is a path"), codec);
        let status = answer.await.expect_err("there is nothing");
        assert_eq!((status.code(), status.message()), (Code::Unimplemented, message));
    }
}
