//! The face as the generated clients see it.

use quorate_api_etcd::ETCD_VERSION;
use quorate_api_etcd::proto::etcdserverpb::{
    AlarmRequest, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MoveLeaderRequest, PutRequest, RangeRequest, RequestOp, StatusRequest, TxnRequest,
    cluster_client::ClusterClient, maintenance_client::MaintenanceClient, request_op::Request,
};
use quorate_core::GroupId;
use quorate_kv::error::Error as StoreError;
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
async fn the_members_are_those_that_the_node_names() {
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
    assert_eq!((status.db_size, status.db_size_in_use), (8192, 4096));
    assert_eq!((status.is_learner, status.errors.len()), (false, 0));
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
async fn a_member_that_is_added_is_answered_with_all_members_and_may_be_removed() {
    let served = Served::start(FakeNode::default().start()).await;
    let mut cluster = ClusterClient::new(served.channel().await);
    let request =
        MemberAddRequest { peer_ur_ls: vec!["http://peer-3:2380".into()], is_learner: false };
    let added = cluster.member_add(request.clone()).await.expect("the node takes it").into_inner();
    let member = added.member.expect("it is named");
    assert_eq!((member.peer_ur_ls.len(), added.members.len()), (1, 3));
    assert!(member.is_learner, "it has no vote before it has caught up");
    let again = cluster.member_add(request).await.expect("the node takes it").into_inner();
    assert_ne!(again.member.expect("it is named").id, member.id, "no id is given twice");
    let removed = cluster.member_remove(MemberRemoveRequest { id: member.id }).await;
    let left = removed.expect("the node takes it").into_inner().members;
    assert!(left.len() == 3 && left.iter().all(|left| left.id != member.id), "{left:?}");
}

#[tokio::test]
async fn a_change_of_membership_is_refused_in_etcds_words_and_code() {
    for (error, code) in [
        (StoreError::MemberNotFound, Code::NotFound),
        (StoreError::MemberBadUrls, Code::InvalidArgument),
        (StoreError::LearnerNotReady, Code::FailedPrecondition),
        (StoreError::MemberNotEnoughStarted, Code::FailedPrecondition),
    ] {
        let said = error.to_string();
        let served = Served::start(FakeNode::refusing(error).start()).await;
        let mut cluster = ClusterClient::new(served.channel().await);
        let refusal = cluster.member_promote(MemberPromoteRequest { id: 7 }).await;
        let refusal = refusal.expect_err("the node refuses");
        assert_eq!((refusal.code(), refusal.message()), (code, &*said));
    }
}

#[tokio::test]
async fn an_alarm_is_shown_from_when_it_is_raised_until_it_is_cleared() {
    const GET: i32 = 0;
    const ACTIVATE: i32 = 1;
    const DEACTIVATE: i32 = 2;
    const NOSPACE: i32 = 1;
    let served = Served::start(FakeNode::default().start()).await;
    let mut maintenance = MaintenanceClient::new(served.channel().await);
    for (action, alarm, answered, errors) in [
        (GET, 0, 0, 0),
        (DEACTIVATE, NOSPACE, 0, 0),
        (ACTIVATE, NOSPACE, 1, 1),
        (GET, 0, 1, 1),
        (GET, 2, 0, 1),
        (DEACTIVATE, NOSPACE, 1, 0),
        (GET, 0, 0, 0),
    ] {
        let request = AlarmRequest { action, member_id: 1, alarm };
        let answer = maintenance.alarm(request).await.expect("the node answers").into_inner();
        assert_eq!(answer.alarms.len(), answered, "action {action} on {alarm}");
        let status = maintenance.status(StatusRequest {}).await.expect("the node answers");
        let said = status.into_inner().errors;
        assert_eq!(said.len(), errors, "after action {action} on {alarm}: {said:?}");
        assert!(said.iter().all(|said| said.contains("alarm:NOSPACE")), "{said:?}");
    }
}

#[tokio::test]
async fn leadership_moves_to_a_member_and_to_nobody_else() {
    let node = FakeNode::default();
    let served = Served::start(node.clone().start()).await;
    let mut maintenance = MaintenanceClient::new(served.channel().await);
    let target_id = LEADER.0;
    maintenance.move_leader(MoveLeaderRequest { target_id }).await.expect("it is a member");
    let transfer = NodeRequest::TransferLeadership { group: GroupId(0), to: LEADER };
    assert!(node.asked.lock().expect("no task panicked with the lock").contains(&transfer));

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
