//! The plain HTTP endpoints, as curl sees them.

use quorate_api_etcd::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate_kv::error::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Served;
use crate::fake_node::FakeNode;

/// Sends one HTTP/1.1 request; returns the status and the body.
pub(crate) async fn ask(served: &Served, request_line: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(served.address).await.expect("the face is there");
    let request = format!("{request_line} HTTP/1.1\r\nhost: quorate\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the face reads");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("the face answers in text");
    let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}

async fn get(node: FakeNode, path: &str) -> (u16, String) {
    let served = Served::start(node.start()).await;
    ask(&served, &format!("GET {path}")).await
}

#[tokio::test]
async fn a_healthy_node_says_so_as_etcd_does() {
    let healthy = (200, r#"{"health":"true","reason":""}"#.to_owned());
    assert_eq!(get(FakeNode::default(), "/health").await, healthy);
}

#[tokio::test]
async fn a_node_that_cannot_read_is_not_healthy() {
    let reason = r#"{"health":"false","reason":"RANGE ERROR:etcdserver: request timed out"}"#;
    let sick = FakeNode::refusing(Error::TimedOut);
    assert_eq!(get(sick, "/health").await, (503, reason.to_owned()));
}

#[tokio::test]
async fn a_node_without_a_leader_is_healthy_only_for_who_asks_it_alone() {
    let lost = FakeNode { is_leaderless: true, ..FakeNode::default() };
    let reason = r#"{"health":"false","reason":"RAFT NO LEADER"}"#;
    assert_eq!(get(lost.clone(), "/health").await, (503, reason.to_owned()));
    assert_eq!(get(lost, "/health?serializable=true").await.0, 200);
}

#[tokio::test]
async fn probes_are_terse_until_they_are_asked_for_more() {
    assert_eq!(get(FakeNode::default(), "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(get(FakeNode::default(), "/readyz").await, (200, "ok\n".to_owned()));
    let live = "[+]serializable_read ok\nok\n".to_owned();
    assert_eq!(get(FakeNode::default(), "/livez?verbose").await, (200, live));
    let ready = "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n\
                 [+]non_learner ok\nok\n";
    assert_eq!(get(FakeNode::default(), "/readyz?verbose").await, (200, ready.to_owned()));
}

#[tokio::test]
async fn a_probe_that_fails_says_which_check_did() {
    let (status, report) = get(FakeNode::refusing(Error::NoLeader), "/readyz").await;
    assert_eq!(status, 503);
    assert!(report.contains("[-]linearizable_read failed: etcdserver: no leader\n"), "{report}");
    assert!(report.contains("[+]data_corruption ok\n"), "{report}");
}

#[tokio::test]
async fn a_check_can_be_left_out_or_asked_for_alone() {
    let sick = FakeNode::refusing(Error::NoLeader);
    let path = "/readyz?exclude=linearizable_read&exclude=serializable_read";
    assert_eq!(get(sick.clone(), path).await.0, 200);
    assert_eq!(get(sick.clone(), "/readyz/non_learner").await.0, 200);
    assert_eq!(get(sick.clone(), "/readyz/linearizable_read").await.0, 503);
    assert_eq!(get(sick, "/livez/linearizable_read").await.0, 404);
}

#[tokio::test]
async fn the_version_is_that_of_the_etcd_it_stands_in_for() {
    let version = r#"{"etcdserver":"3.6.0","etcdcluster":"3.6.0"}"#;
    assert_eq!(get(FakeNode::default(), "/version").await, (200, version.to_owned()));
}

#[tokio::test]
async fn the_metrics_count_what_was_done() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut kv = served.kv().await;
    for _ in 0..3 {
        let put = PutRequest { key: "k".into(), ..Default::default() };
        kv.put(put).await.expect("the node takes it");
    }
    let (status, text) = ask(&served, "GET /metrics").await;
    assert_eq!(status, 200);
    let expected = [
        "etcd_server_has_leader 1",
        "etcd_disk_wal_fsync_duration_seconds_count 0",
        "etcd_server_is_leader 1",
        "etcd_server_leader_changes_seen_total 3",
        "etcd_server_proposals_committed_total 12",
        "etcd_server_proposals_applied_total 11",
        "etcd_server_proposals_pending 0",
        "etcd_server_proposals_failed_total 0",
        "etcd_mvcc_db_total_size_in_bytes 8192",
        "etcd_mvcc_db_total_size_in_use_in_bytes 4096",
        "etcd_server_quota_backend_bytes 16777216",
        "etcd_debugging_mvcc_keys_total 1",
        "etcd_debugging_mvcc_current_revision 4",
        "quorate_client_connections 2",
        "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",\
         grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 3",
    ];
    for line in expected {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in:\n{text}");
    }
}

#[tokio::test]
async fn what_the_replica_has_done_is_shown_by_kind() {
    let served = Served::start(FakeNode::default().start()).await;
    let (_, text) = ask(&served, "GET /metrics").await;
    let expected = [
        "etcd_mvcc_put_total 21",
        "etcd_mvcc_range_total 22",
        "etcd_mvcc_delete_total 23",
        "etcd_mvcc_txn_total 24",
        "etcd_debugging_lease_granted_total 25",
        "etcd_debugging_lease_revoked_total 26",
        "etcd_debugging_lease_renewed_total 27",
        "quorate_peer_messages_unread_total 28",
        "quorate_peer_messages_nonsense_total 29",
    ];
    for line in expected {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in:\n{text}");
    }
}

/// The value behind a metric's name and labels.
fn value(text: &str, name: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let found = found.unwrap_or_else(|| panic!("no {name} in:\n{text}"));
    found.parse().unwrap_or_else(|_| panic!("{name} is {found}"))
}

#[tokio::test]
async fn calls_and_their_messages_are_counted_by_method_and_by_their_bytes() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut kv = served.kv().await;
    let put = PutRequest { key: "k".into(), value: vec![7; 1000].into(), ..Default::default() };
    kv.put(put.clone()).await.expect("the node takes it");
    let too_long = PutRequest { value: vec![7; 1600 << 10].into(), ..put };
    kv.put(too_long).await.expect_err("it is too long");
    let range = RangeRequest { key: "k".into(), ..Default::default() };
    kv.range(range).await.expect("the node answers");
    let (_, text) = ask(&served, "GET /metrics").await;
    let of_put = |name: &str| {
        let labels = r#"grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary""#;
        value(&text, &format!("{name}{{{labels}}}"))
    };
    assert_eq!(of_put("grpc_server_started_total"), 2.0);
    assert_eq!(of_put("grpc_server_msg_received_total"), 2.0);
    assert_eq!(of_put("grpc_server_msg_sent_total"), 1.0, "a refusal is no message");
    // The value itself, and what else there is in those few messages.
    let received = value(&text, "etcd_network_client_grpc_received_bytes_total") as usize;
    let expected = 1000 + (1600 << 10);
    assert!((expected..expected + 50).contains(&received), "{received} bytes came");
    let sent = value(&text, "etcd_network_client_grpc_sent_bytes_total") as usize;
    assert!((1000..1100).contains(&sent), "{sent} bytes went");
}

#[tokio::test]
async fn messages_of_a_stream_are_counted_one_by_one() {
    let served = Served::start(FakeNode::default().start()).await;
    let body = r#"{"create_request":{"key":"YQ=="}}"#;
    let request = format!(
        "POST /v3/watch HTTP/1.1\r\nhost: quorate\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(served.address).await.expect("the face is there");
    stream.write_all(request.as_bytes()).await.expect("the face reads");
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.expect("the face answers");
    assert!(read > 0, "the stream has begun or was refused");
    let (_, text) = ask(&served, "GET /metrics").await;
    let labels = r#"grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream""#;
    assert_eq!(value(&text, &format!("grpc_server_started_total{{{labels}}}")), 1.0);
    assert_eq!(value(&text, &format!("grpc_server_msg_received_total{{{labels}}}")), 1.0);
}

#[tokio::test]
async fn every_line_of_the_metrics_is_a_number_of_a_family_that_was_announced_once() {
    let served = Served::start(FakeNode::default().start()).await;
    let (_, text) = ask(&served, "GET /metrics").await;
    let mut families: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').expect("a name and a kind");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(!families.contains(&name), "{name} is announced twice");
            families.push(name);
        } else if !line.starts_with("# HELP ") {
            let (name, number) = line.rsplit_once(' ').expect("a name and a number");
            assert!(number.parse::<f64>().is_ok(), "{line}");
            let name = name.split('{').next().expect("a split has a first part");
            let family = families.last().expect("a family was announced");
            let behind = name.strip_prefix(family).unwrap_or_else(|| panic!("{line}: of {family}"));
            assert!(["", "_bucket", "_sum", "_count"].contains(&behind), "{line}: of {family}");
        }
    }
    let by_everybody = ["process_open_fds", "process_max_fds", "process_start_time_seconds"];
    for name in by_everybody.into_iter().chain(["process_cpu_seconds_total"]) {
        assert!(value(&text, name) >= 0.0 && families.contains(&name));
    }
    for line in
        ["etcd_server_id{server_id=\"1\"} 1", "etcd_cluster_version{cluster_version=\"3.6\"} 1"]
    {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in:\n{text}");
    }
}

