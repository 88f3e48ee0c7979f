//! `kill -9` in the middle of what takes long: a snapshot on its way, a compaction, a change of the members. What was
//! half done is done again or was never done; what was acknowledged stays.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{Client, CompactionOptions, ConnectOptions, GetOptions, PutOptions, Txn, TxnOp};
use quorate_torture::{Cluster, NodeIndex};
use tokio::task::JoinHandle;

/// So long something has to come about.
const WITHIN: Duration = Duration::from_secs(60);

async fn cluster(flags: &[&str]) -> Cluster {
    let cluster = Cluster::start_with(env!("CARGO_BIN_EXE_quorate"), 3, flags).await;
    cluster.expect("a cluster starts")
}

/// One client that writes one key after the other, each once, and notes what was acknowledged.
struct Writer {
    is_over: Arc<AtomicBool>,
    written: JoinHandle<Vec<(u64, i64)>>,
}

impl Writer {
    async fn start(cluster: &Cluster) -> Self {
        let options = ConnectOptions::new().with_timeout(Duration::from_secs(2));
        let client = Client::connect(cluster.client_urls(), Some(options)).await;
        let mut client = client.expect("a client");
        let is_over = Arc::new(AtomicBool::new(false));
        let is_told = is_over.clone();
        let written = tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                if is_told.load(Ordering::Relaxed) {
                    break;
                }
                // What failed may have happened all the same, and is not counted on.
                if let Ok(put) = client.put(name(number), number.to_string(), None).await {
                    let revision = put.header().expect("an answer has a header").revision();
                    acknowledged.push((number, revision));
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            acknowledged
        });
        Writer { is_over, written }
    }

    /// Stops, and shows that every node has every write that was acknowledged, at its revision.
    async fn assert_kept(self, cluster: &Cluster) {
        self.is_over.store(true, Ordering::Relaxed);
        let acknowledged = self.written.await.expect("the writer does not panic");
        assert!(acknowledged.len() > 20, "{} writes show little", acknowledged.len());
        for node in cluster.all() {
            let mut client = cluster.client(node).await.expect("a client");
            let prefix = GetOptions::new().with_prefix();
            let got = client.get("written ", Some(prefix)).await.expect("the node serves");
            let mut kvs = got.kvs().iter().peekable();
            for (number, revision) in &acknowledged {
                let key = name(*number);
                while kvs.next_if(|kv| kv.key() < key.as_bytes()).is_some() {}
                let kv = kvs.next().filter(|kv| kv.key() == key.as_bytes());
                let kv = kv.unwrap_or_else(|| panic!("{node} has lost {key:?}"));
                assert_eq!((kv.mod_revision(), kv.version()), (*revision, 1), "{key:?} of {node}");
                assert_eq!(kv.value(), number.to_string().as_bytes());
            }
        }
    }
}

fn name(number: u64) -> String {
    format!("written {number:08}")
}

/// So much data that a snapshot of it takes a while.
async fn fill(cluster: &Cluster) {
    let mut client = cluster.client(NodeIndex(0)).await.expect("a client");
    for part in 0..30 {
        let put = |number: u32| {
            TxnOp::put(format!("filled {part:02} {number:03}"), vec![number as u8; 10_000], None)
        };
        let txn = Txn::new().and_then((0..100).map(put).collect::<Vec<_>>());
        client.txn(txn).await.expect("the cluster serves");
    }
}

/// Takes a node's disk away.
fn empty(cluster: &Cluster, node: NodeIndex) {
    match fs::remove_dir_all(cluster.data_dir(node)) {
        // It was killed before it had made one.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        outcome => outcome.expect("it can be removed"),
    }
}

async fn follower(cluster: &mut Cluster) -> NodeIndex {
    let leader = cluster.leader().await.expect("there is a leader");
    cluster.all().find(|node| *node != leader).expect("there are three")
}

/// Waits until a node is as it should be again: it serves, and it counts.
async fn is_whole(cluster: &mut Cluster, node: NodeIndex) {
    cluster.wait_until_ready(node).await.expect("it serves");
    let name = "quorate_member_is_counted";
    cluster.wait_for_metric(node, name, |counted| counted == 1.0).await.expect("it counts");
}

