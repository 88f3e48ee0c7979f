//! The event loop with a protocol that only remembers: what it answers, when, and how it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_core::{Input, NodeId, Out, Protocol};
use quorate_runtime::{
    Codec, Driver, DriverError, EnquiryError, Handle, Identity, Metrics, Options, Recovered,
    Roster, Stopped, Undecodable, enquire,
};
use quorate_storage::log::{LogError, LogId, LogOptions};
use quorate_storage::vfs::MemoryVfs;
use tokio::sync::oneshot;

/// Adds up what it is told, durably, and tells the others.
#[derive(Debug)]
struct Sum {
    me: NodeId,
    total: u64,
    heard: u64,
    /// Whom it tells, and how often that has changed.
    peers: BTreeMap<NodeId, Vec<String>>,
    peers_version: u64,
}

enum Request {
    /// Adds, and answers with the total once it is durable.
    Add(u64),
    /// Answers with what the others have said.
    Heard,
    /// From here on the peers are these.
    Meet(BTreeMap<NodeId, Vec<String>>),
    /// Says a number to one node.
    Tell(NodeId, u64),
}

impl Protocol for Sum {
    type Config = (NodeId, Vec<NodeId>);
    type Message = u64;
    type Timer = ();
    type Record = u64;
    type Durable = u64;
    type Request = Request;
    type Response = u64;

    fn fold(durable: &mut u64, _: u64, record: u64) {
        *durable += record;
    }

    fn recover((me, _): &Self::Config, durable: u64, _: &mut Out<'_, Self>) -> Self {
        Sum { me: *me, total: durable, heard: 0, peers: BTreeMap::new(), peers_version: 0 }
    }

    fn step(&mut self, (_, members): &Self::Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: Request::Add(number) } => {
                self.total += number;
                out.persist(number);
                for &peer in members.iter().filter(|peer| **peer != self.me) {
                    out.send(peer, number);
                }
                out.reply(id, self.total);
            }
            Input::Ask { id, request: Request::Heard } => out.reply(id, self.heard),
            Input::Ask { id, request: Request::Meet(peers) } => {
                self.peers = peers;
                self.peers_version += 1;
                out.reply(id, 0);
            }
            Input::Ask { id, request: Request::Tell(peer, number) } => {
                out.send(peer, number);
                out.reply(id, 0);
            }
            Input::Deliver { message, .. } => self.heard += message,
            Input::Fire(()) | Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        self.total.to_string()
    }
}

struct Numbers;

impl Codec<Sum> for Numbers {
    fn encode_message(message: &u64, buffer: &mut BytesMut) {
        buffer.put_u64(*message);
    }
    fn decode_message(mut bytes: Bytes) -> Result<u64, Undecodable> {
        bytes.try_get_u64().map_err(|error| Undecodable { what: error.to_string() })
    }
    fn encode_record(record: &u64, buffer: &mut BytesMut) {
        buffer.put_u64(*record);
    }
    fn decode_record(bytes: Bytes) -> Result<u64, Undecodable> {
        Self::decode_message(bytes)
    }
}

impl Roster<Sum> for Numbers {
    fn version(state: &Sum) -> u64 {
        state.peers_version
    }
    fn peers(state: &Sum) -> BTreeMap<NodeId, Vec<String>> {
        state.peers.clone()
    }
    fn why_halted(state: &Sum) -> Option<String> {
        (state.total > TOTAL_MAX).then(|| format!("it can't count beyond {TOTAL_MAX}"))
    }
}

/// A total above this is one that the protocol can't go on with.
const TOTAL_MAX: u64 = 1_000_000;

/// A node that runs as a task of the test.
struct Running {
    handle: Handle<Request, u64>,
    metrics: Arc<Metrics>,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<Sum, DriverError>>,
}

impl Running {
    /// Asks it to stop, and waits until it has.
    async fn stop(self) -> Result<Sum, DriverError> {
        // It may have ended by itself already.
        let _ = self.stop.send(());
        self.ended.await.expect("the loop does not panic")
    }
}

async fn listen() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("the listener is bound").to_string();
    (listener, address)
}

fn start(
    me: NodeId,
    listener: tokio::net::TcpListener,
    addresses: &BTreeMap<NodeId, String>,
    vfs: MemoryVfs,
) -> Running {
    let members: Vec<NodeId> = addresses.keys().copied().collect();
    let mut log = LogOptions::new(LogId(7));
    log.segment_bytes = 64 << 10;
    let options = Options {
        identity: Identity { cluster: 1, me, address: addresses[&me].clone() },
        addresses: addresses.iter().map(|(peer, at)| (*peer, vec![at.clone()])).collect(),
        hang_up_after: std::time::Duration::ZERO,
        enquiries: echo(),
        listeners: vec![listener.into()],
        dialer: None,
    };
    let metrics = Arc::<Metrics>::default();
    let recovered = Recovered::open::<Numbers>(vfs, "log".into(), log, 0, metrics.clone());
    let recovered = recovered.expect("the log opens");
    let (driver, handle) = Driver::<Sum, Numbers, _>::start((me, members), recovered, options);
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(driver.run(async {
        let _ = stopped.await;
    }));
    Running { handle, metrics, stop, ended }
}