#[tokio::test]
async fn whoever_accepts_open_metrics_is_given_it() {
    let served = Served::start(FakeNode::default().start()).await;
    let accepts = "GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text;version=1.0.0";
    // What follows the accepted kind becomes a header that nobody knows.
    let (status, text) = ask(&served, &format!("{accepts}\r\nx:")).await;
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n") && text.contains("# TYPE etcd_mvcc_put counter\n"), "{text}");
}

#[tokio::test]
async fn a_write_that_finds_no_leader_is_a_failed_proposal_and_one_that_is_wrong_is_not() {
    for (error, failed) in [(Error::NoLeader, 1), (Error::EmptyKey, 0)] {
        let served = Served::start(FakeNode::refusing(error).start()).await;
        let put = PutRequest { key: "k".into(), ..Default::default() };
        served.kv().await.put(put).await.expect_err("the node refuses");
        let (_, text) = ask(&served, "GET /metrics").await;
        let line = format!("etcd_server_proposals_failed_total {failed}");
        assert!(text.lines().any(|found| found == line), "no line {line:?} in:\n{text}");
    }
}

#[tokio::test]
async fn health_checks_are_counted_by_how_they_ended() {
    let served = Served::start(FakeNode::refusing(Error::NoLeader).start()).await;
    ask(&served, "GET /health").await;
    ask(&served, "GET /readyz/non_learner").await;
    ask(&served, "GET /readyz").await;
    let (_, text) = ask(&served, "GET /metrics").await;
    for line in ["etcd_server_health_success 1", "etcd_server_health_failures 2"] {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in:\n{text}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_answered_with_those_there_are() {
    let (status, hint) = get(FakeNode::default(), "/v2/keys").await;
    assert_eq!(status, 404);
    for path in ["/v2/keys", "/health", "/livez", "/readyz", "/version", "/metrics"] {
        assert!(hint.contains(path), "no {path} in: {hint}");
    }
}

#[tokio::test]
async fn nothing_but_get_is_allowed() {
    let served = Served::start(FakeNode::default().start()).await;
    assert_eq!(ask(&served, "POST /health").await.0, 405);
}
