//! Five nodes under load, and what befalls processes: killed, stopped, restarted. Whatever happens, no acknowledged
//! write is lost and the answers are those of a store that does one thing at a time.
//!
//! How long service stopped is measured and shown, but no verdict depends on it: it is the machine's as much as the
//! database's.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions};
use quorate_torture::ordeal::{assert_stood, load_on, serves};
use quorate_torture::{Cluster, LoadOptions, NodeIndex, Report};

const NODES: usize = 5;

async fn cluster() -> Cluster {
    Cluster::start(env!("CARGO_BIN_EXE_quorate"), NODES).await.expect("a cluster starts")
}

/// Shows a figure even if the test succeeds, when the test's output is kept from sight, and keeps it in a file.
fn publish(what: &str, report: &Report, gap: Duration) {
    let (answered, unknown, refused) = (report.answered(), report.unknown(), report.refused());
    let line = format!(
        "{what}: longest gap in service {} ms ({answered} answered, {unknown} unknown, {refused} refused)\n",
        gap.as_millis()
    );
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crash-figures.txt");
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the figures are kept");
    std::io::stderr().write_all(line.as_bytes()).expect("the standard error is open");
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_9_of_the_leader_and_of_the_next_one() {
    let mut cluster = cluster().await;
    let load = load_on(&cluster, LoadOptions::default()).await;
    let (mut killed, mut outages) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let leader = cluster.leader().await.expect("there is a leader");
        let killed_at = Instant::now();
        cluster.kill_9(leader).expect("it runs");
        killed.push(leader);
        serves(&load).await;
        outages.push((killed_at, Instant::now()));
    }
    assert_ne!(killed[0], killed[1], "a dead node leads nobody");
    for node in killed {
        cluster.restart(node).await.expect("it comes back");
    }
    serves(&load).await;
    let report = load.stop().await;
    for (what, (from, to)) in ["the leader", "the next leader"].into_iter().zip(outages) {
        publish(&format!("kill -9 of {what}"), &report, report.longest_gap(from, to));
    }
    assert_stood(&report).await;
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_all_five_are_killed_at_once() {
    let mut cluster = cluster().await;
    let load = load_on(&cluster, LoadOptions::default()).await;
    let killed_at = Instant::now();
    cluster.kill_9_all().expect("they run");
    for node in cluster.all() {
        cluster.launch(node).expect("it starts again");
    }
    for node in cluster.all() {
        cluster.wait_until_ready(node).await.expect("it comes back");
    }
    serves(&load).await;
    let report = load.stop().await;
    publish("kill -9 of all five", &report, report.longest_gap(killed_at, Instant::now()));
    assert_stood(&report).await;
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn a_leader_that_was_stopped_for_two_seconds_does_no_harm_when_it_goes_on() {
    let mut cluster = cluster().await;
    // Short enough that clients ask the stopped node again and again, so that what they asked last, long after others
    // were served by a new leader, is the first thing that it finds when it goes on.
    let timeout = Duration::from_millis(500);
    let load = load_on(&cluster, LoadOptions { timeout, ..LoadOptions::default() }).await;
    let old = cluster.leader().await.expect("there is a leader");
    let paused_at = Instant::now();
    cluster.pause(old).expect("it runs");
    // The fault is the length of time itself: longer than any election takes.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let new = cluster.leader().await.expect("there is another leader");
    assert_ne!(old, new, "a stopped node leads nobody");
    cluster.resume(old).expect("it was stopped");
    serves(&load).await;
    cluster.wait_until_ready(old).await.expect("it follows the new leader");
    let report = load.stop().await;
    publish("SIGSTOP of the leader", &report, report.longest_gap(paused_at, Instant::now()));
    assert_stood(&report).await;
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn a_rolling_restart_is_no_more_than_a_delay() {
    let mut cluster = cluster().await;
    let load = load_on(&cluster, LoadOptions::default()).await;
    let began = Instant::now();
    for node in cluster.all() {
        cluster.terminate(node).await.expect("it stops cleanly when it is asked to");
        cluster.restart(node).await.expect("it comes back");
    }
    serves(&load).await;
    let report = load.stop().await;
    publish("a rolling restart", &report, report.longest_gap(began, Instant::now()));
    assert_stood(&report).await;
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn two_dead_nodes_of_five_are_survived_three_are_not_and_one_that_returns_is_enough() {
    let mut cluster = cluster().await;
    let serving = NodeIndex(4);
    let patient = ConnectOptions::new().with_timeout(Duration::from_secs(30));
    let mut client =
        Client::connect([cluster.client_url(serving)], Some(patient)).await.expect("a client");
    client.put("k", "five live", None).await.expect("five nodes serve");
    for node in [0, 1] {
        cluster.kill_9(NodeIndex(node)).expect("it runs");
    }
    client.put("k", "three live", None).await.expect("three nodes of five serve");

    cluster.kill_9(NodeIndex(2)).expect("it runs");
    let mut reader = client.clone();
    let (refused, read) = tokio::join!(client.put("k", "two live", None), reader.get("k", None));
    let refused = refused.expect_err("two nodes of five must not serve");
    let etcd_client::Error::GRpcStatus(status) = refused else { panic!("no status: {refused}") };
    assert_eq!(status.code(), tonic::Code::Unavailable);
    let words = ["etcdserver: request timed out", "etcdserver: no leader"];
    assert!(words.contains(&status.message()), "it says {:?}", status.message());
    let read = read.expect_err("nor may they answer a read, which could be stale");
    assert!(read.to_string().contains("etcdserver: no leader"), "it says {read}");

    cluster.restart(NodeIndex(0)).await.expect("it comes back");
    client.put("k", "three live again", None).await.expect("three nodes of five serve");
    let got = client.get("k", None).await.expect("three nodes of five serve");
    assert_eq!(got.kvs()[0].value(), b"three live again");
    cluster.finish().await.expect("every node stops cleanly");
}
