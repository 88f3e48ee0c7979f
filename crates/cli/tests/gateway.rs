//! The JSON gateway of a real node, over plain HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use quorate_torture::Cluster;
use quorate_torture::http::{self, Answer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

/// Far beyond what a slow machine needs.
const WITHIN: Duration = Duration::from_secs(60);

async fn node() -> (Cluster, SocketAddr) {
    let cluster = Cluster::start(env!("CARGO_BIN_EXE_quorate"), 1).await;
    let cluster = cluster.expect("a cluster starts");
    let node = cluster.all().next().expect("there is one");
    let address = cluster.client_address(node);
    (cluster, address)
}

async fn post(address: SocketAddr, path: &str, json: &str) -> Answer {
    http::post(address, &format!("/v3/{path}"), json, WITHIN).await.expect("an answer")
}

/// A call whose both sides are open: chunks go in, and lines come out.
struct Call {
    lines: Lines<BufReader<TcpStream>>,
}

impl Call {
    async fn begin(address: SocketAddr, path: &str) -> Call {
        let mut stream = TcpStream::connect(address).await.expect("the node is there");
        let head = format!(
            "POST /v3/{path} HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        Call { lines: BufReader::new(stream).lines() }
    }

    async fn say(&mut self, json: &str) {
        let chunk = format!("{:x}\r\n{json}\r\n", json.len());
        let stream = self.lines.get_mut().get_mut();
        stream.write_all(chunk.as_bytes()).await.expect("it reads");
    }

    /// The next line of JSON, without the heads and lengths between them.
    async fn hear(&mut self) -> String {
        let line = async {
            loop {
                let line = self.lines.next_line().await.expect("it speaks").expect("it goes on");
                if line.starts_with('{') {
                    return line;
                }
            }
        };
        tokio::time::timeout(WITHIN, line).await.expect("it says something")
    }
}

#[tokio::test]
async fn a_watch_is_a_conversation_in_lines() {
    let (cluster, address) = node().await;
    let mut watch = Call::begin(address, "watch").await;
    watch.say(r#"{"create_request":{"key":"Zm9v"}}"#).await;
    let created = watch.hear().await;
    assert!(created.starts_with(r#"{"result":{"header":{"#), "{created}");
    assert!(created.ends_with(r#","created":true}}"#), "{created}");

    let put = post(address, "kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#).await;
    assert_eq!(put.status, 200, "{}", put.body);
    let told = watch.hear().await;
    let event = r#""events":[{"kv":{"key":"Zm9v","create_revision":"2","mod_revision":"2","version":"1","value":"YmFy"}}]}}"#;
    assert!(told.ends_with(event), "{told}");

    watch.say(r#"{"cancel_request":{"watch_id":"0"}} {"#).await;
    let canceled = watch.hear().await;
    assert!(canceled.ends_with(r#","canceled":true}}"#), "{canceled}");
    watch.say("nonsense").await;
    watch.say("}").await;
    let error = watch.hear().await;
    assert!(error.starts_with(r#"{"error":{"grpc_code":3,"http_code":400,"#), "{error}");
    cluster.finish().await.expect("every node stops cleanly");
}

#[tokio::test]
async fn leases_locks_and_elections_are_had_without_grpc() {
    let (cluster, address) = node().await;
    let grant = post(address, "lease/grant", r#"{"TTL":"600","ID":5}"#).await;
    assert!(grant.body.ends_with(r#","ID":"5","TTL":"600"}"#), "{}", grant.body);
    let renewed = post(address, "lease/keepalive", r#"{"ID":6}{"ID":"5"}"#).await;
    let answers: Vec<&str> =
        renewed.body.lines().filter(|line| line.starts_with("{\"result\"")).collect();
    assert_eq!(answers.len(), 2, "{}", renewed.body);
    assert!(answers[0].ends_with(r#","ID":"6"}}"#), "{}", answers[0]);
    assert!(answers[1].ends_with(r#","ID":"5","TTL":"600"}}"#), "{}", answers[1]);

    let lock = post(address, "lock/lock", r#"{"name":"bA==","lease":"5"}"#).await;
    assert!(lock.body.ends_with(r#","key":"bC81"}"#), "{}", lock.body);
    let none = post(address, "election/leader", r#"{"name":"ZQ=="}"#).await;
    let said = r#"{"error":"election: no leader","code":2,"message":"election: no leader"}"#;
    assert_eq!((none.status, none.body.as_str()), (500, said));
    let won = r#"{"name":"ZQ==","lease":"5","value":"dg=="}"#;
    let won = post(address, "election/campaign", won).await;
    assert!(won.body.contains(r#""leader":{"name":"ZQ==","key":"ZS81","rev":"3","lease":"5"}"#));
    let leader = post(address, "election/leader", r#"{"name":"ZQ=="}"#).await;
    assert!(leader.body.contains(r#""key":"ZS81""#), "{}", leader.body);

    let metrics = http::get(address, "/metrics", WITHIN).await.expect("an answer").body;
    assert!(metrics.contains("etcd_debugging_lease_granted_total 1\n"), "{metrics}");
    assert!(metrics.contains("etcd_debugging_mvcc_watcher_total 0\n"), "{metrics}");
    cluster.finish().await.expect("every node stops cleanly");
}
