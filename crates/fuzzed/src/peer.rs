//! What a peer says first, and then, to a driver whose protocol only listens.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quorate_core::{Input, NodeId, Out, Protocol};
use quorate_runtime::{Codec, Driver, Handle, Identity, Options, Recovered, Roster, Undecodable};
use quorate_storage::{LogId, LogOptions, MemoryVfs};

const CLUSTER: u64 = 7;
const ME: NodeId = NodeId(1);

/// The kinds of frames that peers send.
const HELLO: u8 = 1;
const REJECT: u8 = 2;
const MESSAGE: u8 = 3;

/// Who has heard nothing for so long never will.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// Takes any bytes for a message, and does nothing.
struct Listens;

impl Protocol for Listens {
    type Config = ();
    type Message = Bytes;
    type Timer = ();
    type Record = ();
    type Durable = ();
    type Request = ();
    type Response = ();

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover((): &(), (): (), _: &mut Out<'_, Self>) -> Self {
        Listens
    }

    fn step(&mut self, (): &(), _: Input<Self>, _: &mut Out<'_, Self>) {}

    fn view(&self) -> String {
        String::new()
    }
}

struct AsItIs;

impl Codec<Listens> for AsItIs {
    fn encode_message(message: &Bytes, buffer: &mut BytesMut) {
        buffer.extend_from_slice(message);
    }
    fn decode_message(bytes: Bytes) -> Result<Bytes, Undecodable> {
        Ok(bytes)
    }
    fn encode_record((): &(), _: &mut BytesMut) {}
    fn decode_record(_: Bytes) -> Result<(), Undecodable> {
        Ok(())
    }
}

impl Roster<Listens> for AsItIs {
    fn version(_: &Listens) -> u64 {
        0
    }
    fn peers(_: &Listens) -> BTreeMap<NodeId, Vec<String>> {
        BTreeMap::new()
    }
}

/// A node that listens for as long as the process lives.
static NODE: LazyLock<SocketAddr> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    listener.set_nonblocking(true).expect("it is a socket");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("there is room for a runtime").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a socket");
            let options = Options {
                identity: Identity { cluster: CLUSTER, me: ME, address: address.to_string() },
                addresses: BTreeMap::new(),
                hang_up_after: Duration::ZERO,
                // Nobody takes what this handle asks, so enquiries are hung up on.
                enquiries: Handle::channel().0,
                listeners: vec![listener.into()],
                dialer: None,
            };
            let (vfs, mut log) = (MemoryVfs::new(), LogOptions::new(LogId(7)));
            log.segment_bytes = 64 << 10;
            let recovered =
                Recovered::open::<AsItIs>(vfs, "log".into(), log, (), Default::default());
            let recovered = recovered.expect("it is new");
            // The node runs for as long as its handle is there.
            let (driver, _handle) = Driver::<Listens, AsItIs, _>::start((), recovered, options);
            driver.run(std::future::pending()).await.map(|_| ())
        })
    });
    address
});

/// Says this, and reads what comes back until the node hangs up.
fn converse(said: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(*NODE).expect("the node accepts connections");
    stream.set_read_timeout(Some(ANSWERED_WITHIN)).expect("it is a socket");
    // The node may hang up before it has heard everything.
    let _ = stream.write_all(said);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("the node neither answers nor hangs up")
        }
        // To be reset is to be hung up on as well.
        Ok(_) | Err(_) => heard,
    }
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(&[kind, 1, 0, 0]);
    frame.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    frame.extend_from_slice(body);
    frame
}

fn hello(cluster: u64, address: &str) -> Vec<u8> {
    let mut body = b"QUORATE\x01".to_vec();
    for number in [cluster, 2, ME.0] {
        body.extend_from_slice(&number.to_le_bytes());
    }
    body.extend_from_slice(&(address.len() as u32).to_le_bytes());
    body.extend_from_slice(address.as_bytes());
    body
}

/// Demands that the node still tells a stranger why it is none of its peers.
fn is_well() {
    let heard = converse(&framed(HELLO, &hello(CLUSTER + 1, "")));
    assert_eq!(heard.get(4), Some(&REJECT), "the next peer was not answered");
}

pub(crate) fn hellos() -> Vec<Vec<u8>> {
    let addresses = ["", "127.0.0.1:2380", "[::1]:2380", "db.example:2380"];
    addresses.map(|address| hello(CLUSTER, address)).into()
}

/// A greeting in a frame that is right, and a message after it.
pub(crate) fn greeting(bytes: &[u8]) {
    converse(&[framed(HELLO, bytes), framed(MESSAGE, b"a message")].concat());
    is_well();
}

pub(crate) fn calls() -> Vec<Vec<u8>> {
    let hello = framed(HELLO, &hello(CLUSTER, "127.0.0.1:2380"));
    let message = framed(MESSAGE, b"a message");
    let enquiry = framed(4, b"who leads?");
    vec![[&hello[..], &message[..], &message[..]].concat(), enquiry]
}

/// All that a peer says on a connection.
pub(crate) fn call(bytes: &[u8]) {
    converse(bytes);
    is_well();
}
