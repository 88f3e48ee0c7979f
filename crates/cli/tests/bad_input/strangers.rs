//! Whoever speaks on a port without having any business there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quorate_torture::cluster::DEADLINE;
use quorate_torture::command::with_flag;
use quorate_torture::process::Process;
use quorate_torture::{Cluster, NodeIndex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster;

const FIRST: NodeIndex = NodeIndex(0);
const STRANGERS: &str = "quorate_peer_strangers_total";

/// Says something and waits until the other side hangs up.
async fn say_until_hung_up(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("the port takes connections");
    // The node may hang up before it has heard everything.
    let _ = stream.write_all(bytes).await;
    let mut heard = Vec::new();
    let hung_up = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut heard)).await;
    // To be reset is to be hung up on as well.
    let _ = hung_up.unwrap_or_else(|_| panic!("{address} never hung up on {bytes:?}"));
    heard
}

/// Says something and goes away.
async fn say_and_leave(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("the port takes connections");
    stream.write_all(bytes).await.expect("a few bytes are taken");
}

async fn assert_serves(cluster: &Cluster) {
    let mut client = cluster.client(FIRST).await.expect("a client");
    client.put("k", "v", None).await.expect("the node serves");
}

async fn wait_for_strangers(cluster: &Cluster, count: f64) {
    let began = Instant::now();
    loop {
        let seen = cluster.metric(FIRST, STRANGERS).await.expect("the node counts strangers");
        assert!(seen <= count, "{seen} strangers were counted, of {count}");
        if seen == count {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "{seen} strangers were counted, not {count}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Bytes without a pattern, the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = |_| {
        // Xorshift (Marsaglia, "Xorshift RNGs", 2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(next).collect()
}

#[tokio::test]
async fn who_is_no_peer_is_hung_up_on_and_counted_and_does_no_harm() {
    let cluster = cluster(1).await;
    let address = cluster.peer_address(FIRST);
    let huge_length = [&[0xff; 4][..], &[1, 1, 0, 0], &[0; 400]].concat();
    let mut wrong_checksum = vec![4, 0, 0, 0, 1, 1, 0, 0, 9, 9, 9, 9];
    wrong_checksum.extend_from_slice(b"body");
    let garbage: [&[u8]; 4] =
        [&noise(4096), &huge_length, &wrong_checksum, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"];
    for (place, bytes) in garbage.into_iter().enumerate() {
        say_until_hung_up(address, bytes).await;
        wait_for_strangers(&cluster, (place + 1) as f64).await;
        assert_serves(&cluster).await;
    }
    say_and_leave(address, b"").await;
    wait_for_strangers(&cluster, 5.0).await;
    let log = cluster.log(FIRST);
    assert_eq!(log.matches("closed a connection on the peer port").count(), 5, "{log}");
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn a_node_of_another_cluster_is_turned_away_and_both_say_why() {
    let (ours, theirs) = (cluster(1).await, cluster(1).await);
    // A node of another cluster that takes ours for one of its members.
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let mut theirs_down = theirs;
    theirs_down.terminate(FIRST).await.expect("it stops");
    let members = format!(
        "n1=http://{},wrong=http://{}",
        theirs_down.peer_address(FIRST),
        ours.peer_address(FIRST)
    );
    let command = with_flag(&theirs_down.command(FIRST), "--initial-cluster", members);
    let command = with_flag(&command, "--data-dir", dir.path().join("data"));
    let stranger = Process::start(command, &log).expect("it starts");

    let said_by = |log: &str, words: &[&str]| words.iter().all(|word| log.contains(word));
    let began = Instant::now();
    let words = ["does not take this one for a peer", "of cluster", "--initial-cluster-token"];
    loop {
        let theirs = std::fs::read_to_string(&log).expect("it has a log");
        let strangers = ours.metric(FIRST, STRANGERS).await.expect("the node counts strangers");
        if said_by(&theirs, &words) && strangers >= 1.0 {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{strangers} strangers; the other's log: {theirs}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let words = ["closed a connection on the peer port", "of cluster", "each its own ports"];
    assert!(said_by(&ours.log(FIRST), &words), "{}", ours.log(FIRST));
    assert_serves(&ours).await;
    drop(stranger);
    let log = std::fs::read_to_string(&log).expect("it has a log");
    assert!(!log.contains("panicked"), "{log}");
    ours.finish().await.expect("every node stops cleanly");
}

/// What opens an HTTP/2 connection, with no settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The head of a put as HTTP/2 sends it: a frame of headers, none of them compressed.
fn put_head() -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in
        [(&[0x04][..], "/etcdserverpb.KV/Put"), (&[0x0f, 0x10], "application/grpc")]
    {
        block.extend_from_slice(name);
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    let mut frame = vec![0, 0, block.len() as u8, 0x01, 0x04, 0, 0, 0, 1];
    frame.append(&mut block);
    frame
}

#[tokio::test]
async fn garbage_on_the_client_port_is_hung_up_on_and_does_no_harm() {
    let cluster = cluster(1).await;
    let address = cluster.client_address(FIRST);
    let in_the_preface = [&PREFACE[..20], &noise(1000)].concat();
    let after_the_preface = [PREFACE, &noise(1000)].concat();
    let a_head_that_never_ends =
        [b"GET /health HTTP/1.1\r\nX: ".as_ref(), &vec![b'x'; 2_000_000]].concat();
    for bytes in [&noise(4096), &in_the_preface, &after_the_preface, &a_head_that_never_ends] {
        say_until_hung_up(address, bytes).await;
        assert_serves(&cluster).await;
    }
    cluster.finish().await.expect("every node stops cleanly");
}

/// A frame of data that carries `message` as gRPC frames one of `claimed` bytes, and ends the request if it `is_last`.
fn put_body(message: &[u8], claimed: u8, is_last: bool) -> Vec<u8> {
    let length = (message.len() + 5) as u8;
    let mut frame = vec![0, 0, length, 0x00, u8::from(is_last), 0, 0, 0, 1, 0, 0, 0, 0, claimed];
    frame.extend_from_slice(message);
    frame
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_request_leaves_nothing_behind() {
    let cluster = cluster(1).await;
    let address = cluster.client_address(FIRST);
    let head = [PREFACE, &put_head()].concat();
    let half_a_put = [&head[..], &put_body(b"\x0a\x01h\x12\x5fv", 100, false)].concat();
    let half_a_get: &[u8] = b"GET /health HTTP/1.1\r\nHost: loc";
    for bytes in [half_a_get, PREFACE, &head, &half_a_put, b""] {
        say_and_leave(address, bytes).await;
    }
    // The same bytes with a whole message in them are a put, so it is by its half that the other one failed.
    let whole_put = [&head[..], &put_body(b"\x0a\x01w\x12\x01v", 6, true)].concat();
    let mut stream = TcpStream::connect(address).await.expect("the port takes connections");
    stream.write_all(&whole_put).await.expect("a few bytes are taken");
    let mut client = cluster.client(FIRST).await.expect("a client");
    let began = Instant::now();
    while client.get("w", None).await.expect("the node serves").count() == 0 {
        assert!(began.elapsed() < DEADLINE, "the whole put was not carried out");
    }
    let got = client.get("h", None).await.expect("the node serves");
    assert_eq!(got.count(), 0, "half a put was carried out");
    loop {
        let pending = cluster.metric(FIRST, "etcd_server_proposals_pending").await;
        if pending.expect("the node counts what is under way") == 0.0 {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "something is under way for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.finish().await.expect("every node stops cleanly");
}
