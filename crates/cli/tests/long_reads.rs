//! Ranges that are too long to be answered by the event loop: a stock client sees no difference.

use std::process::Command;

use etcd_client::{GetOptions, SortOrder, SortTarget, Txn, TxnOp};
use quorate_torture::command::run_to_end;
use quorate_torture::{Cluster, NodeIndex};
use serde_json::Value;

const KEYS: usize = 10_000;
/// What a transaction may hold.
const AT_ONCE: usize = 100;

fn key(number: usize) -> String {
    format!("key-{number:05}")
}

/// Of another length for each key, so that no piece of the answer ends where another does.
fn value(number: usize) -> String {
    format!("{:x}", number * 7919).repeat(1 + number % 97)
}

#[tokio::test]
async fn a_range_of_many_keys_comes_whole_however_it_is_asked_for() {
    let cluster = Cluster::start(env!("CARGO_BIN_EXE_quorate"), 3).await.expect("a cluster starts");
    let mut client = cluster.client(NodeIndex(1)).await.expect("a client");
    let mut revision = 0;
    for first in (0..KEYS).step_by(AT_ONCE) {
        let puts: Vec<TxnOp> = (first..first + AT_ONCE)
            .map(|number| TxnOp::put(key(number), value(number), None))
            .collect();
        let done = client.txn(Txn::new().and_then(puts)).await.expect("it is served");
        revision = done.header().expect("there is one").revision();
    }
    // What is written later is not to be seen by a read of the revision before.
    client.put(key(7), "later", None).await.expect("it is served");

    let all = GetOptions::new().with_all_keys().with_revision(revision);
    let got = client.get("", Some(all.clone())).await.expect("it is served");
    assert_eq!((got.kvs().len(), got.count(), got.more()), (KEYS, KEYS as i64, false));
    for (number, kv) in got.kvs().iter().enumerate() {
        assert_eq!(kv.key(), key(number).as_bytes());
        assert_eq!(kv.value(), value(number).as_bytes(), "of {}", key(number));
        assert_eq!(kv.version(), 1);
    }
    assert_eq!(got.header().expect("there is one").revision(), revision + 1);

    let limited = all.clone().with_limit(6000);
    let got = client.get("", Some(limited)).await.expect("it is served");
    assert_eq!((got.kvs().len(), got.count(), got.more()), (6000, KEYS as i64, true));
    let last_first = all.clone().with_sort(SortTarget::Key, SortOrder::Descend).with_keys_only();
    let got = client.get("", Some(last_first)).await.expect("it is served");
    let expected = (0..KEYS).rev().map(key);
    assert!(got.kvs().iter().map(|kv| kv.key().to_vec()).eq(expected.map(String::into_bytes)));
    assert!(got.kvs().iter().all(|kv| kv.value().is_empty()));
    let counted = all.with_count_only();
    let got = client.get("", Some(counted)).await.expect("it is served");
    assert_eq!((got.kvs().len(), got.count()), (0, KEYS as i64));

    prints_all(&cluster, revision).await;
    cluster.finish().await.expect("every node stops cleanly");
}

/// The command line reads page by page, and prints what one answer would have held.
async fn prints_all(cluster: &Cluster, revision: i64) {
    let endpoint = cluster.client_address(NodeIndex(2)).to_string();
    let get = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(["get", "", "--prefix", "--endpoints", &endpoint]).args(flags);
        run_to_end(command)
    };
    let at = revision.to_string();
    let printed = get(&["--rev", &at]).await.expect("it ends by itself");
    let lines = (0..KEYS).flat_map(|number| [key(number), value(number)]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    assert!(printed.stdout.lines().eq(lines), "every key and value, in order");
    let printed = get(&["--json", "--limit", "9000"]).await.expect("it ends by itself");
    let json: Value = serde_json::from_str(&printed.stdout).expect("it prints JSON");
    assert_eq!(json["kvs"].as_array().map(Vec::len), Some(9000));
    assert_eq!((&json["count"], &json["more"]), (&KEYS.into(), &true.into()));
    assert_eq!(json["kvs"][7]["mod_revision"], revision + 1);
}
