//! The event loop with a protocol that only remembers: what it answers, when, and how it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_core::{Input, NodeId, Out, Protocol};
use quorate_runtime::{
    Cards, Codec, Driver, DriverError, Handle, Identity, Metrics, Options, Stopped, Undecodable,
};
use quorate_storage::log::{LogError, LogId, LogOptions};
use quorate_storage::vfs::MemoryVfs;
use tokio::sync::oneshot;

/// Adds up what it is told, durably, and tells the others.
struct Sum {
    me: NodeId,
    total: u64,
    heard: u64,
}

enum Request {
    /// Adds, and answers with the total once it is durable.
    Add(u64),
    /// Answers with what the others have said.
    Heard,
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
        Sum { me: *me, total: durable, heard: 0 }
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

/// A node that runs as a task of the test.
struct Running {
    handle: Handle<Request, u64>,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<(), DriverError>>,
}

impl Running {
    /// Asks it to stop, and waits until it has.
    async fn stop(self) -> Result<(), DriverError> {
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
        identity: Identity { cluster: 1, me, members: members.clone() },
        card: Bytes::new(),
        cards: Cards::default(),
        addresses: addresses.clone(),
        listeners: vec![listener],
        vfs,
        log_dir: "log".into(),
        log,
    };
    let (driver, handle) =
        Driver::<Sum, Numbers, _>::start((me, members), 0, options, Arc::<Metrics>::default())
            .expect("the log opens");
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(driver.run(async {
        let _ = stopped.await;
    }));
    Running { handle, stop, ended }
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