/// Answers every enquiry with itself, but for those that are to have no answer.
fn echo() -> Handle<Bytes, Bytes> {
    let (handle, mut questions) = Handle::<Bytes, Bytes>::channel();
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            if question.request != "silence" {
                // Who asked may have left.
                let _ = question.answer.send(question.request);
            }
        }
    });
    handle
}

async fn start_alone(vfs: MemoryVfs) -> Running {
    let (listener, address) = listen().await;
    start(NodeId(1), listener, &BTreeMap::from([(NodeId(1), address)]), vfs)
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let disk = MemoryVfs::new();
    let node = start_alone(disk.clone()).await;
    assert_eq!(node.handle.ask(Request::Add(2)).await, Ok(2));
    assert_eq!(node.handle.ask(Request::Add(3)).await, Ok(5));
    node.ended.abort();
    // The unluckiest crash: nothing that was not synced is kept.
    disk.crash(&mut |_| 0);
    let node = start_alone(disk).await;
    assert_eq!(node.handle.ask(Request::Add(0)).await, Ok(5));
    node.stop().await.expect("it stops in good order");
}

#[tokio::test]
async fn a_failed_sync_ends_the_loop_and_nothing_that_waited_for_it_leaves() {
    let disk = MemoryVfs::new();
    let node = start_alone(disk.clone()).await;
    assert_eq!(node.handle.ask(Request::Add(2)).await, Ok(2));
    disk.fail_next_sync();
    assert_eq!(node.handle.ask(Request::Add(3)).await, Err(Stopped));
    let ended = node.ended.await.expect("the loop does not panic");
    assert!(matches!(ended, Err(DriverError::Log(LogError::Io { .. }))), "{ended:?}");
}

#[tokio::test]
async fn a_protocol_that_cannot_go_on_ends_the_loop_by_name() {
    let node = start_alone(MemoryVfs::new()).await;
    assert_eq!(node.handle.ask(Request::Add(TOTAL_MAX)).await, Ok(TOTAL_MAX));
    assert_eq!(node.handle.ask(Request::Add(1)).await, Err(Stopped));
    let ended = node.ended.await.expect("the loop does not panic").expect_err("it can't go on");
    assert!(matches!(ended, DriverError::Halted { .. }), "{ended:?}");
    assert!(ended.to_string().contains("can't count beyond 1000000"), "{ended}");
}

#[tokio::test]
async fn a_full_disk_holds_answers_back_until_there_is_room_and_ends_nothing() {
    let disk = MemoryVfs::new();
    let node = start_alone(disk.clone()).await;
    disk.set_capacity(Some(disk.used_bytes()));
    let handle = node.handle.clone();
    // More than fits into a segment, which is all that there is room for.
    let asks = tokio::spawn(async move {
        let mut last = 0;
        for _ in 0..2_000 {
            last = handle.ask(Request::Add(1)).await.expect("the node runs");
        }
        last
    });
    while node.metrics.syncs_put_off.load(Relaxed) < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(node.metrics.is_disk_full() && !asks.is_finished());
    disk.set_capacity(None);
    assert_eq!(asks.await.expect("nothing panics"), 2_000);
    assert!(!node.metrics.is_disk_full());
    node.stop().await.expect("it stops in good order");
    let node = start_alone(disk).await;
    assert_eq!(node.handle.ask(Request::Add(0)).await, Ok(2_000));
}

#[tokio::test]
async fn messages_reach_a_peer_and_reach_it_again_after_it_was_gone() {
    let (first_listener, first) = listen().await;
    let (second_listener, second) = listen().await;
    let addresses = BTreeMap::from([(NodeId(1), first), (NodeId(2), second.clone())]);
    let one = start(NodeId(1), first_listener, &addresses, MemoryVfs::new());
    let two = start(NodeId(2), second_listener, &addresses, MemoryVfs::new());
    tell_until_heard(&one, &two).await;

    // Without the tasks that still hold its port: they end once the loop is gone.
    two.stop().await.expect("it stops in good order");
    let again = rebind(&second).await;
    let two = start(NodeId(2), again, &addresses, MemoryVfs::new());
    tell_until_heard(&one, &two).await;
}

