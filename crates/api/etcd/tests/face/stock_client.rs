//! The face as a client sees it that nobody here wrote.

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, SortOrder, SortTarget, Txn,
    TxnOp,
};

use crate::Served;
use crate::fake_node::FakeNode;

async fn client() -> (Served, Client) {
    let served = Served::start(FakeNode::default().start()).await;
    let client = Client::connect([served.url()], None).await.expect("the face accepts connections");
    (served, client)
}

#[tokio::test]
async fn it_puts_gets_and_deletes() {
    let (_served, mut client) = client().await;
    client.put("a/1", "one", None).await.expect("a put");
    client.put("a/2", "two", None).await.expect("a put");
    let options = PutOptions::new().with_prev_key();
    let put = client.put("a/1", "uno", Some(options)).await.expect("a put");
    assert_eq!(put.prev_key().expect("the key was there").value(), b"one");

    let options = GetOptions::new().with_prefix().with_sort(SortTarget::Key, SortOrder::Ascend);
    let got = client.get("a/", Some(options)).await.expect("a get");
    let values: Vec<&[u8]> = got.kvs().iter().map(|kv| kv.value()).collect();
    assert_eq!((got.count(), values), (2, vec![b"uno".as_ref(), b"two".as_ref()]));

    let options = DeleteOptions::new().with_all_keys();
    let deleted = client.delete("", Some(options)).await.expect("a deletion");
    assert_eq!(deleted.deleted(), 2);
}

#[tokio::test]
async fn it_swaps_a_value_if_it_is_the_expected_one() {
    let (_served, mut client) = client().await;
    client.put("k", "old", None).await.expect("a put");
    let swap = || {
        Txn::new()
            .when([Compare::value("k", CompareOp::Equal, "old")])
            .and_then([TxnOp::put("k", "new", None)])
            .or_else([TxnOp::get("k", None)])
    };
    assert!(client.txn(swap()).await.expect("a transaction").succeeded());
    let second = client.txn(swap()).await.expect("a transaction");
    assert!(!second.succeeded());
    match second.op_responses().as_slice() {
        [etcd_client::TxnOpResponse::Get(got)] => assert_eq!(got.kvs()[0].value(), b"new"),
        other => panic!("the second block reads once: {other:?}"),
    }
}

#[tokio::test]
async fn it_compacts_and_asks_after_members_and_status() {
    let (_served, mut client) = client().await;
    client.put("k", "v", None).await.expect("a put");
    let compacted = client.compact(2, None).await.expect("a compaction");
    assert_eq!(compacted.header().expect("an answer has a header").revision(), 2);
    assert_eq!(client.member_list().await.expect("a list").members().len(), 2);
    assert_eq!(client.status().await.expect("a status").leader(), 1);
}
