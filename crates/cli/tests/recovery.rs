//! What a node has on its disk is damaged, or gone. It never answers from what is damaged; it comes back with what the
//! others have; and while it does, nothing that was acknowledged is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType, Client, CompactionOptions, DeleteOptions, GetOptions};
use quorate_torture::ordeal::{assert_stood, load_on, serves};
use quorate_torture::{Cluster, Load, LoadOptions, NodeIndex};

const VICTIM: NodeIndex = NodeIndex(1);

async fn cluster(size: usize, flags: &[&str]) -> Cluster {
    let cluster = Cluster::start_with(env!("CARGO_BIN_EXE_quorate"), size, flags).await;
    cluster.expect("a cluster starts")
}

/// The files under a directory, the largest first.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("it can be listed") {
            let entry = entry.expect("it can be listed");
            let kind = entry.file_type().expect("it is of some kind");
            if kind.is_dir() { dirs.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).expect("it is there").len()));
    files
}

/// Changes one bit in every page of what a file holds.
fn rot(path: &Path) {
    let mut bytes = fs::read(path).expect("it can be read");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("something was written");
    for at in (end % 4096 / 2..end).step_by(4096) {
        bytes[at] ^= 1;
    }
    fs::write(path, bytes).expect("it can be written");
}

/// Waits until the node has been taken in again by the others, and shows that they count on it: they are three, and
/// another one dies.
async fn counts_again(cluster: &mut Cluster, load: &Load) {
    cluster.wait_until_ready(VICTIM).await.expect("it serves");
    cluster
        .wait_for_metric(VICTIM, "quorate_member_has_lost_memory", |lost| lost == 1.0)
        .await
        .expect("it knows that it has lost its memory");
    cluster
        .wait_for_metric(VICTIM, "quorate_member_is_counted", |counted| counted == 1.0)
        .await
        .expect("it is taken in again");
    let other = NodeIndex(2);
    cluster.kill_9(other).expect("it runs");
    serves(load).await;
    cluster.restart(other).await.expect("it comes back");
    serves(load).await;
}

#[tokio::test]
async fn a_node_whose_log_is_damaged_sets_it_aside_and_is_taken_in_again_under_load() {
    let mut cluster = cluster(3, &[]).await;
    let load = load_on(&cluster, LoadOptions::default()).await;
    cluster.kill_9(VICTIM).expect("it runs");
    let segments = files(&cluster.data_dir(VICTIM).join("log"));
    rot(segments.iter().find(|path| is_segment(path)).expect("there is a segment"));
    cluster.launch(VICTIM).expect("it starts");
    counts_again(&mut cluster, &load).await;
    let log = cluster.log(VICTIM);
    assert!(log.contains("the log is set aside") && log.contains("corrupt"), "{log}");
    assert!(cluster.data_dir(VICTIM).join("corrupt-1").is_dir(), "what was there is kept");
    // The next start is an ordinary one.
    cluster.terminate(VICTIM).await.expect("it stops");
    cluster.restart(VICTIM).await.expect("it starts");
    assert!(!cluster.data_dir(VICTIM).join("MEMORY_LOST").exists());
    assert_stood(&load.stop().await).await;
    cluster.finish().await.expect("every node stops cleanly");
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == "segment")
}

