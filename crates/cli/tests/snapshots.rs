//! A backup of a cluster that runs: saved whole, checked, and refused once a byte of it is another.

use std::process::Command;

use quorate_torture::command::{Finished, run_to_end};
use quorate_torture::{Cluster, NodeIndex};
use serde_json::Value;

const KEYS: usize = 500;

async fn quorate(arguments: &[&str]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(arguments);
    run_to_end(command).await.expect("it ends by itself")
}

fn json(finished: &Finished) -> Value {
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    serde_json::from_str(&finished.stdout).expect("it prints JSON")
}

#[tokio::test]
async fn a_backup_holds_what_the_cluster_held_and_a_damaged_one_is_refused() {
    let cluster = Cluster::start(env!("CARGO_BIN_EXE_quorate"), 3).await.expect("a cluster starts");
    let mut client = cluster.client(NodeIndex(1)).await.expect("a client");
    let value = vec![b'v'; 4096];
    let mut revision = 0;
    for key in 0..KEYS {
        let put = client.put(format!("key-{key:04}"), value.clone(), None).await;
        revision = put.expect("it is served").header().expect("there is one").revision();
    }
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("backup");
    let path = file.to_str().expect("it is plain");
    let endpoint = cluster.client_address(NodeIndex(1)).to_string();
    let saved = quorate(&["snapshot", "save", path, "--json", "--endpoints", &endpoint]).await;
    let saved = json(&saved);
    assert_eq!((&saved["revision"], &saved["totalKey"]), (&revision.into(), &KEYS.into()));
    let bytes = std::fs::read(&file).expect("it was written");
    assert!(bytes.len() > KEYS * value.len(), "it is more than one piece");
    assert_eq!(bytes.len() % 512, 32, "stock clients look for a digest by the length");
    assert_eq!(std::fs::read_dir(dir.path()).expect("it is there").count(), 1, "no part is left");
    let status = json(&quorate(&["snapshot", "status", path, "--json"]).await);
    assert_eq!(status, saved);

    for at in [0, 100, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        std::fs::write(&file, damaged).expect("it is written");
        let refused = quorate(&["snapshot", "status", path]).await;
        assert_eq!(refused.code, Some(1), "byte {at}");
        assert!(refused.stderr.contains("it is damaged"), "byte {at}: {}", refused.stderr);
    }
    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("it is written");
    let refused = quorate(&["snapshot", "status", path]).await;
    assert_eq!(refused.code, Some(1), "half a file");
    cluster.finish().await.expect("every node stops cleanly");
}
