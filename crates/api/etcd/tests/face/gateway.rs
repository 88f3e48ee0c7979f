//! The JSON gateway, as curl sees it. What the answers are was seen at etcd 3.5.

use quorate_core::{GroupId, NodeId};
use quorate_kv::error::Error;
use quorate_kv::service::{Alarm, MemberChange, NodeRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Served;
use crate::endpoints::ask;
use crate::fake_node::FakeNode;

/// Sends JSON to a path below `/v3/`; returns the status and the body.
async fn post(served: &Served, path: &str, json: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(served.address).await.expect("the face is there");
    let bytes = json.len();
    let request = format!(
        "POST /v3/{path} HTTP/1.1\r\nhost: quorate\r\nconnection: close\r\n\
         content-length: {bytes}\r\n\r\n{json}"
    );
    stream.write_all(request.as_bytes()).await.expect("the face reads");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("the face answers in text");
    let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    assert!(head.to_ascii_lowercase().contains("content-type: "), "{head}");
    (status.expect("a status"), body.to_owned())
}

const HEADER: &str = r#"{"cluster_id":"99","member_id":"1","revision":"2","raft_term":"7"}"#;

#[tokio::test]
async fn what_is_put_as_json_is_read_as_json() {
    let served = Served::start(FakeNode::default().start()).await;
    let put = post(&served, "kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#).await;
    assert_eq!(put, (200, format!(r#"{{"header":{HEADER}}}"#)));
    let kv =
        r#"{"key":"Zm9v","create_revision":"2","mod_revision":"2","version":"1","value":"YmFy"}"#;
    let range = format!(r#"{{"header":{HEADER},"kvs":[{kv}],"count":"1"}}"#);
    for json in [r#"{"key":"Zm9v"}"#, r#"{"key":"Zm9v","nonsense":1} trailing"#] {
        assert_eq!(post(&served, "kv/range", json).await, (200, range.clone()), "{json}");
    }
    let txn = r#"{"compare":[{"key":"Zm9v","target":"VERSION","version":"1"}],
        "success":[{"requestRange":{"key":"Zm9v"}}]}"#;
    let (status, answer) = post(&served, "kv/txn", txn).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(r#""succeeded":true,"responses":[{"response_range":{"#), "{answer}");
}

#[tokio::test]
async fn a_refusal_has_the_status_and_the_words_of_etcds_gateway() {
    for (error, status, code) in [
        (Error::EmptyKey, 400, 3),
        (Error::LeaseNotFound, 404, 5),
        (Error::NoSpace, 429, 8),
        (Error::LeaseExists, 400, 9),
        (Error::FutureRevision, 400, 11),
        (Error::NoLeader, 503, 14),
    ] {
        let said = error.to_string();
        let served = Served::start(FakeNode::refusing(error).start()).await;
        let expected = format!(r#"{{"error":"{said}","code":{code},"message":"{said}"}}"#);
        assert_eq!(post(&served, "kv/put", "{}").await, (status, expected));
    }
    // The Lock service passes messages on without their codes.
    let served = Served::start(FakeNode::refusing(Error::LeaseNotFound).start()).await;
    let said = "etcdserver: requested lease not found";
    let expected = format!(r#"{{"error":"{said}","code":2,"message":"{said}"}}"#);
    assert_eq!(post(&served, "lock/lock", r#"{"lease":"99"}"#).await, (500, expected));
}

#[tokio::test]
async fn what_is_no_json_never_reaches_the_node() {
    let node = FakeNode::default();
    let served = Served::start(node.clone().start()).await;
    for path in ["kv/range", "watch", "lease/keepalive", "maintenance/snapshot"] {
        for json in ["garbage", "[]", r#"{"key":"#, r#"{"header":{]"#] {
            let (status, answer) = post(&served, path, json).await;
            assert_eq!(status, 400, "{path} {json} {answer}");
            assert!(answer.contains(r#""code":3"#), "{answer}");
        }
    }
    assert!(node.asked.lock().expect("no test panics with the lock").is_empty());
}

#[tokio::test]
async fn other_paths_are_not_found_and_other_verbs_not_allowed() {
    let served = Served::start(FakeNode::default().start()).await;
    assert_eq!(post(&served, "nonsense", "{}").await, (404, "Not Found\n".to_owned()));
    assert_eq!(post(&served, "", "{}").await.0, 404);
    assert_eq!(ask(&served, "GET /v3/kv/range").await.0, 405);
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_a_line_that_says_why() {
    let refusing = FakeNode::refusing(Error::TimedOut);
    let served = Served::start(refusing.start()).await;
    let (status, lines) = post(&served, "lease/keepalive", r#"{"ID":"5"}"#).await;
    assert_eq!(status, 200, "{lines}");
    let error = r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: request timed out","http_status":"Service Unavailable"}}"#;
    assert!(lines.contains(error), "{lines}");
}

#[tokio::test]
async fn an_alarm_makes_a_node_unhealthy_unless_it_is_excluded() {
    let served = Served::start(FakeNode::default().start()).await;
    let raise = |alarm: Alarm, action: &str| {
        format!(r#"{{"action":"{action}","memberID":"1","alarm":{}}}"#, alarm.number())
    };
    let raised = post(&served, "maintenance/alarm", &raise(Alarm::NoSpace, "ACTIVATE")).await;
    assert!(raised.1.contains(r#""alarms":[{"memberID":"1","alarm":"NOSPACE"}]"#), "{raised:?}");
    let sick = r#"{"health":"false","reason":"ALARM NOSPACE"}"#;
    assert_eq!(ask(&served, "GET /health").await, (503, sick.to_owned()));
    assert_eq!(ask(&served, "GET /health?serializable=true").await.0, 503);
    assert_eq!(ask(&served, "GET /health?exclude=NOSPACE").await.0, 200);
    assert_eq!(ask(&served, "GET /health?exclude=CORRUPT").await.0, 503);
    assert_eq!(ask(&served, "GET /readyz").await.0, 200);

    post(&served, "maintenance/alarm", &raise(Alarm::Corrupt, "ACTIVATE")).await;
    let (status, report) = ask(&served, "GET /readyz").await;
    assert_eq!(status, 503);
    assert!(report.contains("[-]data_corruption failed: alarm activated: CORRUPT\n"), "{report}");
    assert_eq!(ask(&served, "GET /readyz?exclude=data_corruption").await.0, 200);
    assert_eq!(ask(&served, "GET /livez").await.0, 200);
}

#[tokio::test]
async fn a_node_that_was_had_raise_an_alarm_knows_of_it_at_once() {
    let behind = FakeNode { is_behind: true, ..FakeNode::default() };
    let served = Served::start(behind.start()).await;
    let corrupt = r#"{"action":"ACTIVATE","memberID":"1","alarm":"CORRUPT"}"#;
    post(&served, "maintenance/alarm", corrupt).await;
    let sick = r#"{"health":"false","reason":"ALARM CORRUPT"}"#;
    assert_eq!(ask(&served, "GET /health").await, (503, sick.to_owned()));
}

#[tokio::test]
async fn a_full_disk_is_to_clients_that_there_is_no_space() {
    let node = FakeNode::default().start();
    let change =
        MemberChange::SetAlarm { node: NodeId(1), alarm: Alarm::DiskFull, is_raised: true };
    let request = NodeRequest::ChangeMembers { group: GroupId(0), change };
    node.ask(request).await.expect("the node answers");
    let served = Served::start(node).await;
    let (_, listed) = post(&served, "maintenance/alarm", r#"{"action":"GET"}"#).await;
    assert!(listed.contains(r#""alarms":[{"memberID":"1","alarm":"NOSPACE"}]"#), "{listed}");
    let sick = r#"{"health":"false","reason":"ALARM NOSPACE"}"#;
    assert_eq!(ask(&served, "GET /health").await, (503, sick.to_owned()));
    let disarm = r#"{"action":"DEACTIVATE","memberID":"1","alarm":"NOSPACE"}"#;
    post(&served, "maintenance/alarm", disarm).await;
    assert_eq!(ask(&served, "GET /health").await.0, 200);
}

#[tokio::test]
async fn a_learner_is_alive_but_not_ready() {
    let learner = FakeNode { is_learner: true, ..FakeNode::default() };
    let served = Served::start(learner.start()).await;
    let (status, report) = ask(&served, "GET /readyz").await;
    assert_eq!(status, 503);
    assert!(report.contains("[-]non_learner failed: "), "{report}");
    assert_eq!(ask(&served, "GET /livez").await.0, 200);
    assert_eq!(ask(&served, "GET /readyz?exclude=non_learner").await.0, 200);
}
