//! A data directory that is not this node's to use, or no longer what it was.

use std::fs;
use std::path::{Path, PathBuf};

use quorate_torture::NodeIndex;
use quorate_torture::command::with_flag;

use crate::{FAILED, cluster, fails};

const FIRST: NodeIndex = NodeIndex(0);
const SECOND: NodeIndex = NodeIndex(1);

#[tokio::test]
async fn a_data_directory_that_another_process_holds_is_refused_with_the_holders_id() {
    let mut cluster = cluster(2).await;
    cluster.kill_9(SECOND).expect("it runs");
    // The second node's ports are free, its directory is not the one it was given.
    let command = with_flag(&cluster.command(SECOND), "--data-dir", cluster.data_dir(FIRST));
    let lock = fs::read_to_string(cluster.data_dir(FIRST).join("LOCK")).expect("there is a lock");
    let words = ["in use by another process", lock.trim(), "a directory of its own"];
    fails(command, FAILED, &words).await;
    cluster.restart(SECOND).await.expect("a killed node's own lock is given up");
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn a_data_directory_of_another_node_or_cluster_or_of_a_newer_format_is_refused_as_it_is() {
    let mut cluster = cluster(2).await;
    for node in cluster.all() {
        cluster.terminate(node).await.expect("it stops");
    }
    let dir = cluster.data_dir(FIRST);
    let identity = fs::read_to_string(dir.join("IDENTITY")).expect("there is an identity");

    let of_another_node = with_flag(&cluster.command(SECOND), "--data-dir", &dir);
    let words = ["belongs to node", "check the directory's path", dir.to_str().expect("text")];
    fails(of_another_node, FAILED, &words).await;

    let of_another_cluster = with_flag(&cluster.command(FIRST), "--initial-cluster-token", "other");
    fails(of_another_cluster, FAILED, &["belongs to cluster", "check the directory's path"]).await;

    let (body, _) = identity.split_once("crc32c").expect("it ends with a checksum");
    let newer = body.replace("format 2\n", "format 7\n");
    assert_ne!(newer, body, "the format is stated as expected");
    let newer = format!("{newer}crc32c {:08x}\n", crc32c::crc32c(newer.as_bytes()));
    fs::write(dir.join("IDENTITY"), &newer).expect("it can be written");
    let words = ["has format 7", "reads up to 2", "run a newer binary"];
    fails(cluster.command(FIRST), FAILED, &words).await;

    let damaged = newer.replace("format 7", "format 8");
    fs::write(dir.join("IDENTITY"), damaged).expect("it can be written");
    let words = ["IDENTITY is corrupt", "restore this node from its peers"];
    fails(cluster.command(FIRST), FAILED, &words).await;

    fs::write(dir.join("IDENTITY"), identity).expect("it can be written");
    for node in cluster.all() {
        cluster.launch(node).expect("it starts");
    }
    for node in cluster.all() {
        cluster.wait_until_ready(node).await.expect("none of the refusals did any harm");
    }
    cluster.finish().await.expect("every node stops cleanly");
}

/// The one segment of a log that is far from full.
fn segment(data_dir: &Path) -> PathBuf {
    let files = fs::read_dir(data_dir.join("log")).expect("there is a log");
    let paths = files.map(|file| file.expect("it can be listed").path());
    let segments: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "segment")).collect();
    let [segment] = &segments[..] else { panic!("not one segment: {segments:?}") };
    segment.clone()
}

#[tokio::test]
async fn a_flipped_bit_in_the_log_is_named_with_its_file_and_place_and_nothing_is_changed() {
    let mut cluster = cluster(1).await;
    let mut client = cluster.client(FIRST).await.expect("a client");
    for number in 0..50 {
        client.put(format!("key {number}"), "v".repeat(100), None).await.expect("a put");
    }
    cluster.terminate(FIRST).await.expect("it stops");
    let path = segment(&cluster.data_dir(FIRST));
    let whole = fs::read(&path).expect("it can be read");
    let end = whole.iter().rposition(|byte| *byte != 0).expect("something was written");
    let middle = (end / 2..end).find(|at| whole[*at] != 0).expect("there are records");
    let mut spoilt = whole.clone();
    spoilt[middle] ^= 1;
    fs::write(&path, &spoilt).expect("it can be written");

    let file = path.to_str().expect("text");
    let words = [file, "at byte ", "corrupt", "Restore this node from its peers", "from a backup"];
    let finished = fails(cluster.command(FIRST), FAILED, &words).await;
    let (_, place) = finished.stderr.split_once("at byte ").expect("a place is named");
    let digits: String = place.chars().take_while(char::is_ascii_digit).collect();
    let named: usize = digits.parse().expect("it is a number");
    assert!(named <= middle && middle - named < 1000, "byte {named} is named, not {middle}");
    assert!(fs::read(&path).expect("it can be read") == spoilt, "the file was changed");

    fs::write(&path, &whole).expect("it can be written");
    cluster.restart(FIRST).await.expect("the right bytes are as good as ever");
    let mut client = cluster.client(FIRST).await.expect("a client");
    let got = client.get("key 49", None).await.expect("a get");
    assert_eq!(got.count(), 1);
    cluster.finish().await.expect("every node stops cleanly");
}
