//! What clients send, to a face whose node has nothing to say: what is understood ends in an error of gRPC's, and so does
//! what is not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use prost::Message;
use quorate_api_etcd::proto::etcdserverpb as wire;
use quorate_api_etcd::{Face, FaceConfig};
use quorate_core::NodeId;
use quorate_runtime::Handle;

/// What calls go to: the first byte of an input chooses. Streams are left out: they end when their client does.
const METHODS: [&str; 7] = [
    "KV/Range",
    "KV/Put",
    "KV/Txn",
    "KV/DeleteRange",
    "Lease/LeaseGrant",
    "Auth/Authenticate",
    "Cluster/MemberAdd",
];

/// What documents go to.
const PATHS: [&str; 5] = ["kv/range", "kv/put", "kv/txn", "lease/grant", "auth/authenticate"];

/// Who has heard nothing for so long never will.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// A face that is served for as long as the process lives.
static FACE: LazyLock<SocketAddr> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    listener.set_nonblocking(true).expect("it is a socket");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("there is room for a runtime").block_on(async {
            // Nobody takes what this handle asks, so that it is told at once that the node has stopped.
            let (node, _) = Handle::channel();
            let config = FaceConfig::new(7, NodeId(1));
            let face = Arc::new(Face::new(config, node.clone(), node, Arc::default()));
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a socket");
            quorate_api_etcd::serve(listener, face, std::future::pending()).await
        })
    });
    address
});

/// Sends a request and reads all that comes back, until the face hangs up; where that `is_all` that is ever said, calls
/// are not waited for.
fn converse(request: &[u8], is_all: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(*FACE).expect("the face accepts connections");
    stream.set_read_timeout(Some(ANSWERED_WITHIN)).expect("it is a socket");
    // The face may hang up before it has heard everything.
    let _ = stream.write_all(request);
    if is_all {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut heard = Vec::new();
    // To be reset is to be hung up on as well.
    let _ = stream.read_to_end(&mut heard);
    heard
}

fn post(path: &str, kind: &str, body: &[u8]) {
    let bytes = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: face\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {bytes}\r\n\r\n"
    );
    let heard = converse(&[head.as_bytes(), body].concat(), false);
    // A task that panicked has nothing to say.
    assert!(heard.starts_with(b"HTTP/1.1 "), "{path} was not answered");
}

fn framed(method: u8, message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let mut bytes = vec![method, 0];
    bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&message);
    bytes
}

pub(crate) fn calls() -> Vec<Vec<u8>> {
    let put =
        wire::PutRequest { key: "k".into(), value: "v".into(), lease: -1, ..Default::default() };
    let range = wire::RangeRequest { key: "k".into(), range_end: "l".into(), ..Default::default() };
    let operation = |request| wire::RequestOp { request: Some(request) };
    let txn = wire::TxnRequest {
        compare: vec![wire::Compare { key: "k".into(), ..Default::default() }],
        success: vec![operation(wire::request_op::Request::RequestPut(put.clone()))],
        failure: vec![operation(wire::request_op::Request::RequestRange(range.clone()))],
    };
    let grant = wire::LeaseGrantRequest { ttl: 60, id: 7 };
    vec![framed(0, &range), framed(1, &put), framed(2, &txn), framed(4, &grant)]
}

/// A call of gRPC, with what stands before its message.
pub(crate) fn call(bytes: &[u8]) {
    let Some((method, body)) = bytes.split_first() else { return };
    let method = METHODS[usize::from(*method) % METHODS.len()];
    post(&format!("/etcdserverpb.{method}"), "application/grpc", body);
}

pub(crate) fn bodies() -> Vec<Vec<u8>> {
    let documents: [&[u8]; 5] = [
        b"\0{\"key\":\"Zm9v\",\"range_end\":\"Zm9w\",\"limit\":\"10\",\"sort_order\":\"DESCEND\"}",
        b"\x01{\"key\":\"Zm9v\",\"value\":\"YmFy\",\"prev_kv\":true}",
        b"\x02{\"compare\":[{\"target\":\"VALUE\",\"key\":\"Zm9v\",\"value\":\"YmFy\"}],\"success\":[{\"requestPut\":{\"key\":\"Zm9v\"}}]}",
        b"\x03{\"TTL\":60,\"ID\":\"9223372036854775807\"}",
        b"\x04{\"name\":\"root\",\"password\":\"\\u00e9\\ud83d\\ude00\"}",
    ];
    documents.map(<[u8]>::to_vec).into()
}

/// A document of JSON, as the gateway takes it.
pub(crate) fn gateway(bytes: &[u8]) {
    let Some((path, body)) = bytes.split_first() else { return };
    let path = PATHS[usize::from(*path) % PATHS.len()];
    post(&format!("/v3/{path}"), "application/json", body);
}

pub(crate) fn heads() -> Vec<Vec<u8>> {
    let requests: [&[u8]; 3] = [
        b"GET /health?serializable=true HTTP/1.1\r\nHost: face\r\nConnection: close\r\n\r\n",
        b"POST /v3/kv/put HTTP/1.1\r\nHost: face\r\nConnection: close\r\nAuthorization: Bearer a.b.c\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x08\x06\0\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08",
    ];
    requests.map(<[u8]>::to_vec).into()
}

/// A connection's first bytes. Whatever they are, the next client is served.
pub(crate) fn http(bytes: &[u8]) {
    converse(bytes, true);
    let heard =
        converse(b"GET /version HTTP/1.1\r\nHost: face\r\nConnection: close\r\n\r\n", false);
    assert!(heard.starts_with(b"HTTP/1.1 200"), "the next client was not served");
}
