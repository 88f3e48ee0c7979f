//! The data of one member is not that of the others: the leader finds it out, all are told which member it is, and nothing
//! is changed any more.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_client::{AlarmAction, AlarmType, Client};
use quorate_engine::{Batch, Engine, EngineOptions, LsmEngine, View};
use quorate_kv::node::DEFAULT_GROUP;
use quorate_torture::{Cluster, NodeIndex};

const VICTIM: NodeIndex = NodeIndex(1);
const WITNESS: NodeIndex = NodeIndex(2);
const WITHIN: Duration = Duration::from_secs(30);

/// Puts another value in the place of one, wherever a stopped node's store has it, as a bug or a disk might.
fn falsify(data_dir: &Path, genuine: &[u8], falsified: &[u8]) {
    assert_eq!(genuine.len(), falsified.len(), "a record's length is part of it");
    let dir = data_dir.join("engine").join(DEFAULT_GROUP.0.to_string());
    let mut engine = LsmEngine::open(&dir, EngineOptions::default()).expect("the store is there");
    let mut batch = Batch::default();
    let pairs: Result<Vec<(Bytes, Bytes)>, _> = engine.scan(..).collect();
    for (key, record) in pairs.expect("the store can be read") {
        let found = record.windows(genuine.len()).position(|window| window == genuine);
        if let Some(at) = found {
            let mut record = record.to_vec();
            record[at..at + genuine.len()].copy_from_slice(falsified);
            batch.put(key, record);
        }
    }
    assert!(!batch.is_empty(), "the value is not there to be falsified");
    engine.write(&mut batch);
    engine.close().expect("the store can be written");
}

/// The members that an alarm is raised about.
async fn alarms(client: &mut Client) -> Vec<(u64, AlarmType)> {
    let listed = client.alarm(AlarmAction::Get, AlarmType::None, None).await;
    let listed = listed.expect("the node answers");
    listed.alarms().iter().map(|member| (member.member_id(), member.alarm())).collect()
}

fn assert_corrupt(refused: etcd_client::Error) {
    let etcd_client::Error::GRpcStatus(status) = refused else { panic!("no status: {refused}") };
    assert_eq!(status.code(), tonic::Code::DataLoss);
    assert_eq!(status.message(), "etcdserver: corrupt cluster");
}

#[tokio::test]
async fn a_member_whose_data_was_changed_is_found_and_named_and_nothing_changes_any_more() {
    let flags = ["--corrupt-check-time", "300ms"];
    let cluster = Cluster::start_with(env!("CARGO_BIN_EXE_quorate"), 3, &flags).await;
    let mut cluster = cluster.expect("a cluster starts");
    let mut client = cluster.client(WITNESS).await.expect("a client");
    client.put("key", "a genuine value", None).await.expect("it is taken");

    let began = Instant::now();
    while !cluster.all().any(|node| cluster.log(node).contains("compared the members' data")) {
        assert!(began.elapsed() < WITHIN, "nobody has compared anything");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(alarms(&mut client).await, [], "all are alike");

    let mut of_victim = cluster.client(VICTIM).await.expect("a client");
    let status = of_victim.status().await.expect("it answers");
    let victim = status.header().expect("an answer has a header").member_id();
    cluster.terminate(VICTIM).await.expect("it stops");
    falsify(&cluster.data_dir(VICTIM), b"a genuine value", b"a falsified one");
    cluster.restart(VICTIM).await.expect("it comes back");

    let began = Instant::now();
    while alarms(&mut client).await.is_empty() {
        assert!(began.elapsed() < WITHIN, "nobody has noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(alarms(&mut client).await, [(victim, AlarmType::Corrupt)]);
    // The witness has told of the alarm, and so knows it.
    assert_corrupt(client.put("key", "another", None).await.expect_err("nothing is changed"));
    assert_corrupt(client.delete("key", None).await.expect_err("nothing is changed"));
    assert_corrupt(client.lease_grant(5, None).await.expect_err("nothing is changed"));
    let got = client.get("key", None).await.expect("reads go on");
    assert_eq!(got.kvs().first().map(|kv| kv.value()), Some(&b"a genuine value"[..]));
    cluster.finish().await.expect("every node stops cleanly");
}
