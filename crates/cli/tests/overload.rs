//! Clients that ask for more than there is: the surplus is refused at once, others are served meanwhile, and the node's
//! memory and files stay within bounds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use etcd_client::{Client, Error};
use quorate_torture::cluster::DEADLINE;
use quorate_torture::{Cluster, NodeIndex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::Code;

const FIRST: NodeIndex = NodeIndex(0);
const MIB: u64 = 1 << 20;
/// What opens an HTTP/2 connection, with no settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// HTTP/2's question whether the other side is there.
const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

async fn cluster(size: usize) -> Cluster {
    Cluster::start(env!("CARGO_BIN_EXE_quorate"), size).await.expect("a cluster starts")
}

/// The first stream's request: its head, and the one message that it carries.
fn call(path: &str, message: &[u8]) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in [(&[0x04][..], path), (&[0x0f, 0x10], "application/grpc")] {
        block.extend_from_slice(name);
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    let mut frames = vec![0, 0, block.len() as u8, 0x01, 0x04, 0, 0, 0, 1];
    frames.append(&mut block);
    let length = message.len() as u8;
    frames.extend_from_slice(&[0, 0, length + 5, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, length]);
    frames.extend_from_slice(message);
    frames
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the port takes connections")
}

/// What the system knows of the first node's process.
struct Watched {
    proc: PathBuf,
}

impl Watched {
    fn of(cluster: &mut Cluster) -> Self {
        let pid = cluster.pid(FIRST).expect("the node runs");
        Watched { proc: PathBuf::from(format!("/proc/{pid}")) }
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.proc.join("fd")).expect("it can be read").count()
    }

    /// The most memory that it ever had, or has now, in bytes.
    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc.join("status")).expect("it can be read");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
        let kib = line.trim_start_matches(':').trim().trim_end_matches(" kB");
        kib.parse::<u64>().expect("it is a number") * 1024
    }

    fn most(&self) -> u64 {
        self.memory("VmHWM")
    }
}

/// How many connections a flood comes over: one client would not take so many answers to what it has not read.
const CLIENTS: usize = 4;

async fn clients(cluster: &Cluster, node: NodeIndex) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(cluster.client(node).await.expect("a client"));
    }
    clients
}

/// Another client's put, which must succeed while somebody asks for too much.
async fn put(client: &mut Client) {
    let put = tokio::time::timeout(DEADLINE, client.put("other", "v", None)).await;
    put.expect("others are answered in time").expect("others are served");
}

fn refused(error: &Error, code: Code, words: &str) -> bool {
    let Error::GRpcStatus(status) = error else { return false };
    status.code() == code && status.message() == words
}

