//! Users, roles and permissions: three nodes as processes, asked through each of them by a client that nobody here wrote.

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, DeleteOptions, Error, GetOptions,
    LeaseTimeToLiveOptions, Permission, PutOptions, RoleRevokePermissionOptions, Txn, TxnOp,
};
use quorate_torture::Cluster;
use tonic::Code;

const NODES: usize = 3;
const DENIED: &str = "etcdserver: permission denied";

struct World {
    cluster: Cluster,
    /// Root, through the first node.
    root: Client,
}

impl World {
    /// A cluster in which alice may read and write what begins with `a/`, and read `b`; and authentication is enabled.
    async fn start() -> World {
        World::start_with(&[]).await
    }

    async fn start_with(flags: &[&str]) -> World {
        let cluster = Cluster::start_with(env!("CARGO_BIN_EXE_quorate"), NODES, flags).await;
        let cluster = cluster.expect("a cluster starts");
        let first = cluster.all().next().expect("there is a node");
        let mut nobody = cluster.client(first).await.expect("a client");
        nobody.put("secret", "s", None).await.expect("anybody may do anything yet");
        prepare(&mut nobody).await.expect("each step is in order");
        let mut world = World { root: nobody, cluster };
        world.root = world.login(0, "root", "rootpw").await.expect("the password is right");
        world
    }

    async fn login(&self, node: usize, user: &str, password: &str) -> Result<Client, Error> {
        let node = self.cluster.all().nth(node).expect("there are so many nodes");
        let options = ConnectOptions::new().with_user(user, password);
        Client::connect([self.cluster.client_url(node)], Some(options)).await
    }

    async fn alice(&self, node: usize) -> Client {
        self.login(node, "alice", "alicepw").await.expect("the password is right")
    }

    async fn nobody(&self, node: usize) -> Client {
        let node = self.cluster.all().nth(node).expect("there are so many nodes");
        self.cluster.client(node).await.expect("a client")
    }

    async fn finish(self) {
        self.cluster.finish().await.expect("every node stops cleanly");
    }
}

async fn prepare(client: &mut Client) -> Result<(), Error> {
    client.user_add("root", "rootpw", None).await?;
    client.user_grant_role("root", "root").await?;
    client.role_add("a").await?;
    client.role_grant_permission("a", Permission::read_write("a/").with_prefix()).await?;
    client.role_grant_permission("a", Permission::read("b")).await?;
    client.user_add("alice", "alicepw", None).await?;
    client.user_grant_role("alice", "a").await?;
    client.auth_enable().await?;
    Ok(())
}