#[tokio::test]
async fn a_node_whose_disk_is_empty_is_taken_in_again_with_a_snapshot_under_load() {
    let mut cluster = cluster(3, &["--snapshot-count", "300"]).await;
    let load = load_on(&cluster, LoadOptions::default()).await;
    cluster
        .wait_for_metric(NodeIndex(0), "quorate_raft_log_base", |base| base > 0.0)
        .await
        .expect("the log is let go once the store has it");
    cluster.kill_9(VICTIM).expect("it runs");
    fs::remove_dir_all(cluster.data_dir(VICTIM)).expect("it can be removed");
    cluster.launch(VICTIM).expect("it starts");
    counts_again(&mut cluster, &load).await;
    let base = cluster.metric(VICTIM, "quorate_raft_log_base").await.expect("it has one");
    assert!(base > 0.0, "what the others had let go came as a snapshot");
    assert_stood(&load.stop().await).await;
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn a_node_whose_store_is_damaged_fetches_it_from_another_and_never_answers_from_it() {
    let mut cluster = cluster(3, &["--snapshot-count", "50"]).await;
    let mut client = cluster.client(NodeIndex(0)).await.expect("a client");
    for number in 0..200 {
        client.put(format!("key {number:03}"), "v".repeat(1000), None).await.expect("a put");
    }
    cluster.terminate(VICTIM).await.expect("it stops");
    let tables = files(&cluster.data_dir(VICTIM).join("engine"));
    let large = tables.iter().filter(|path| fs::metadata(path).expect("it is there").len() > 4096);
    let mut spoilt = 0;
    for path in large {
        rot(path);
        spoilt += 1;
    }
    assert!(spoilt > 0, "the store is in files: {tables:?}");
    cluster.restart(VICTIM).await.expect("it starts");
    let mut client = cluster.client(VICTIM).await.expect("a client");
    let all = || GetOptions::new().with_prefix().with_serializable();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let got = loop {
        match client.get("key ", Some(all())).await {
            Ok(got) if got.count() == 200 => break got,
            // An answer is whole or it is none.
            Ok(got) => panic!("{} keys of 200", got.count()),
            Err(etcd_client::Error::GRpcStatus(status)) => {
                assert_eq!(status.code(), tonic::Code::DataLoss, "{status}");
            }
            Err(error) => panic!("{error}"),
        }
        assert!(std::time::Instant::now() < deadline, "it never serves again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(got.kvs().iter().all(|kv| kv.value() == "v".repeat(1000).as_bytes()));
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn a_node_alone_whose_store_is_gone_says_so_and_does_not_start() {
    let mut cluster = cluster(1, &["--snapshot-count", "20"]).await;
    let only = NodeIndex(0);
    let mut client = cluster.client(only).await.expect("a client");
    for number in 0..100 {
        client.put(format!("key {number}"), "v", None).await.expect("a put");
    }
    cluster
        .wait_for_metric(only, "quorate_raft_log_base", |base| base > 0.0)
        .await
        .expect("the log is let go once the store has it");
    cluster.terminate(only).await.expect("it stops");
    fs::remove_dir_all(cluster.data_dir(only).join("engine")).expect("it can be removed");
    cluster.launch(only).expect("it starts");
    let status = cluster.ended(only).await.expect("it ends by itself");
    assert_eq!(status.code(), Some(1));
    let log = cluster.log(only);
    assert!(log.contains("no other member to fetch it from; restore a backup"), "{log}");
    cluster.finish().await.expect("nothing else is wrong");
}

#[tokio::test]
async fn a_store_that_reaches_its_quota_takes_only_what_makes_room_until_there_is_room() {
    let quota = "2000000";
    let flags = ["--snapshot-count", "100", "--quota-backend-bytes", quota];
    let cluster = cluster(1, &flags).await;
    let mut client = cluster.client(NodeIndex(0)).await.expect("a client");
    let mut state = 1_u64;
    let mut noise = || {
        // What cannot be compressed: xorshift64 (Marsaglia, 2003).
        let word = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_ne_bytes()
        };
        (0..1000).flat_map(word).collect::<Vec<u8>>()
    };
    let mut puts = 0;
    let refused = loop {
        match client.put(format!("key {puts}"), noise(), None).await {
            Ok(_) => puts += 1,
            Err(error) => break error,
        }
        assert!(puts < 5000, "40 MB in a store of 2 MB");
    };
    let etcd_client::Error::GRpcStatus(status) = refused else { panic!("no status: {refused}") };
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert_eq!(status.message(), "etcdserver: mvcc: database space exceeded");
    let got = client.get("key 0", None).await.expect("reads are answered");
    assert_eq!(got.count(), 1);
    wait_for_alarms(&mut client, &[AlarmType::Nospace]).await;
    let all = DeleteOptions::new().with_prefix();
    let deleted = client.delete("key ", Some(all)).await.expect("what makes room is taken");
    let revision = deleted.header().expect("an answer has a header").revision();
    let physical = CompactionOptions::new().with_physical();
    client.compact(revision, Some(physical)).await.expect("what makes room is taken");
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while client.put("key", "small", None).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "there never is room again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    wait_for_alarms(&mut client, &[]).await;
    cluster.finish().await.expect("every node stops cleanly");
}

/// Waits until these alarms are raised and no others.
async fn wait_for_alarms(client: &mut Client, expected: &[AlarmType]) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let listed = client.alarm(AlarmAction::Get, AlarmType::None, None).await;
        let listed = listed.expect("the node answers");
        let raised: Vec<_> = listed.alarms().iter().map(|member| member.alarm()).collect();
        if raised == expected {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{raised:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