async fn rebind(address: &str) -> tokio::net::TcpListener {
    for _ in 0..2_000 {
        if let Ok(listener) = tokio::net::TcpListener::bind(address).await {
            return listener;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{address} was not given up in ten seconds");
}

/// A message to a peer that is not connected yet is dropped, so it is said until it is heard.
async fn tell_until_heard(one: &Running, two: &Running) {
    for _ in 0..2_000 {
        one.handle.ask(Request::Add(1)).await.expect("the first node runs");
        if two.handle.ask(Request::Heard).await.expect("the second node runs") > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("nothing was heard in ten seconds");
}

/// Says something to a node until it has heard it.
async fn tell(one: &Running, node: NodeId, two: &Running) {
    let before = two.handle.ask(Request::Heard).await.expect("the second node runs");
    for _ in 0..2_000 {
        one.handle.ask(Request::Tell(node, 1)).await.expect("the first node runs");
        if two.handle.ask(Request::Heard).await.expect("the second node runs") > before {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("nothing was heard in ten seconds");
}

/// A node that knows of nobody.
async fn start_without_peers(me: NodeId) -> (Running, String) {
    let (listener, address) = listen().await;
    let alone = BTreeMap::from([(me, address.clone())]);
    (start(me, listener, &alone, MemoryVfs::new()), address)
}

#[tokio::test]
async fn a_peer_that_the_protocol_comes_to_know_of_is_dialled_and_found_again_where_it_moves() {
    let (one, _) = start_without_peers(NodeId(1)).await;
    let (two, address) = start_without_peers(NodeId(2)).await;
    let meet =
        |address: &str| Request::Meet(BTreeMap::from([(NodeId(2), vec![address.to_owned()])]));
    one.handle.ask(meet(&address)).await.expect("the first node runs");
    tell(&one, NodeId(2), &two).await;

    // It moves while the old place still answers, with another node's data.
    let (moved, new_address) = start_without_peers(NodeId(2)).await;
    one.handle.ask(meet(&new_address)).await.expect("the first node runs");
    tell(&one, NodeId(2), &moved).await;
    let before = two.handle.ask(Request::Heard).await;
    tell(&one, NodeId(2), &moved).await;
    assert_eq!(two.handle.ask(Request::Heard).await, before, "the old place is hung up on");
}

#[tokio::test]
async fn a_peer_that_the_protocol_gives_up_is_hung_up_on() {
    let (one, _) = start_without_peers(NodeId(1)).await;
    let (two, second) = start_without_peers(NodeId(2)).await;
    let (three, third) = start_without_peers(NodeId(3)).await;
    let both = BTreeMap::from([(NodeId(2), vec![second]), (NodeId(3), vec![third.clone()])]);
    one.handle.ask(Request::Meet(both)).await.expect("the first node runs");
    tell(&one, NodeId(2), &two).await;
    one.handle
        .ask(Request::Meet(BTreeMap::from([(NodeId(3), vec![third])])))
        .await
        .expect("it runs");
    tell(&one, NodeId(3), &three).await;
    let before = two.handle.ask(Request::Heard).await;
    one.handle.ask(Request::Tell(NodeId(2), 1)).await.expect("the first node runs");
    tell(&one, NodeId(3), &three).await;
    assert_eq!(two.handle.ask(Request::Heard).await, before, "it is told nothing any more");
}

#[tokio::test]
async fn a_node_that_knows_of_nobody_answers_whoever_calls() {
    let (newcomer, address) = start_without_peers(NodeId(9)).await;
    let (caller, _) = start_without_peers(NodeId(1)).await;
    let meet = Request::Meet(BTreeMap::from([(NodeId(9), vec![address])]));
    caller.handle.ask(meet).await.expect("the caller runs");
    tell(&caller, NodeId(9), &newcomer).await;
    tell(&newcomer, NodeId(1), &caller).await;
}

#[tokio::test]
async fn whoever_enquires_is_answered_without_being_a_peer() {
    let (_node, address) = start_without_peers(NodeId(1)).await;
    let within = std::time::Duration::from_secs(10);
    let answer = enquire(&address, None, b"who am I", within).await.expect("it answers");
    assert_eq!(answer, "who am I");
    let refused = enquire(&address, None, b"silence", within).await;
    assert!(matches!(refused, Err(EnquiryError::HungUp)), "{refused:?}");
    let (listener, nobody) = listen().await;
    drop(listener);
    let unreachable =
        enquire(&nobody, None, b"anybody", within).await.expect_err("nobody is there");
    assert!(unreachable.did_not_happen(), "{unreachable:?}");
}
