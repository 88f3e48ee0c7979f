//! Watchers on five nodes under load, and what befalls processes: whoever asks again where they were left hears of
//! everything once and in order.

use quorate_torture::ordeal::{assert_stood, load_on, serves};
use quorate_torture::{Audience, Cluster, LoadOptions};

const NODES: usize = 5;

#[tokio::test]
async fn watchers_hear_of_everything_once_though_nodes_are_killed_and_stopped() {
    let binary = env!("CARGO_BIN_EXE_quorate");
    let mut cluster = Cluster::start(binary, NODES).await.expect("a cluster starts");
    let audience = Audience::start(&cluster.client_urls());
    let load =
        load_on(&cluster, LoadOptions { clients_per_node: 1, ..LoadOptions::default() }).await;
    let killed = cluster.leader().await.expect("there is a leader");
    cluster.kill_9(killed).expect("it runs");
    serves(&load).await;
    cluster.restart(killed).await.expect("it comes back");
    let stopped = cluster.leader().await.expect("there is another leader");
    cluster.pause(stopped).expect("it runs");
    serves(&load).await;
    cluster.resume(stopped).expect("it was stopped");
    cluster.wait_until_ready(stopped).await.expect("it follows");
    let terminated = cluster.leader().await.expect("there is a leader");
    cluster.terminate(terminated).await.expect("it stops when it is asked to");
    cluster.restart(terminated).await.expect("it comes back");
    serves(&load).await;

    assert_stood(&load.stop().await).await;
    let heard = audience.judge().await.unwrap_or_else(|error| panic!("{error}"));
    assert!(heard.changes > 0, "there was nothing to be told of");
    assert!(heard.resumed > 0, "no stream ended, although nodes were killed");
    cluster.finish().await.expect("every node stops cleanly");
}
