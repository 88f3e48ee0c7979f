//! The face as the generated clients see it.

use quorate_api_etcd::ETCD_VERSION;
use quorate_api_etcd::proto::etcdserverpb::{
    AlarmRequest, MemberListRequest, MoveLeaderRequest, PutRequest, RangeRequest, RequestOp,
    StatusRequest, TxnRequest, cluster_client::ClusterClient,
    maintenance_client::MaintenanceClient, request_op::Request,
};
use quorate_core::{GroupId, NodeId};
use quorate_kv::service::NodeRequest;
use tonic::Code;

use crate::Served;
use crate::fake_node::{FakeNode, LEADER, TERM};

fn get(key: &'static str, serializable: bool) -> RangeRequest {
    RangeRequest { key: key.into(), serializable, ..Default::default() }
}

#[tokio::test]
async fn a_write_is_read_back_and_every_header_names_cluster_member_revision_and_term() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut kv = served.kv().await;
    let put = PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
    let put = kv.put(put).await.expect("the node takes it").into_inner();
    let header = put.header.expect("an answer has a header");
    assert_eq!((header.cluster_id, header.member_id), (99, 1));
    assert_eq!((header.revision, header.raft_term), (2, TERM));

    let range = kv.range(get("k", false)).await.expect("the node answers").into_inner();
    assert_eq!((range.count, range.kvs[0].value.as_ref()), (1, b"v".as_ref()));
    assert_eq!((range.kvs[0].mod_revision, range.kvs[0].version), (2, 1));
}

#[tokio::test]
async fn only_a_read_that_asks_for_it_is_serializable() {
    let node = FakeNode::default();
    let served = Served::start(node.clone().start()).await;
    let mut kv = served.kv().await;
    for serializable in [true, false] {
        kv.range(get("k", serializable)).await.expect("the node answers");
        let read = RequestOp { request: Some(Request::RequestRange(get("k", serializable))) };
        let txn = TxnRequest { success: vec![read], ..Default::default() };
        kv.txn(txn).await.expect("the node answers");
    }
    let asked = node.asked.lock().expect("no task panicked with the lock");
    let queries: Vec<bool> = asked
        .iter()
        .map(|request| match request {
            NodeRequest::Query { serializable, .. } => *serializable,
            other => panic!("a read is a query, not {other:?}"),
        })
        .collect();
    assert_eq!(queries, [true, true, false, false]);
}

#[tokio::test]
async fn a_transaction_that_may_write_is_a_command() {
    let node = FakeNode::default();
    let served = Served::start(node.clone().start()).await;
    let put = PutRequest { key: "k".into(), ..Default::default() };
    let put = RequestOp { request: Some(Request::RequestPut(put)) };
    let txn = TxnRequest { success: vec![put], ..Default::default() };
    served.kv().await.txn(txn).await.expect("the node takes it");
    let asked = node.asked.lock().expect("no task panicked with the lock");
    assert!(matches!(asked.as_slice(), [NodeRequest::Command { group: GroupId(0), .. }]));
}

#[tokio::test]
async fn a_value_that_arrives_in_many_frames_is_kept_whole() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut kv = served.kv().await;
    let value: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let put = PutRequest { key: "k".into(), value: value.clone().into(), ..Default::default() };
    kv.put(put).await.expect("the node takes it");
    let range = kv.range(get("k", false)).await.expect("the node answers").into_inner();
    assert!(range.kvs[0].value == value, "the value changed on its way");
}

#[tokio::test]
async fn the_members_are_those_of_the_configuration() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut cluster = ClusterClient::new(served.channel().await);
    let list = cluster.member_list(MemberListRequest { linearizable: true }).await;
    let list = list.expect("the node answers").into_inner();
    let names: Vec<_> = list.members.iter().map(|member| (member.id, &*member.name)).collect();
    assert_eq!(names, [(1, "node-1"), (2, "node-2")]);
    assert_eq!(list.members[1].client_ur_ls, ["http://client-2:2379"]);
    assert_eq!(list.members[1].peer_ur_ls, ["http://peer-2:2380"]);
    assert_eq!(list.header.expect("an answer has a header").raft_term, TERM);
}

#[tokio::test]
async fn the_status_is_the_nodes() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut maintenance = MaintenanceClient::new(served.channel().await);
    let status = maintenance.status(StatusRequest {}).await.expect("the node answers").into_inner();
    assert_eq!((status.version.as_str(), status.leader), (ETCD_VERSION, LEADER.0));
    assert_eq!((status.raft_index, status.raft_applied_index, status.raft_term), (12, 11, TERM));
    assert_eq!((status.db_size, status.is_learner, status.errors.len()), (4096, false, 0));
}

#[tokio::test]
async fn a_node_without_a_leader_says_so_in_its_status() {
    let node = FakeNode { is_leaderless: true, ..FakeNode::default() };
    let served = Served::start(node.start()).await;
    let mut maintenance = MaintenanceClient::new(served.channel().await);
    let status = maintenance.status(StatusRequest {}).await.expect("the node answers").into_inner();
    assert_eq!(status.leader, 0);
    assert_eq!(status.errors, ["etcdserver: no leader"]);
}

#[tokio::test]
async fn no_alarm_is_ever_raised() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut maintenance = MaintenanceClient::new(served.channel().await);
    let alarms = maintenance.alarm(AlarmRequest::default()).await.expect("the node answers");
    assert!(alarms.into_inner().alarms.is_empty());
    let raise = AlarmRequest { action: 1, ..Default::default() };
    let refusal = maintenance.alarm(raise).await.expect_err("alarms cannot be raised");
    assert_eq!(refusal.code(), Code::Unimplemented);
}

#[tokio::test]
async fn leadership_moves_to_a_member_and_to_nobody_else() {
    let node = FakeNode::default();
    let served = Served::start(node.clone().start()).await;
    let mut maintenance = MaintenanceClient::new(served.channel().await);
    maintenance.move_leader(MoveLeaderRequest { target_id: 2 }).await.expect("2 is a member");
    let transfer = NodeRequest::TransferLeadership { group: GroupId(0), to: NodeId(2) };
    assert_eq!(node.asked.lock().expect("no task panicked with the lock")[0], transfer);

    let refusal = maintenance.move_leader(MoveLeaderRequest { target_id: 3 }).await;
    let refusal = refusal.expect_err("3 is no member");
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert_eq!(refusal.message(), "etcdserver: bad leader transferee");
}

#[tokio::test]
async fn a_face_that_is_told_to_stop_ends_and_gives_up_its_port() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut kv = served.kv().await;
    kv.range(get("k", false)).await.expect("the node answers");
    let address = served.address;
    served.stop.send(()).expect("the face is being served");
    served.ended.await.expect("the face does not panic").expect("the face stops in order");
    tokio::net::TcpListener::bind(address).await.expect("the port is free again");
    kv.range(get("k", false)).await.expect_err("nobody serves any more");
}
