//! Members come and go while clients are served: a cluster grows and shrinks, a dead node is replaced, and a node that
//! was removed says so.

use std::time::Duration;

use quorate_torture::ordeal::{assert_stood, load_on, serves};
use quorate_torture::{Cluster, LoadOptions, NodeIndex};

async fn cluster(size: usize) -> Cluster {
    Cluster::start(env!("CARGO_BIN_EXE_quorate"), size).await.expect("a cluster starts")
}

/// Takes a node in through another one, starts it, and waits until it votes and serves.
async fn grow(cluster: &mut Cluster, through: NodeIndex, voters: usize) -> NodeIndex {
    let node = cluster.add_member(through).await.expect("it is taken in");
    cluster.launch(node).expect("it starts");
    cluster.wait_for_voters(through, voters).await.expect("it catches up and votes");
    cluster.wait_until_ready(node).await.expect("it serves");
    node
}

/// The ids of the members, by a node's account.
async fn ids(cluster: &Cluster, through: NodeIndex) -> Vec<u64> {
    let members = cluster.members(through).await.expect("the node answers");
    members.iter().map(|member| member.id()).collect()
}

#[tokio::test]
async fn a_cluster_grows_from_three_to_five_and_shrinks_again_under_load() {
    let mut cluster = cluster(3).await;
    let load = load_on(&cluster, LoadOptions::default()).await;
    let fourth = grow(&mut cluster, NodeIndex(1), 4).await;
    let fifth = grow(&mut cluster, fourth, 5).await;
    serves(&load).await;
    let seen = ids(&cluster, NodeIndex(0)).await;
    assert_eq!(seen.len(), 5);
    for node in cluster.all() {
        assert_eq!(ids(&cluster, node).await, seen, "every node names the same members");
    }
    // Two of five may be gone; of three they could not.
    for node in [0, 1] {
        cluster.kill_9(NodeIndex(node)).expect("it runs");
    }
    let mut client = cluster.client(fifth).await.expect("a client");
    client.get("k", None).await.expect("three of five serve");
    for node in [0, 1] {
        cluster.restart(NodeIndex(node)).await.expect("it comes back");
    }
    for node in [fourth, fifth] {
        cluster.remove_member(NodeIndex(2), node).await.expect("it is let go");
        let status = cluster.ended(node).await.expect("it finds out and stops");
        assert_eq!(status.code(), Some(1));
        let log = cluster.log(node);
        assert!(log.contains("was removed from its cluster"), "{log}");
    }
    serves(&load).await;
    assert_stood(&load.stop().await).await;
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn a_dead_node_is_replaced_and_never_comes_back() {
    let mut cluster = cluster(3).await;
    let dead = NodeIndex(0);
    cluster.kill_9(dead).expect("it runs");
    let before = ids(&cluster, NodeIndex(1)).await;
    cluster.remove_member(NodeIndex(1), dead).await.expect("it is let go");
    let new = grow(&mut cluster, NodeIndex(2), 3).await;
    let after = ids(&cluster, new).await;
    let new_ids = after.iter().filter(|id| !before.contains(id)).count();
    assert_eq!((after.len(), new_ids), (3, 1), "the new member has an id of its own");
    cluster.launch(dead).expect("it starts");
    let status = cluster.ended(dead).await.expect("it asks the others and stops");
    assert_eq!(status.code(), Some(1));
    let log = cluster.log(dead);
    assert!(log.contains("to join again, remove that directory"), "{log}");
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn a_node_that_nobody_has_added_is_told_how_to_add_it() {
    let mut cluster = cluster(1).await;
    let node = cluster.add_member(NodeIndex(0)).await.expect("it is taken in");
    let mut client = cluster.client(NodeIndex(0)).await.expect("a client");
    let members = cluster.members(NodeIndex(0)).await.expect("the node answers");
    let unstarted = members.iter().find(|member| member.name().is_empty()).expect("it is listed");
    client.member_remove(unstarted.id()).await.expect("one that never started may go");
    cluster.launch(node).expect("it starts");
    let status = cluster.ended(node).await.expect("it ends by itself");
    assert_eq!(status.code(), Some(1));
    let words = format!("quorate member add {node} --peer-urls http://");
    let log = cluster.log(node);
    assert!(log.contains(&words), "{log}");
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn the_leader_can_be_removed_and_leadership_can_be_moved() {
    let mut cluster = cluster(3).await;
    let leader = cluster.leader().await.expect("there is a leader");
    let other = cluster.all().find(|node| *node != leader).expect("there are three");
    let members = cluster.members(other).await.expect("the node answers");
    let to = members.iter().find(|member| member.name() == other.to_string());
    let to = to.expect("it is listed").id();
    let mut client = cluster.client(leader).await.expect("a client");
    client.move_leader(to).await.expect("the leader hands over");
    while cluster.leader().await.expect("there is a leader") != other {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.remove_member(leader, other).await.expect("a leader lets itself go");
    cluster.ended(other).await.expect("it finds out and stops");
    let mut client = cluster.client(leader).await.expect("a client");
    client.put("k", "two are left", None).await.expect("they serve");
    cluster.finish().await.expect("every node stops cleanly");
}
