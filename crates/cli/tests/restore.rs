//! A new cluster that begins with a backup of an old one: it holds what the old one held, and is not the old one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use etcd_client::GetOptions;
use quorate_torture::cluster::DEADLINE;
use quorate_torture::command::{Finished, run_to_end, with_flag};
use quorate_torture::process::Process;
use quorate_torture::{Cluster, Load, LoadOptions, NodeIndex};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_quorate");
const FIRST: NodeIndex = NodeIndex(0);
/// So many answers make a history worth saving.
const SOME_ANSWERS: u64 = 1000;

async fn quorate(arguments: &[&str]) -> Finished {
    let mut command = Command::new(BINARY);
    command.args(arguments);
    run_to_end(command).await.expect("it ends by itself")
}

fn json(finished: &Finished) -> Value {
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    serde_json::from_str(&finished.stdout).expect("it prints JSON")
}

/// Saves a backup through a node, and gives its revision.
async fn save(cluster: &Cluster, through: NodeIndex, file: &Path) -> i64 {
    let endpoint = cluster.client_address(through).to_string();
    let file = file.to_str().expect("it is plain");
    let saved = quorate(&["snapshot", "save", file, "--json", "--endpoints", &endpoint]).await;
    json(&saved)["revision"].as_i64().expect("a number")
}

/// A key as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    key: Vec<u8>,
    value: Vec<u8>,
    create_revision: i64,
    mod_revision: i64,
    version: i64,
}

/// All keys as a node has them at a revision; the newest, if that is 0.
async fn contents(cluster: &Cluster, node: NodeIndex, revision: i64) -> Vec<Held> {
    let mut client = cluster.client(node).await.expect("a client");
    let options = GetOptions::new().with_all_keys().with_revision(revision);
    let answer = client.get("", Some(options)).await.expect("the revision is there");
    let held = answer.kvs().iter().map(|kv| Held {
        key: kv.key().into(),
        value: kv.value().into(),
        create_revision: kv.create_revision(),
        mod_revision: kv.mod_revision(),
        version: kv.version(),
    });
    held.collect()
}

