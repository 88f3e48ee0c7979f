//! Three nodes as processes, asked through each of them by a client that nobody here wrote.

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, GetOptions, GetResponse, PutOptions,
    SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use quorate_torture::Cluster;

const NODES: usize = 3;

async fn cluster() -> (Cluster, Vec<Client>) {
    let cluster = Cluster::start(env!("CARGO_BIN_EXE_quorate"), NODES).await;
    let cluster = cluster.expect("a cluster starts");
    let mut clients = Vec::new();
    for node in cluster.all() {
        clients.push(cluster.client(node).await.expect("a client"));
    }
    (cluster, clients)
}

async fn finish(cluster: Cluster) {
    cluster.finish().await.expect("every node stops cleanly");
}

fn pairs(got: &GetResponse) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).expect("the tests write text");
    got.kvs().iter().map(|kv| (text(kv.key()), text(kv.value()))).collect()
}

#[track_caller]
fn assert_refused<T>(outcome: Result<T, Error>, code: tonic::Code, message: &str) {
    match outcome {
        Err(Error::GRpcStatus(status)) => {
            assert_eq!((status.code(), status.message()), (code, message));
        }
        Err(other) => panic!("no status of the server's: {other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[tokio::test]
async fn what_was_put_through_one_node_is_read_through_every_other_at_once() {
    let (cluster, mut clients) = cluster().await;
    for round in 0..20 {
        let value = format!("round {round}");
        let put = clients[round % NODES].put("k", value.clone(), None).await.expect("a put");
        let revision = put.header().expect("an answer has a header").revision();
        for client in &mut clients {
            let got = client.get("k", None).await.expect("a get");
            assert_eq!(pairs(&got), [("k", value.as_str())], "in round {round}");
            assert_eq!(got.kvs()[0].mod_revision(), revision);
            assert_eq!(got.kvs()[0].version(), round as i64 + 1);
        }
    }
    finish(cluster).await;
}

#[tokio::test]
async fn ranges_are_read_as_etcd_reads_them_through_every_node() {
    let (cluster, mut clients) = cluster().await;
    let puts = [("a/1", "x"), ("a/2", "z"), ("a/3", "y"), ("b/1", "w"), ("a/2", "v")];
    let mut revisions = Vec::new();
    for (place, (key, value)) in puts.into_iter().enumerate() {
        let put = clients[place % NODES].put(key, value, None).await.expect("a put");
        revisions.push(put.header().expect("an answer has a header").revision());
    }
    assert_eq!(revisions, [2, 3, 4, 5, 6], "revisions are dense");
    let prefix = || GetOptions::new().with_prefix();
    for client in &mut clients {
        let got = client.get("a/", Some(prefix())).await.expect("a prefix");
        assert_eq!(pairs(&got), [("a/1", "x"), ("a/2", "v"), ("a/3", "y")]);
        let got = client.get("a/2", Some(GetOptions::new().with_range("b/1"))).await;
        assert_eq!(pairs(&got.expect("a range")), [("a/2", "v"), ("a/3", "y")]);
        let got = client.get("a/3", Some(GetOptions::new().with_from_key())).await;
        assert_eq!(pairs(&got.expect("from a key on")), [("a/3", "y"), ("b/1", "w")]);
        let got = client.get("", Some(GetOptions::new().with_all_keys())).await.expect("all");
        assert_eq!((got.count(), got.kvs().len(), got.more()), (4, 4, false));

        let got = client.get("a/", Some(prefix().with_limit(2))).await.expect("a limit");
        assert_eq!((pairs(&got).len(), got.count(), got.more()), (2, 3, true));
        let by_value = prefix().with_sort(SortTarget::Value, SortOrder::Descend);
        let got = client.get("a/", Some(by_value)).await.expect("a sort");
        assert_eq!(pairs(&got), [("a/3", "y"), ("a/1", "x"), ("a/2", "v")]);
        let newest = prefix().with_sort(SortTarget::Mod, SortOrder::Descend).with_limit(1);
        let got = client.get("a/", Some(newest)).await.expect("the newest");
        assert_eq!(pairs(&got), [("a/2", "v")]);
        let got = client.get("a/", Some(prefix().with_keys_only())).await.expect("keys");
        assert_eq!(pairs(&got), [("a/1", ""), ("a/2", ""), ("a/3", "")]);
        let got = client.get("a/", Some(prefix().with_count_only())).await.expect("a count");
        assert_eq!((got.count(), got.kvs().len()), (3, 0));

        let got = client.get("a/", Some(prefix().with_revision(4))).await.expect("the past");
        assert_eq!(pairs(&got), [("a/1", "x"), ("a/2", "z"), ("a/3", "y")]);
        let got = client.get("none", None).await.expect("an absent key is an answer");
        assert_eq!((got.count(), pairs(&got)), (0, vec![]));
        let got = client.get("b/1", Some(GetOptions::new().with_serializable())).await;
        assert_eq!(pairs(&got.expect("a local read")).len(), 1);
    }
    finish(cluster).await;
}

#[tokio::test]
async fn deletions_and_overwrites_hand_back_what_was_there_through_every_node() {
    let (cluster, mut clients) = cluster().await;
    for client in &mut clients {
        for (key, value) in [("d/1", "one"), ("d/2", "two"), ("e", "three")] {
            client.put(key, value, None).await.expect("a put");
        }
        let put = client.put("e", "four", Some(PutOptions::new().with_prev_key())).await;
        let put = put.expect("an overwrite");
        assert_eq!(put.prev_key().expect("the key was there").value(), b"three");
        let options = DeleteOptions::new().with_prefix().with_prev_key();
        let deleted = client.delete("d/", Some(options.clone())).await.expect("a deletion");
        let previous: Vec<&[u8]> = deleted.prev_kvs().iter().map(|kv| kv.value()).collect();
        assert_eq!((deleted.deleted(), previous), (2, vec![b"one".as_ref(), b"two"]));
        let revision = deleted.header().expect("an answer has a header").revision();
        let again = client.delete("d/", Some(options)).await.expect("nothing to delete");
        assert_eq!((again.deleted(), again.prev_kvs().len()), (0, 0));
        let unchanged = again.header().expect("an answer has a header").revision();
        assert_eq!(unchanged, revision, "what changes nothing makes no revision");
        assert_eq!(client.delete("e", None).await.expect("a deletion").deleted(), 1);
    }
    finish(cluster).await;
}

/// The values that the reads of a transaction found, those of nested ones among them.
fn read(done: &TxnResponse) -> Vec<String> {
    let mut values = Vec::new();
    for response in done.op_responses() {
        match response {
            TxnOpResponse::Get(got) => {
                values.extend(pairs(&got).into_iter().map(|(_, value)| value.to_owned()));
            }
            TxnOpResponse::Txn(nested) => values.extend(read(&nested)),
            TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) => {}
        }
    }
    values
}

#[tokio::test]
async fn a_transaction_compares_everything_that_a_key_has_through_every_node() {
    let (cluster, mut clients) = cluster().await;
    let first = clients[0].put("k", "v1", None).await.expect("a put");
    let second = clients[0].put("k", "v2", None).await.expect("a put");
    let created = first.header().expect("an answer has a header").revision();
    let modified = second.header().expect("an answer has a header").revision();
    let holds = [
        Compare::value("k", CompareOp::Equal, "v2"),
        Compare::value("k", CompareOp::NotEqual, "v1"),
        Compare::value("k", CompareOp::Greater, "v1"),
        Compare::version("k", CompareOp::Equal, 2),
        Compare::version("k", CompareOp::Less, 3),
        Compare::version("none", CompareOp::Equal, 0),
        Compare::create_revision("k", CompareOp::Equal, created),
        Compare::create_revision("none", CompareOp::Equal, 0),
        Compare::mod_revision("k", CompareOp::Equal, modified),
        Compare::mod_revision("k", CompareOp::Greater, created),
        Compare::lease("k", CompareOp::Equal, 0),
    ];
    let fails = [
        Compare::value("k", CompareOp::Equal, "v1"),
        Compare::value("none", CompareOp::Equal, ""),
        Compare::version("k", CompareOp::Greater, 2),
        Compare::create_revision("k", CompareOp::Equal, modified),
        Compare::mod_revision("k", CompareOp::Less, modified),
        Compare::lease("k", CompareOp::NotEqual, 0),
    ];
    for client in &mut clients {
        for (compares, expected) in [(&holds[..], true), (&fails[..], false)] {
            for compare in compares {
                let txn = Txn::new().when([compare.clone()]);
                let done = client.txn(txn).await.expect("a transaction");
                assert_eq!(done.succeeded(), expected, "{compare:?}");
            }
        }
        let mixed = Txn::new().when([holds[0].clone(), fails[0].clone()]);
        let done = client.txn(mixed).await.expect("a transaction");
        assert!(!done.succeeded(), "all have to hold");
    }
    finish(cluster).await;
}

#[tokio::test]
async fn a_transaction_is_one_write_with_all_its_parts_through_every_node() {
    let (cluster, mut clients) = cluster().await;
    for place in 0..NODES {
        let key = format!("t{place}");
        // etcd decides every compare, the nested ones too, by the store as it was before the whole transaction.
        let nested = Txn::new()
            .when([Compare::value(key.clone(), CompareOp::Equal, "new")])
            .and_then([TxnOp::get(key.clone(), None)])
            .or_else([TxnOp::put("inner", key.clone(), None)]);
        let txn = Txn::new()
            .when([Compare::version(key.clone(), CompareOp::Equal, 0)])
            .and_then([
                TxnOp::put(key.clone(), "new", None),
                TxnOp::put(format!("{key}-too"), "also", None),
                TxnOp::txn(nested),
                TxnOp::get(key.clone(), None),
            ])
            .or_else([TxnOp::delete(key.clone(), None)]);
        let done = clients[place].txn(txn.clone()).await.expect("a transaction");
        assert!(done.succeeded());
        let revision = done.header().expect("an answer has a header").revision();
        assert_eq!(read(&done), ["new"], "only the last operation read");
        let other = &mut clients[(place + 1) % NODES];
        for key in [key.clone(), format!("{key}-too"), "inner".to_owned()] {
            let got = other.get(key, None).await.expect("a get");
            assert_eq!(got.kvs()[0].mod_revision(), revision, "one transaction, one revision");
        }
        let done = other.txn(txn).await.expect("a transaction");
        assert!(!done.succeeded(), "the key is there now");
        let got = clients[place].get(key, None).await.expect("a get");
        assert_eq!(got.count(), 0, "the other block deleted it");
    }
    let twice = Txn::new().and_then([TxnOp::put("k", "1", None), TxnOp::put("k", "2", None)]);
    let message = "etcdserver: duplicate key given in txn request";
    assert_refused(clients[0].txn(twice).await, tonic::Code::InvalidArgument, message);
    finish(cluster).await;
}

#[tokio::test]
async fn a_revision_that_was_compacted_cannot_be_read_through_any_node() {
    let (cluster, mut clients) = cluster().await;
    for value in ["2", "3", "4", "5"] {
        clients[0].put("k", value, None).await.expect("a put");
    }
    clients[1].compact(4, None).await.expect("a compaction");
    let at = |revision| Some(GetOptions::new().with_revision(revision));
    for client in &mut clients {
        // A linearizable read first, so that this node has come as far as the compaction.
        let got = client.get("k", None).await.expect("a get");
        assert_eq!(pairs(&got), [("k", "5")]);
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        assert_refused(client.get("k", at(3)).await, tonic::Code::OutOfRange, compacted);
        let got = client.get("k", at(4)).await.expect("the compacted revision itself is kept");
        assert_eq!(pairs(&got), [("k", "4")]);
        let future = "etcdserver: mvcc: required revision is a future revision";
        assert_refused(client.get("k", at(6)).await, tonic::Code::OutOfRange, future);
        assert_refused(client.compact(3, None).await, tonic::Code::OutOfRange, compacted);
        assert_refused(client.compact(99, None).await, tonic::Code::OutOfRange, future);
    }
    finish(cluster).await;
}

#[tokio::test]
async fn every_node_tells_the_same_of_the_members_and_the_leader() {
    let (mut cluster, mut clients) = cluster().await;
    let leader = cluster.leader().await.expect("there is a leader");
    let leader_id = clients[leader.0].status().await.expect("a status").leader();
    let mut urls: Vec<String> = cluster.client_urls();
    urls.sort();
    // A node introduces itself once there is a leader, and each hears of it in its own time.
    for client in &mut clients {
        let mut introduced = 0;
        while introduced < NODES {
            let listed = client.member_list().await.expect("a list");
            introduced = listed.members().iter().filter(|m| !m.client_urls().is_empty()).count();
        }
    }
    for (node, client) in cluster.all().zip(&mut clients) {
        let listed = client.member_list().await.expect("a list");
        let mut names: Vec<&str> = listed.members().iter().map(|member| member.name()).collect();
        names.sort_unstable();
        assert_eq!(names, ["n1", "n2", "n3"]);
        let mut listed_urls: Vec<String> =
            listed.members().iter().flat_map(|member| member.client_urls()).cloned().collect();
        listed_urls.sort();
        assert_eq!(listed_urls, urls, "as {node} tells it");
        let own_id = listed.header().expect("an answer has a header").member_id();
        let own = listed.members().iter().find(|member| member.id() == own_id);
        assert_eq!(own.expect("a node lists itself").name(), node.to_string());

        let status = client.status().await.expect("a status");
        assert_eq!(status.leader(), leader_id);
        assert!(status.raft_term() > 0 && status.raft_index() > 0);
        assert!(status.errors().is_empty() && !status.version().is_empty());
    }
    finish(cluster).await;
}
