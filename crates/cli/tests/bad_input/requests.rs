//! Requests that a stock client can send and no node carries out.

use etcd_client::{Error, GetOptions, Txn, TxnOp};
use quorate_torture::NodeIndex;
use tonic::Code;

use crate::cluster;

#[track_caller]
fn assert_refused<T>(outcome: Result<T, Error>, code: Code, message: &str) {
    match outcome {
        Err(Error::GRpcStatus(status)) => {
            assert_eq!((status.code(), status.message()), (code, message));
        }
        Err(other) => panic!("no status of the server's: {other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[tokio::test]
async fn what_cannot_be_carried_out_is_refused_in_etcds_words_and_leaves_no_trace() {
    let cluster = cluster(1).await;
    let mut client = cluster.client(NodeIndex(0)).await.expect("a client");
    for value in ["2", "3"] {
        client.put("k", value, None).await.expect("a put");
    }
    let too_large = "etcdserver: request is too large";
    let large = vec![b'x'; 1_572_864];
    let put = client.put("k", large.clone(), None).await;
    assert_refused(put, Code::InvalidArgument, too_large);
    let halves = [&large[..800_000], &large[..800_000]];
    let operations = halves.map(|half| TxnOp::put(half[..10].to_vec(), half.to_vec(), None));
    let txn = client.txn(Txn::new().and_then(operations)).await;
    assert_refused(txn, Code::InvalidArgument, too_large);

    let no_key = "etcdserver: key is not provided";
    assert_refused(client.put("", "v", None).await, Code::InvalidArgument, no_key);
    assert_refused(client.get("", None).await, Code::InvalidArgument, no_key);
    assert_refused(client.delete("", None).await, Code::InvalidArgument, no_key);

    client.compact(3, None).await.expect("a compaction");
    let at = |revision| Some(GetOptions::new().with_revision(revision));
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_refused(client.get("k", at(2)).await, Code::OutOfRange, compacted);
    let future = "etcdserver: mvcc: required revision is a future revision";
    assert_refused(client.get("k", at(4)).await, Code::OutOfRange, future);

    let put = client.put("k", "4", None).await.expect("the connection is as good as ever");
    let revision = put.header().expect("an answer has a header").revision();
    assert_eq!(revision, 4, "what was refused made a revision");
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn the_largest_request_that_is_taken_survives_a_restart() {
    let mut cluster = cluster(1).await;
    let mut client = cluster.client(NodeIndex(0)).await.expect("a client");
    let large = vec![b'x'; 1_572_864 - 100];
    client.put("k", large.clone(), None).await.expect("a put at the limit");
    cluster.kill_9(NodeIndex(0)).expect("it runs");
    cluster.restart(NodeIndex(0)).await.expect("it comes back");
    let mut client = cluster.client(NodeIndex(0)).await.expect("a client");
    let got = client.get("k", None).await.expect("a get");
    assert!(got.kvs()[0].value() == large, "the value is not what was put");
    cluster.finish().await.expect("every node stops cleanly");
}