#[tokio::test]
async fn kill_9_while_a_snapshot_is_on_its_way_of_who_takes_it_and_of_who_sends_it() {
    let mut cluster = cluster(&["--snapshot-count", "100"]).await;
    fill(&cluster).await;
    let writer = Writer::start(&cluster).await;
    let taker = follower(&mut cluster).await;
    cluster.kill_9(taker).expect("it runs");
    let mut interrupted = 0;
    for delay_ms in [20, 60, 100, 150, 200, 300] {
        empty(&cluster, taker);
        cluster.launch(taker).expect("it starts");
        // The fault is the moment: somewhere in the transfer.
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        let base = cluster.metric(taker, "quorate_raft_log_base").await;
        interrupted += u32::from(base.is_ok_and(|base| base == 0.0));
        cluster.kill_9(taker).expect("it runs");
    }
    assert!(interrupted > 0, "every transfer was over before the taker was killed");
    empty(&cluster, taker);
    cluster.launch(taker).expect("it starts");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sender = cluster.leader().await.expect("there is a leader");
    cluster.kill_9(sender).expect("it runs");
    cluster.restart(sender).await.expect("it comes back");
    is_whole(&mut cluster, taker).await;
    writer.assert_kept(&cluster).await;
    for node in cluster.all() {
        let mut client = cluster.client(node).await.expect("a client");
        let count = GetOptions::new().with_prefix().with_count_only();
        let got = client.get("filled ", Some(count)).await.expect("the node serves");
        assert_eq!(got.count(), 3_000, "at {node}");
    }
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn kill_9_in_the_middle_of_compactions_takes_no_revision_back() {
    let mut cluster = cluster(&["--snapshot-count", "500"]).await;
    let mut client = cluster.client(NodeIndex(0)).await.expect("a client");
    for number in 0..3000 {
        let key = format!("often {}", number % 50);
        client.put(key, vec![7; 1000], None).await.expect("the cluster serves");
    }
    let writer = Writer::start(&cluster).await;
    for round in 0..6 {
        let leader = cluster.leader().await.expect("there is a leader");
        let mut client = cluster.client(leader).await.expect("a client");
        let put = client.put("often 0", "again", Some(PutOptions::new())).await;
        let before = put.expect("it serves").header().expect("it has a header").revision();
        let physical = CompactionOptions::new().with_physical();
        let compaction = tokio::spawn(async move { client.compact(before, Some(physical)).await });
        // The fault is the moment: somewhere in the compaction.
        tokio::time::sleep(Duration::from_millis(round * 2)).await;
        cluster.kill_9(leader).expect("it runs");
        let was_answered = compaction.await.expect("the client does not panic").is_ok();
        cluster.restart(leader).await.expect("it comes back");
        let mut client = cluster.client(leader).await.expect("a client");
        let got = client.get("often 0", None).await.expect("it serves");
        let revision = got.header().expect("it has a header").revision();
        assert!(revision >= before, "revision {revision} after {before}");
        assert_eq!(got.kvs()[0].value(), b"again");
        let past = GetOptions::new().with_revision(before - 1);
        let past = client.get("often 0", Some(past)).await;
        assert!(!was_answered || past.is_err(), "a compaction that was acknowledged is undone");
    }
    writer.assert_kept(&cluster).await;
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn kill_9_in_the_middle_of_changes_of_the_members_leaves_one_membership() {
    let mut cluster = cluster(&[]).await;
    let writer = Writer::start(&cluster).await;
    for round in 0..4_u64 {
        let leader = cluster.leader().await.expect("there is a leader");
        let through = cluster.all().find(|node| *node != leader).expect("there are three");
        let mut client = cluster.client(through).await.expect("a client");
        let url = format!("http://127.0.0.1:{}", 1 + round);
        let added = {
            let url = url.clone();
            tokio::spawn(async move { client.member_add([url], None).await })
        };
        // The fault is the moment: somewhere in the change.
        tokio::time::sleep(Duration::from_millis(round)).await;
        cluster.kill_9(leader).expect("it runs");
        let was_added = added.await.expect("the client does not panic").is_ok();
        cluster.restart(leader).await.expect("it comes back");
        let member = settled(&cluster).await.into_iter().find(|(_, urls)| urls.contains(&url));
        assert!(member.is_some() || !was_added, "a change that was acknowledged is undone");
        if let Some((id, _)) = member {
            let leader = cluster.leader().await.expect("there is a leader");
            let through = cluster.all().find(|node| *node != leader).expect("there are three");
            let mut client = cluster.client(through).await.expect("a client");
            let removed = tokio::spawn(async move { client.member_remove(id).await });
            tokio::time::sleep(Duration::from_millis(round)).await;
            cluster.kill_9(leader).expect("it runs");
            let was_removed = removed.await.expect("the client does not panic").is_ok();
            cluster.restart(leader).await.expect("it comes back");
            let is_there = settled(&cluster).await.iter().any(|(known, _)| *known == id);
            assert!(!is_there || !was_removed, "a removal that was acknowledged is undone");
            if is_there {
                let mut client = cluster.client(through).await.expect("a client");
                client.member_remove(id).await.expect("now nobody dies");
            }
        }
    }
    assert_eq!(settled(&cluster).await.len(), 3);
    writer.assert_kept(&cluster).await;
    cluster.finish().await.expect("every node stops cleanly");
}

/// The members, by their ids and peer URLs, once every node tells the same of them.
async fn settled(cluster: &Cluster) -> Vec<(u64, Vec<String>)> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let mut told = Vec::new();
        for node in cluster.all() {
            if let Ok(members) = cluster.members(node).await {
                let member =
                    |member: &etcd_client::Member| (member.id(), member.peer_urls().to_vec());
                told.push(members.iter().map(member).collect::<Vec<_>>());
            }
        }
        if told.len() == 3 && told.windows(2).all(|pair| pair[0] == pair[1]) {
            return told.remove(0);
        }
        assert!(Instant::now() < deadline, "the nodes never agree on the members: {told:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