/// A backup of a small cluster that has stopped, in a directory of its own.
async fn small_backup() -> (tempfile::TempDir, PathBuf, i64) {
    let cluster = Cluster::start(BINARY, 1).await.expect("a cluster starts");
    let mut client = cluster.client(FIRST).await.expect("a client");
    for value in 0..20 {
        client.put("k", value.to_string(), None).await.expect("it is served");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("backup");
    let revision = save(&cluster, FIRST, &file).await;
    cluster.finish().await.expect("every node stops cleanly");
    (dir, file, revision)
}

#[tokio::test]
async fn a_backup_taken_under_load_becomes_a_new_cluster_with_all_of_its_history() {
    let old = Cluster::start(BINARY, 5).await.expect("a cluster starts");
    let options = LoadOptions { keys: 300, ..LoadOptions::default() };
    let load = Load::start(old.client_urls(), options).await.expect("clients are made");
    load.answers(SOME_ANSWERS).await.expect("the cluster serves");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("backup");
    let revision = save(&old, NodeIndex(3), &file).await;
    load.answers(SOME_ANSWERS).await.expect("the cluster serves on");
    load.stop().await.judge().await.unwrap_or_else(|error| panic!("{error}"));

    let mut new = Cluster::restore(BINARY, 3, &file).await.expect("a cluster is restored");
    assert!(revision > 100, "there is a history at {revision}");
    for at in [revision, revision / 2] {
        let expected = contents(&old, FIRST, at).await;
        assert!(!expected.is_empty(), "there is something at {at}");
        for node in new.all() {
            assert_eq!(contents(&new, node, at).await, expected, "{node} at revision {at}");
        }
    }
    let mut client = new.client(FIRST).await.expect("a client");
    let key = contents(&new, FIRST, revision).await.remove(0);
    let put = client.put(key.key.clone(), "after", None).await.expect("it is served");
    assert_eq!(put.header().expect("there is one").revision(), revision + 1, "revisions go on");
    let got = client.get(key.key.clone(), None).await.expect("it is served");
    assert_eq!(got.kvs()[0].version(), key.version + 1, "versions go on");

    let expected = contents(&new, FIRST, 0).await;
    new.kill_9_all().expect("they run");
    for node in new.all() {
        new.launch(node).expect("it starts");
    }
    for node in new.all() {
        new.wait_until_ready(node).await.expect("it comes back");
        assert_eq!(contents(&new, node, 0).await, expected, "{node} after all were killed");
    }
    let fourth = new.add_member(FIRST).await.expect("it is taken in");
    new.launch(fourth).expect("it starts");
    new.wait_for_voters(FIRST, 4).await.expect("it catches up");
    new.wait_until_ready(fourth).await.expect("it serves");
    let expected = contents(&new, FIRST, revision / 2).await;
    assert_eq!(contents(&new, fourth, revision / 2).await, expected, "a newcomer has it all");
    for cluster in [old, new] {
        cluster.finish().await.expect("every node stops cleanly");
    }
}

/// Runs a node's directory where a node of the other cluster is expected, until each side has said that the other is
/// none of it.
async fn is_turned_away(own: &Cluster, other: &mut Cluster, dir: &Path) {
    other.kill_9(FIRST).expect("it runs");
    let command = with_flag(&own.command(FIRST), "--listen-peer-urls", other.peer_url(FIRST));
    let mut command = with_flag(&command, "--listen-client-urls", other.client_url(FIRST));
    command.arg("--initial-advertise-peer-urls").arg(own.peer_url(FIRST));
    let log = dir.join("stranger.log");
    let stranger = Process::start(command, &log).expect("it starts");
    let began = Instant::now();
    loop {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let heard = other.log(NodeIndex(1));
        if said.contains("closed a connection on the peer port")
            && said.contains("of cluster")
            && heard.contains("does not take this one for a peer")
        {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "the stranger: {said}\nthe other: {heard}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(stranger);
    std::fs::remove_file(log).expect("it is there");
    other.restart(FIRST).await.expect("it comes back");
}

#[tokio::test]
async fn nodes_of_the_old_cluster_and_of_the_restored_one_turn_each_other_away() {
    let mut old = Cluster::start(BINARY, 3).await.expect("a cluster starts");
    let mut client = old.client(FIRST).await.expect("a client");
    client.put("k", "v", None).await.expect("it is served");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("backup");
    let revision = save(&old, FIRST, &file).await;
    let mut new = Cluster::restore(BINARY, 3, &file).await.expect("a cluster is restored");
    client.put("k", "old", None).await.expect("it is served");

    new.kill_9(FIRST).expect("it runs");
    is_turned_away(&new, &mut old, dir.path()).await;
    new.restart(FIRST).await.expect("it comes back");
    old.kill_9(FIRST).expect("it runs");
    is_turned_away(&old, &mut new, dir.path()).await;
    old.restart(FIRST).await.expect("it comes back");
    for node in new.all() {
        assert_eq!(contents(&new, node, 0).await[0].mod_revision, revision, "{node}");
    }
    for cluster in [old, new] {
        cluster.finish().await.expect("every node stops cleanly");
    }
}

#[tokio::test]
async fn a_file_that_is_not_whole_is_refused_and_nothing_is_made_of_it() {
    let (dir, file, _) = small_backup().await;
    let whole = std::fs::read(&file).expect("it was written");
    let data = dir.path().join("data");
    let (path, data_dir) = (file.to_str().expect("plain"), data.to_str().expect("plain"));
    let restore = ["snapshot", "restore", path, "--data-dir", data_dir];
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let mut of_etcd = whole.clone();
    of_etcd[16..20].copy_from_slice(&[0xed, 0xda, 0x0c, 0xed]);
    for (content, why) in [
        (&whole[..whole.len() / 2], "checksum"),
        (&whole[..7], "too short"),
        (&flipped, "checksum"),
        (&of_etcd, "bbolt"),
    ] {
        std::fs::write(&file, content).expect("it is written");
        let refused = quorate(&restore).await;
        assert_eq!(refused.code, Some(1), "{why}");
        assert!(refused.stderr.contains(why), "{why}: {}", refused.stderr);
        assert!(!data.exists(), "{why}: a directory was made");
    }
}

#[tokio::test]
async fn a_directory_is_filled_once_and_one_that_was_not_filled_wholly_can_be_again() {
    let (dir, file, revision) = small_backup().await;
    let mut cluster = Cluster::restore(BINARY, 1, &file).await.expect("a cluster is restored");
    let restore = |cluster: &Cluster| run_to_end(cluster.restore_command(FIRST, &file));
    cluster.terminate(FIRST).await.expect("it stops");
    let again = restore(&cluster).await.expect("it ends by itself");
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("holds the data of node"), "{}", again.stderr);

    // As a restore leaves it that was killed.
    let data = cluster.data_dir(FIRST);
    let half = data.join("engine/1/1/half");
    std::fs::remove_dir_all(&data).expect("it is there");
    std::fs::create_dir_all(data.join("engine/1/1")).expect("it is made");
    std::fs::write(&half, b"half").expect("it is written");
    std::fs::write(data.join("RESTORING"), b"").expect("it is written");
    let refused = run_to_end(cluster.command(FIRST)).await.expect("it ends by itself");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("did not come to its end"), "{}", refused.stderr);
    let restored = restore(&cluster).await.expect("it ends by itself");
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    assert!(!half.exists(), "what the first attempt left is gone");
    cluster.restart(FIRST).await.expect("it serves");
    assert_eq!(contents(&cluster, FIRST, 0).await[0].mod_revision, revision);
    cluster.finish().await.expect("every node stops cleanly");

    let (path, strangers) = (file.to_str().expect("plain"), dir.path().to_str().expect("plain"));
    let refused = quorate(&["snapshot", "restore", path, "--data-dir", strangers]).await;
    assert!(refused.stderr.contains("is not empty"), "{}", refused.stderr);
}

#[tokio::test]
async fn a_raised_revision_keeps_the_keys_and_hides_the_history() {
    let (dir, file, revision) = small_backup().await;
    let path = file.to_str().expect("plain");
    let alone = quorate(&["snapshot", "restore", path, "--bump-revision", "1000"]).await;
    assert_eq!(alone.code, Some(2), "it takes --mark-compacted as well");
    let mut cluster = Cluster::restore(BINARY, 1, &file).await.expect("a cluster is restored");
    cluster.terminate(FIRST).await.expect("it stops");
    let raised = dir.path().join("raised");
    let mut command = with_flag(&cluster.restore_command(FIRST, &file), "--data-dir", &raised);
    command.args(["--bump-revision", "1000", "--mark-compacted", "--json"]);
    let restored = json(&run_to_end(command).await.expect("it ends by itself"));
    assert_eq!(restored["revision"], revision + 1000);
    std::fs::remove_dir_all(cluster.data_dir(FIRST)).expect("it is there");
    std::fs::rename(&raised, cluster.data_dir(FIRST)).expect("it is there");
    cluster.restart(FIRST).await.expect("it serves");
    let found = contents(&cluster, FIRST, 0).await;
    assert_eq!((found[0].mod_revision, found[0].version), (revision, 20));
    let mut client = cluster.client(FIRST).await.expect("a client");
    let early = GetOptions::new().with_revision(revision);
    let refused = client.get("k", Some(early)).await.expect_err("it is compacted");
    assert!(refused.to_string().contains("has been compacted"), "{refused}");
    let put = client.put("k", "v", None).await.expect("it is served");
    assert_eq!(put.header().expect("there is one").revision(), revision + 1001);
    cluster.finish().await.expect("every node stops cleanly");
}