#[tokio::test]
async fn puts_beyond_what_is_admitted_are_refused_at_once_and_the_rest_are_done() {
    /// What may be under way in one group.
    const ADMITTED: usize = 20_000;
    const SENT: usize = 24_000;
    let mut cluster = cluster(3).await;
    let leader = cluster.leader().await.expect("there is one");
    let clients = clients(&cluster, leader).await;
    let others: Vec<NodeIndex> = cluster.all().filter(|node| *node != leader).collect();
    for node in &others {
        cluster.pause(*node).expect("it is running");
    }
    // Without a majority nothing is done, so what is answered now was refused.
    let mut answers = JoinSet::new();
    for number in 0..SENT {
        let mut kv = clients[number % CLIENTS].kv_client();
        answers.spawn(async move { kv.put(format!("key-{number}"), "v", None).await });
    }
    let (mut too_many, mut late) = (0, 0);
    while too_many + late < SENT - ADMITTED {
        let answer = tokio::time::timeout(DEADLINE, answers.join_next()).await;
        let answer = answer.expect("the surplus is refused").expect("more was sent");
        match answer.expect("no task panics") {
            Ok(_) => panic!("a put was done without a majority"),
            Err(error)
                if refused(&error, Code::ResourceExhausted, "etcdserver: too many requests") =>
            {
                too_many += 1;
            }
            // Time runs out for what was admitted.
            Err(_) => late += 1,
        }
    }
    assert!(too_many > 0, "nothing was refused, {late} were late");
    for node in &others {
        cluster.resume(*node).expect("it is paused");
    }
    while let Some(answer) = answers.join_next().await {
        // One whose time ran out may have been done; what counts is that each is answered.
        let _ = answer.expect("no task panics");
    }
    put(&mut cluster.client(leader).await.expect("a client")).await;
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn a_client_that_writes_as_fast_as_it_can_keeps_no_other_from_writing() {
    const SENT: usize = 30_000;
    const GROWTH_MAX: u64 = 256 * MIB;
    let mut cluster = cluster(1).await;
    let node = Watched::of(&mut cluster);
    let before = node.memory("VmRSS");
    let greedy = clients(&cluster, FIRST).await;
    let mut other = cluster.client(FIRST).await.expect("a client");
    let mut answers = JoinSet::new();
    for number in 0..SENT {
        let mut kv = greedy[number % CLIENTS].kv_client();
        answers
            .spawn(async move { kv.put(format!("key-{}", number % 100), [7; 1024], None).await });
    }
    let mut puts_meanwhile = 0;
    while !answers.is_empty() {
        put(&mut other).await;
        puts_meanwhile += 1;
        while let Some(answer) = answers.try_join_next() {
            if let Err(error) = answer.expect("no task panics") {
                let too_many = "etcdserver: too many requests";
                assert!(refused(&error, Code::ResourceExhausted, too_many), "{error}");
            }
        }
    }
    let growth = node.most() - before;
    assert!(puts_meanwhile > 1 && growth < GROWTH_MAX, "{puts_meanwhile} puts, {growth} bytes");
    cluster.finish().await.expect("every node stops cleanly");
}

/// One connection that comes to nothing.
async fn come_and_go(address: SocketAddr, number: usize) {
    let mut stream = connect(address).await;
    let watch = [PREFACE, &call("/etcdserverpb.Watch/Watch", b"\x0a\x03\x0a\x01k")].concat();
    let said: &[u8] = match number % 5 {
        0 => b"",
        1 => b"\x16\x03\x01\xff\x00garbage that is no HTTP\r\n\r\n",
        2 => PREFACE,
        3 => b"GET /health HTTP/1.1\r\nHost: l",
        _ => &watch,
    };
    // The node may have hung up already.
    let _ = stream.write_all(said).await;
    if number.is_multiple_of(2) {
        // Gone without a word: the other side sees a reset.
        stream.set_zero_linger().expect("it is a socket");
    }
}

#[tokio::test]
async fn connections_that_come_and_go_leave_no_file_and_no_memory_behind() {
    const CONNECTIONS: usize = 20_000;
    const AT_ONCE: usize = 100;
    const GROWTH_MAX: u64 = 64 * MIB;
    let mut cluster = cluster(1).await;
    let node = Watched::of(&mut cluster);
    let address = cluster.client_address(FIRST);
    let mut client = cluster.client(FIRST).await.expect("a client");
    put(&mut client).await;
    let (files, memory) = (node.files(), node.memory("VmRSS"));
    for first in (0..CONNECTIONS).step_by(AT_ONCE) {
        let connections: JoinSet<()> =
            (first..first + AT_ONCE).map(|number| come_and_go(address, number)).collect();
        connections.join_all().await;
        put(&mut client).await;
    }
    let began = Instant::now();
    // The thread of the watches may have come, and with it what it waits on.
    while node.files() > files + 8 {
        assert!(began.elapsed() < DEADLINE, "{} files are open, {files} were", node.files());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster
        .wait_for_metric(FIRST, "etcd_debugging_mvcc_watcher_total", |left| left == 0.0)
        .await
        .expect("no watch is left");
    let growth = node.most().saturating_sub(memory);
    assert!(growth < GROWTH_MAX, "{growth} bytes more than before");
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn who_asks_for_much_and_reads_nothing_takes_no_memory_and_holds_nobody_up() {
    const VALUES: usize = 512;
    const VALUE_BYTES: usize = 128 << 10;
    const READERS: usize = 16;
    /// Half of one answer; all of them together would be sixteen.
    const GROWTH_MAX: u64 = (VALUES * VALUE_BYTES / 2) as u64;
    let mut cluster = cluster(1).await;
    let mut client = cluster.client(FIRST).await.expect("a client");
    for number in 0..VALUES {
        client
            .put(format!("big-{number:04}"), vec![7; VALUE_BYTES], None)
            .await
            .expect("it is served");
    }
    let node = Watched::of(&mut cluster);
    let before = node.most();
    let range = call("/etcdserverpb.KV/Range", b"\x0a\x03big\x12\x03bih");
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut stream = connect(cluster.client_address(FIRST)).await;
        stream.write_all(&[PREFACE, &range].concat()).await.expect("a few bytes are taken");
        // As much as shows that the answer has begun.
        let mut begun = [0; 1024];
        let read = tokio::time::timeout(DEADLINE, stream.read_exact(&mut begun)).await;
        read.expect("the answer begins in time").expect("the answer begins");
        readers.push(stream);
    }
    for _ in 0..20 {
        put(&mut client).await;
        assert_eq!(client.get("big-0000", None).await.expect("it is served").kvs().len(), 1);
    }
    let growth = node.most() - before;
    assert!(growth < GROWTH_MAX, "{READERS} readers who don't read take {growth} bytes");
    drop(readers);
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn beyond_the_places_for_slow_readers_one_more_is_refused_until_they_have_gone() {
    /// As many as may be answered at a time with what does not fit into memory.
    const PLACES: usize = 128;
    const VALUES: usize = 256;
    const VALUE_BYTES: usize = 128 << 10;
    const READ: usize = 16;
    let cluster = cluster(1).await;
    let mut client = cluster.client(FIRST).await.expect("a client");
    for number in 0..VALUES {
        let put = client.put(format!("big-{number:04}"), vec![7; VALUE_BYTES], None);
        put.await.expect("it is served");
    }
    let range = call("/etcdserverpb.KV/Range", b"\x0a\x03big\x12\x03bih");
    let mut readers = Vec::new();
    for _ in 0..PLACES {
        let mut stream = connect(cluster.client_address(FIRST)).await;
        stream.write_all(&[PREFACE, &range].concat()).await.expect("a few bytes are taken");
        // As much as shows that the answer has begun.
        let mut begun = [0; 1024];
        let read = tokio::time::timeout(DEADLINE, stream.read_exact(&mut begun)).await;
        read.expect("the answer begins in time").expect("the answer begins");
        readers.push(stream);
    }
    let some = Some(etcd_client::GetOptions::new().with_prefix().with_limit(READ as i64));
    let error = client.get("big", some.clone()).await.expect_err("there is no place left");
    let words = "etcdserver: too many requests";
    assert!(refused(&error, Code::ResourceExhausted, words), "{error}");
    let one = client.get("big-0000", None).await.expect("what is short needs no place");
    assert_eq!(one.kvs().len(), 1);
    drop(readers);
    let deadline = Instant::now() + DEADLINE;
    loop {
        match client.get("big", some.clone()).await {
            Ok(found) => break assert_eq!(found.kvs().len(), READ),
            Err(error) if refused(&error, Code::ResourceExhausted, words) => {
                assert!(Instant::now() < deadline, "the places are not given back");
            }
            Err(error) => panic!("{error}"),
        }
    }
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn pings_without_end_take_no_memory_and_hold_nobody_up() {
    const GROWTH_MAX: u64 = 16 * MIB;
    let mut cluster = cluster(1).await;
    let mut client = cluster.client(FIRST).await.expect("a client");
    put(&mut client).await;
    let node = Watched::of(&mut cluster);
    let before = node.most();
    let mut stream = connect(cluster.client_address(FIRST)).await;
    stream.write_all(PREFACE).await.expect("a few bytes are taken");
    let pings = PING.repeat(4096);
    // As many as the node takes while nobody reads its answers: once these have filled the sockets, it reads no more.
    let mut written = 0;
    while let Ok(taken) = tokio::time::timeout(Duration::from_secs(2), stream.write(&pings)).await {
        written += taken.expect("it is not hung up on");
        put(&mut client).await;
    }
    assert!(written > pings.len(), "only {written} bytes were taken");
    put(&mut client).await;
    let growth = node.most() - before;
    assert!(growth < GROWTH_MAX, "{written} bytes of pings take {growth} bytes");
    cluster.finish().await.expect("every node stops cleanly");
}
