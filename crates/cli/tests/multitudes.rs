//! Very many watches and leases on one node, scaled down: `benches/watches.py` has a hundred thousand of each.

use std::process::Command;

use quorate_torture::command::run_to_end;
use quorate_torture::{Cluster, NodeIndex};
use serde_json::Value;

const FIRST: NodeIndex = NodeIndex(0);
const MANY: u64 = 2000;
/// What a watch may take of the node's memory. It takes a quarter of it; with so few, what the streams take counts too.
const WATCH_BYTES_MAX: f64 = 4096.0;

/// What one `quorate bench` says about a cluster's first node.
async fn bench(cluster: &mut Cluster, arguments: &[&str]) -> Value {
    let pid = cluster.pid(FIRST).expect("the node runs").to_string();
    let endpoint = cluster.client_address(FIRST).to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["bench", "--json", "--endpoints", &endpoint, "--pids", &pid]);
    command.args(["--keys", &MANY.to_string()]).args(arguments);
    let finished = run_to_end(command).await.expect("it ends by itself");
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    serde_json::from_str(&finished.stdout).expect("it prints JSON")
}

async fn one_node() -> Cluster {
    Cluster::start(env!("CARGO_BIN_EXE_quorate"), 1).await.expect("a cluster starts")
}

#[tokio::test]
async fn of_many_watches_those_whose_key_is_written_are_told_and_each_takes_little() {
    let mut cluster = one_node().await;
    let flags = ["watches", "--streams", "20", "--seconds", "0.2", "--warmup", "0.1"];
    let watched = bench(&mut cluster, &flags).await;
    assert_eq!(watched["watches"], MANY);
    // It fails by itself if a watch is told of another's key.
    assert_eq!((&watched["written"], &watched["told"]), (&1000.into(), &1000.into()));
    let each = watched["bytes_a_watch"].as_f64().expect("the memory is known");
    assert!((1.0..WATCH_BYTES_MAX).contains(&each), "{watched}");
    assert!(watched["puts_per_second_beside"].as_f64() > Some(0.0), "{watched}");
    // They are gone with their streams.
    cluster
        .wait_for_metric(FIRST, "etcd_debugging_mvcc_watcher_total", |left| left == 0.0)
        .await
        .expect("none is left");
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn many_leases_that_end_at_once_take_their_keys_with_them_and_hold_nobody_up() {
    let mut cluster = one_node().await;
    let expired = bench(&mut cluster, &["leases", "--ttl", "12"]).await;
    assert_eq!(expired["leases"], MANY);
    let figure = |name: &str| expired[name].as_f64().expect("it is a number");
    assert!(figure("puts_meanwhile") > 1.0, "{expired}");
    // Ends are spread over time, so that the writer's turn comes among them.
    assert!(figure("longest_gap_ms") < figure("all_gone_in_seconds") * 1e3, "{expired}");
    assert!(figure("all_gone_in_seconds") < 20.0, "{expired}");
    let mut client = cluster.client(FIRST).await.expect("a client");
    let left = client.leases().await.expect("it is served");
    assert!(left.leases().is_empty(), "{} leases are left", left.leases().len());
    cluster.finish().await.expect("every node stops cleanly");
}