#[track_caller]
fn assert_refused<T>(outcome: Result<T, Error>, code: Code, message: &str) {
    match outcome {
        Err(Error::GRpcStatus(status)) => {
            assert_eq!((status.code(), status.message()), (code, message));
        }
        Err(other) => panic!("no status of the server's: {other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[track_caller]
fn assert_denied<T>(outcome: Result<T, Error>) {
    assert_refused(outcome, Code::PermissionDenied, DENIED);
}

#[tokio::test]
async fn a_user_may_do_what_their_roles_permit_through_every_node_and_nothing_else() {
    let mut world = World::start().await;
    for node in 0..NODES {
        let mut alice = world.alice(node).await;
        alice.put("a/1", "1", None).await.expect("a put");
        alice.get("a/", Some(GetOptions::new().with_prefix())).await.expect("a prefix");
        alice.get("b", None).await.expect("a get");
        assert_denied(alice.put("b", "1", None).await);
        assert_denied(alice.get("secret", None).await);
        assert_denied(alice.get("a/", Some(GetOptions::new().with_from_key())).await);
        assert_denied(alice.get("secret", Some(GetOptions::new().with_serializable())).await);
        assert_denied(alice.delete("a", Some(DeleteOptions::new().with_range("b"))).await);
        alice.put("a/1", "2", Some(PutOptions::new().with_prev_key())).await.expect("a put");

        let put = || TxnOp::put("a/2", "1", None);
        let get = |key| TxnOp::get(key, None);
        let when = |key| Compare::version(key, CompareOp::Equal, 0);
        let inner = |operation| TxnOp::txn(Txn::new().or_else(vec![operation]));
        let txn = Txn::new().when(vec![when("b")]).and_then(vec![put(), inner(get("b"))]);
        alice.txn(txn).await.expect("a transaction");
        assert_denied(alice.txn(Txn::new().when(vec![when("secret")]).and_then(vec![put()])).await);
        assert_denied(alice.txn(Txn::new().and_then(vec![put(), get("secret")])).await);
        assert_denied(alice.txn(Txn::new().and_then(vec![inner(get("secret"))])).await);
        assert_denied(alice.txn(Txn::new().or_else(vec![TxnOp::put("b", "1", None)])).await);

        assert_denied(alice.compact(1, None).await);
        assert_denied(alice.hash_kv(0).await);
        assert_denied(alice.defragment().await);
        assert_denied(alice.snapshot().await);
        assert_denied(alice.user_list().await);
        assert_denied(alice.user_add("eve", "e", None).await);
        assert_denied(alice.auth_disable().await);
        alice.member_list().await.expect("whoever is known may know the members");
        assert_eq!(alice.user_get("alice").await.expect("her own roles").roles(), ["a"]);

        let mut nobody = world.nobody(node).await;
        let (code, message) = (Code::InvalidArgument, "etcdserver: user name is empty");
        assert_refused(nobody.get("a/1", None).await, code, message);
        assert_refused(nobody.put("a/1", "1", None).await, code, message);
        assert_refused(nobody.member_list().await, code, message);
        assert_refused(nobody.snapshot().await, code, message);
    }
    let got = world.root.get("secret", None).await.expect("root reads all");
    assert_eq!(got.kvs()[0].value(), b"s");
    world.root.hash_kv(0).await.expect("root looks after all");
    world.finish().await;
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_a_changed_one_ends_what_was_begun_with_the_old() {
    let mut world = World::start().await;
    let failed = "etcdserver: authentication failed, invalid user ID or password";
    for (user, password) in [("alice", "wrong"), ("nobody", "x")] {
        assert_refused(world.login(1, user, password).await, Code::InvalidArgument, failed);
    }
    let mut alice = world.alice(2).await;
    alice.put("a/1", "1", None).await.expect("a put");
    world.root.user_change_password("alice", "new").await.expect("root may");
    let invalid = "etcdserver: invalid auth token";
    assert_refused(alice.put("a/1", "2", None).await, Code::Unauthenticated, invalid);
    assert_refused(world.login(2, "alice", "alicepw").await, Code::InvalidArgument, failed);
    let mut alice = world.login(2, "alice", "new").await.expect("the password is right");
    alice.put("a/1", "2", None).await.expect("a put");
    world.finish().await;
}

#[tokio::test]
async fn what_is_bound_to_a_lease_guards_it() {
    let mut world = World::start().await;
    let mut alice = world.alice(1).await;
    let lease = alice.lease_grant(600, None).await.expect("a lease").id();
    let bound = || Some(PutOptions::new().with_lease(lease));
    alice.put("a/1", "1", bound()).await.expect("a put");
    world.root.put("secret", "s", bound()).await.expect("a put");
    assert_denied(alice.put("a/2", "1", bound()).await);
    assert_denied(alice.lease_revoke(lease).await);
    let keys = Some(LeaseTimeToLiveOptions::new().with_keys());
    assert_denied(alice.lease_time_to_live(lease, keys).await);
    alice.lease_time_to_live(lease, None).await.expect("how long it lives tells of no key");
    world.root.lease_revoke(lease).await.expect("root may");
    world.finish().await;
}

#[tokio::test]
async fn a_watch_is_refused_or_ends_when_the_permission_does() {
    let mut world = World::start().await;
    let mut alice = world.alice(2).await;
    let denied = format!("rpc error: code = PermissionDenied desc = {DENIED}");
    let mut refused = alice.watch("secret", None).await.expect("a stream");
    let told = refused.message().await.expect("a message").expect("a message");
    assert!(told.canceled(), "{told:?}");
    assert_eq!(told.cancel_reason(), denied);

    let mut watch = alice.watch("b", None).await.expect("a stream");
    let told = watch.message().await.expect("a message").expect("a message");
    assert!(told.created() && !told.canceled(), "{told:?}");
    world.root.put("b", "before", None).await.expect("a put");
    let told = watch.message().await.expect("a message").expect("a message");
    assert_eq!(told.events()[0].kv().expect("a key").value(), b"before");
    let revoked: Option<RoleRevokePermissionOptions> = None;
    world.root.role_revoke_permission("a", "b", revoked).await.expect("root may");
    let told = watch.message().await.expect("a message").expect("a message");
    assert!(told.canceled() && told.events().is_empty(), "{told:?}");
    assert_eq!(told.cancel_reason(), denied);
    assert_denied(alice.get("b", None).await);
    world.finish().await;
}

#[tokio::test]
async fn authentication_outlives_all_nodes_and_can_be_disabled() {
    let mut world = World::start().await;
    world.cluster.kill_9_all().expect("they run");
    for node in world.cluster.all().collect::<Vec<_>>() {
        world.cluster.launch(node).expect("it starts");
    }
    for node in world.cluster.all().collect::<Vec<_>>() {
        world.cluster.wait_until_ready(node).await.expect("it is ready");
    }
    let mut nobody = world.nobody(1).await;
    let empty = "etcdserver: user name is empty";
    assert_refused(nobody.get("b", None).await, Code::InvalidArgument, empty);
    let mut root = world.login(2, "root", "rootpw").await.expect("the password is right");
    root.auth_disable().await.expect("root may");
    nobody.put("b", "1", None).await.expect("anybody may do anything again");
    world.finish().await;
}

#[tokio::test]
async fn jwts_are_signed_with_the_operators_key_and_the_audit_says_who_did_what() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let key = dir.path().join("jwt.key");
    std::fs::write(&key, "known to the operator").expect("the key is written");
    let tokens = format!("--auth-token=jwt,sign-method=HS512,priv-key={}", key.display());
    let world = World::start_with(&[&tokens, "--audit", "--bcrypt-cost=4"]).await;
    let mut alice = world.alice(1).await;
    alice.put("a/1", "of no concern to the audit", None).await.expect("alice may");
    assert_denied(alice.put("secret", "x", None).await);

    let asked = world.cluster.all().nth(1).expect("there are three nodes");
    let log = world.cluster.log(asked);
    let told: Vec<&str> = log.lines().filter(|line| line.contains("alice")).collect();
    let tells =
        |words: &[&str]| told.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(tells(&["Put", "a/1", "Ok"]), "{told:#?}");
    assert!(tells(&["Put", "secret", "PermissionDenied"]), "{told:#?}");
    assert!(!log.contains("alicepw") && !log.contains("of no concern"), "{told:#?}");
    world.finish().await;
}
