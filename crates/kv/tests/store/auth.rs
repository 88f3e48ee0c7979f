//! Users, roles and permissions: who may do what, rule by rule.

use bytes::Bytes;
use quorate_core::Mutants;
use quorate_engine::MemoryEngine;
use quorate_engine::memory::MemoryDisk;
use quorate_kv::auth::*;
use quorate_kv::error::Error;
use quorate_kv::request::*;
use quorate_kv::store::Store;

use crate::ask::{between, from, get, key as one};

fn auth(store: &mut Store, command: AuthCommand) -> Result<(), Error> {
    store.apply(&Command::Auth(command)).map(|_| ())
}

fn key_of_tokens() -> TokenKey {
    TokenKey(Bytes::from_static(b"a key"))
}

fn add_user(store: &mut Store, name: &str) -> Result<(), Error> {
    let password = Some(PasswordHash(format!("{name}'s")));
    auth(store, AuthCommand::AddUser { name: name.into(), password })
}

fn grant_role(store: &mut Store, user: &str, role: &str) -> Result<(), Error> {
    auth(store, AuthCommand::GrantRole { user: user.into(), role: role.into() })
}

fn grant(store: &mut Store, role: &str, range: KeyRange, access: Access) -> Result<(), Error> {
    let permission = Some(Permission { range, access });
    auth(store, AuthCommand::GrantPermission { role: role.into(), permission })
}

fn revision(store: &Store) -> u64 {
    match store.query(&Query::Auth(AuthQuery::Status)) {
        Ok(Response::Auth(AuthResponse { auth_revision, .. })) => auth_revision,
        other => panic!("{other:?}"),
    }
}

/// A store in which authentication is enabled, and in which alice may read `[r, s)` and `[s, t)`, and write `[w, x)`.
fn guarded(mutants: Mutants) -> Store {
    let mut store = Store::open(MemoryEngine::default(), mutants).unwrap();
    let steps = |store: &mut Store| -> Result<(), Error> {
        add_user(store, "root")?;
        grant_role(store, "root", "root")?;
        add_user(store, "alice")?;
        auth(store, AuthCommand::AddRole("some".into()))?;
        grant(store, "some", between("r", "s"), Access::Read)?;
        grant(store, "some", between("s", "t"), Access::Read)?;
        grant(store, "some", between("w", "x"), Access::Write)?;
        grant_role(store, "alice", "some")?;
        auth(store, AuthCommand::Enable(key_of_tokens()))
    };
    steps(&mut store).expect("each step is in order");
    store
}

fn asker(store: &Store, user: &str) -> Asker {
    Asker { user: user.into(), checked_at: Some(revision(store)) }
}

fn may(store: &Store, user: &str, command: &Command) -> bool {
    match store.authorize(Some(&asker(store, user)), command) {
        Ok(()) => true,
        Err(Error::PermissionDenied) => false,
        Err(other) => panic!("{other}"),
    }
}

fn put(key: &'static str, prev_kv: bool, lease: i64) -> PutRequest {
    let (key, value, lease) = (key.into(), "v".into(), LeaseId(lease));
    PutRequest { key, value, lease, prev_kv, ignore_value: false, ignore_lease: false }
}

fn delete(range: KeyRange, prev_kv: bool) -> DeleteRangeRequest {
    DeleteRangeRequest { range, prev_kv }
}

fn txn(success: Vec<Operation>, failure: Vec<Operation>) -> TxnRequest {
    TxnRequest { compare: Vec::new(), success, failure }
}

#[test]
fn a_put_or_a_deletion_needs_write_and_what_was_there_before_needs_read() {
    let store = guarded(Mutants::NONE);
    let alice = |command: Command| may(&store, "alice", &command);
    assert!(alice(Command::Put(put("w", false, 0))));
    assert!(!alice(Command::Put(put("r", false, 0))));
    assert!(!alice(Command::Put(put("w", true, 0))));
    assert!(alice(Command::DeleteRange(delete(between("w", "wz"), false))));
    assert!(!alice(Command::DeleteRange(delete(between("w", "y"), false))));
    assert!(!alice(Command::DeleteRange(delete(between("w", "wz"), true))));
    assert!(may(&store, "root", &Command::Put(put("anything", true, 0))));
    let bug = guarded(Mutants::only("auth_ignores_prev_kv"));
    assert!(may(&bug, "alice", &Command::Put(put("w", true, 0))), "the mutant is not noticed");
}

#[test]
fn ranges_that_touch_are_one_and_a_gap_between_them_is_not_jumped() {
    let mut store = guarded(Mutants::NONE);
    let reads = |store: &Store, range: KeyRange| {
        let query = Query::Range(get(range));
        store.authorize_query(Some(&asker(store, "alice")), &query).is_ok()
    };
    assert!(reads(&store, between("ra", "sz")));
    assert!(!reads(&store, between("ra", "w")));
    assert!(!reads(&store, from("r")));
    grant(&mut store, "some", between("u", "v"), Access::Read).unwrap();
    assert!(!reads(&store, between("ra", "uz")));
    let mut bug = guarded(Mutants::only("auth_checks_range_ends_only"));
    grant(&mut bug, "some", between("u", "v"), Access::Read).unwrap();
    assert!(reads(&bug, between("ra", "uz")), "the mutant is not noticed");
}

#[test]
fn every_operation_of_a_transaction_is_asked_about_in_both_blocks_and_at_every_depth() {
    let store = guarded(Mutants::NONE);
    let alice = |txn: TxnRequest| may(&store, "alice", &Command::Txn(txn));
    let permitted = || Operation::Put(put("w", false, 0));
    let refused = || {
        [
            Operation::Put(put("a", false, 0)),
            Operation::Put(put("w", true, 0)),
            Operation::Range(get(one("a"))),
            Operation::DeleteRange(delete(one("r"), false)),
            Operation::DeleteRange(delete(one("w"), true)),
        ]
    };
    assert!(alice(txn(vec![permitted(), Operation::Range(get(one("r")))], vec![permitted()])));
    for operation in refused() {
        assert!(!alice(txn(vec![permitted(), operation.clone()], vec![])), "{operation:?}");
        assert!(!alice(txn(vec![], vec![operation.clone()])), "{operation:?}");
        let inner = Operation::Txn(txn(vec![], vec![operation.clone()]));
        let nested = txn(vec![Operation::Txn(txn(vec![inner], vec![]))], vec![]);
        assert!(!alice(nested.clone()), "{operation:?}");
        let bug = guarded(Mutants::only("auth_ignores_nested_operations"));
        assert!(may(&bug, "alice", &Command::Txn(nested)), "the mutant is not noticed");
    }
}

#[test]
fn a_condition_reads_what_it_is_about() {
    let on = |key| {
        let target = CompareTarget::Version(1);
        let compare = Compare { range: one(key), relation: Relation::Equal, target };
        Command::Txn(TxnRequest { compare: vec![compare], ..TxnRequest::default() })
    };
    let store = guarded(Mutants::NONE);
    assert!(may(&store, "alice", &on("r")));
    assert!(!may(&store, "alice", &on("a")));
    let bug = guarded(Mutants::only("auth_ignores_conditions"));
    assert!(may(&bug, "alice", &on("a")), "the mutant is not noticed");
}

#[test]
fn who_ends_a_lease_or_binds_to_it_or_asks_what_is_bound_needs_permission_on_all_that_is() {
    let with_lease = |mutants| {
        let mut store = guarded(mutants);
        let grant = LeaseGrantRequest { id: LeaseId(7), ttl_seconds: 60 };
        store.apply(&Command::LeaseGrant(grant)).unwrap();
        store.apply(&Command::Put(put("w", false, 7))).unwrap();
        store
    };
    let mut store = with_lease(Mutants::NONE);
    let revoke = Command::LeaseRevoke(LeaseId(7));
    let bind = Command::Put(put("wx", false, 7));
    assert!(may(&store, "alice", &revoke) && may(&store, "alice", &bind));
    store.apply(&Command::Put(put("secret", false, 7))).unwrap();
    assert!(!may(&store, "alice", &revoke) && !may(&store, "alice", &bind));
    let inside = Command::Txn(txn(vec![Operation::Put(put("wx", false, 7))], vec![]));
    assert!(!may(&store, "alice", &inside));
    let status = |keys| Query::LeaseStatus { id: LeaseId(7), keys };
    let alice = asker(&store, "alice");
    assert_eq!(store.authorize_query(Some(&alice), &status(false)), Ok(()));
    assert_eq!(store.authorize_query(Some(&alice), &status(true)), Err(Error::PermissionDenied));
    let mut bug = with_lease(Mutants::only("auth_ignores_bound_keys"));
    bug.apply(&Command::Put(put("secret", false, 7))).unwrap();
    assert!(may(&bug, "alice", &revoke), "the mutant is not noticed");
}

#[test]
fn who_did_not_say_who_asks_may_do_nothing_and_time_passes_all_the_same() {
    let store = guarded(Mutants::NONE);
    let nobody = |command: &Command| store.authorize(None, command);
    assert_eq!(nobody(&Command::Put(put("w", false, 0))), Err(Error::UserEmpty));
    assert_eq!(nobody(&Command::LeaseRenew(LeaseId(1))), Err(Error::UserEmpty));
    assert_eq!(nobody(&Command::Tick(TickRequest { term: 1, from_ms: 0, by_ms: 1 })), Ok(()));
    assert_eq!(store.authorize_query(None, &Query::Leases), Err(Error::UserEmpty));
    let password = Query::Auth(AuthQuery::Password("alice".into()));
    assert_eq!(store.authorize_query(None, &password), Ok(()), "nobody could ever log in");
}

#[test]
fn users_are_managed_by_root_and_everybody_may_know_their_own_roles() {
    let store = guarded(Mutants::NONE);
    let alice = asker(&store, "alice");
    let asks = |query| store.authorize_query(Some(&alice), &Query::Auth(query));
    for query in [AuthQuery::User("alice".into()), AuthQuery::Role("some".into())] {
        assert_eq!(asks(query), Ok(()));
    }
    let refused = [
        AuthQuery::User("root".into()),
        AuthQuery::Role("root".into()),
        AuthQuery::Users,
        AuthQuery::Roles,
        AuthQuery::Status,
        AuthQuery::Root,
    ];
    for query in refused {
        assert_eq!(asks(query.clone()), Err(Error::PermissionDenied), "{query:?}");
    }
    assert!(!may(&store, "alice", &Command::Auth(AuthCommand::Disable)));
    let compact = CompactRequest { revision: Revision(1), physical: false };
    assert!(!may(&store, "alice", &Command::Compact(compact)));
    assert!(may(&store, "root", &Command::Auth(AuthCommand::Disable)));
}

#[test]
fn a_password_that_was_checked_before_it_was_changed_counts_for_nothing() {
    let changed = |mutants| {
        let mut store = guarded(mutants);
        let before = asker(&store, "alice");
        let password = PasswordHash("another".into());
        let change = AuthCommand::ChangePassword { name: "alice".into(), password };
        auth(&mut store, change).unwrap();
        store.authorize(Some(&before), &Command::Put(put("w", false, 0)))
    };
    assert_eq!(changed(Mutants::NONE), Err(Error::AuthOldRevision));
    assert_eq!(changed(Mutants::only("auth_uses_old_revision")), Ok(()), "it is not noticed");

    let mut store = guarded(Mutants::NONE);
    let before = asker(&store, "alice");
    auth(&mut store, AuthCommand::DeleteUser("alice".into())).unwrap();
    add_user(&mut store, "alice").unwrap();
    grant_role(&mut store, "alice", "some").unwrap();
    let write = Command::Put(put("w", false, 0));
    assert_eq!(store.authorize(Some(&before), &write), Err(Error::AuthOldRevision));
    assert!(may(&store, "alice", &write));
}

#[test]
fn a_change_of_others_leaves_a_login_as_it_was_and_what_was_taken_away_is_gone_at_once() {
    let mut store = guarded(Mutants::NONE);
    let alice = asker(&store, "alice");
    let write = Command::Put(put("w", false, 0));
    add_user(&mut store, "bob").unwrap();
    assert_eq!(store.authorize(Some(&alice), &write), Ok(()));
    let (role, range) = ("some".into(), between("w", "x"));
    auth(&mut store, AuthCommand::RevokePermission { role, range }).unwrap();
    assert_eq!(store.authorize(Some(&alice), &write), Err(Error::PermissionDenied));
    let (user, role) = ("alice".into(), "some".into());
    auth(&mut store, AuthCommand::RevokeRole { user, role }).unwrap();
    let read = Query::Range(get(one("r")));
    assert_eq!(store.authorize_query(Some(&alice), &read), Err(Error::PermissionDenied));
}

#[test]
fn what_etcd_refuses_is_refused_in_its_order() {
    let mut store = Store::in_memory();
    let enable = || AuthCommand::Enable(key_of_tokens());
    assert_eq!(auth(&mut store, enable()), Err(Error::RootUserNotExist));
    add_user(&mut store, "root").unwrap();
    assert_eq!(auth(&mut store, enable()), Err(Error::RootRoleNotExist));
    assert_eq!(add_user(&mut store, "root"), Err(Error::UserExists));
    assert_eq!(add_user(&mut store, ""), Err(Error::UserEmpty));
    assert_eq!(grant_role(&mut store, "nobody", "root"), Err(Error::UserNotFound));
    assert_eq!(grant_role(&mut store, "root", "none"), Err(Error::RoleNotFound));
    assert_eq!(auth(&mut store, AuthCommand::AddRole(String::new())), Err(Error::RoleEmpty));
    auth(&mut store, AuthCommand::AddRole("r".into())).unwrap();
    assert_eq!(auth(&mut store, AuthCommand::AddRole("r".into())), Err(Error::RoleExists));
    let without = AuthCommand::GrantPermission { role: "r".into(), permission: None };
    assert_eq!(auth(&mut store, without), Err(Error::PermissionNotGiven));
    let backwards = grant(&mut store, "r", between("b", "a"), Access::Read);
    assert_eq!(backwards, Err(Error::InvalidAuthMgmt));
    assert_eq!(grant(&mut store, "none", one("a"), Access::Read), Err(Error::RoleNotFound));
    let revoke = AuthCommand::RevokePermission { role: "r".into(), range: one("a") };
    assert_eq!(auth(&mut store, revoke), Err(Error::PermissionNotGranted));
    let (user, role) = ("root".to_owned(), "r".to_owned());
    let revoke = AuthCommand::RevokeRole { user, role };
    assert_eq!(auth(&mut store, revoke), Err(Error::RoleNotGranted));

    grant_role(&mut store, "root", "root").unwrap();
    let before = revision(&store);
    grant_role(&mut store, "root", "root").unwrap();
    auth(&mut store, enable()).unwrap();
    assert_eq!(revision(&store), before, "neither of these is a change");
    let (user, role) = ("root".to_owned(), "root".to_owned());
    for forbidden in [
        AuthCommand::DeleteUser("root".into()),
        AuthCommand::DeleteRole("root".into()),
        AuthCommand::RevokeRole { user, role },
    ] {
        assert_eq!(auth(&mut store, forbidden), Err(Error::InvalidAuthMgmt));
    }
    assert_eq!(revision(&store), before);
    auth(&mut store, AuthCommand::Disable).unwrap();
    assert_eq!(revision(&store), before + 1);
}

#[test]
fn users_and_roles_outlive_a_crash_and_travel_with_a_snapshot() {
    let mut store = guarded(Mutants::NONE);
    auth(&mut store, AuthCommand::AddRole("other".into())).unwrap();
    auth(&mut store, AuthCommand::DeleteRole("other".into())).unwrap();
    grant(&mut store, "some", from("x"), Access::ReadWrite).unwrap();
    grant(&mut store, "some", one("q"), Access::Write).unwrap();
    assert!(store.auth_is_as_kept().unwrap());
    let mut reader = store.snapshot(1000).unwrap();
    let chunks: Vec<Bytes> = std::iter::from_fn(|| reader.read().unwrap()).collect();
    let table = store.auth().clone();

    let mut behind = Store::in_memory();
    let mut writer = behind.import().unwrap();
    for chunk in &chunks {
        writer.add(chunk).unwrap();
    }
    behind.adopt(writer).unwrap();
    assert_eq!(*behind.auth(), table);

    let disk = MemoryDisk::new();
    let mut kept = Store::open(MemoryEngine::open(disk.clone()), Mutants::NONE).unwrap();
    let mut writer = kept.import().unwrap();
    for chunk in &chunks {
        writer.add(chunk).unwrap();
    }
    kept.adopt(writer).unwrap();
    drop(kept);
    let opened = Store::open(MemoryEngine::open(disk), Mutants::NONE).unwrap();
    assert_eq!(*opened.auth(), table);
    assert!(may(&opened, "alice", &Command::Put(put("q", false, 0))));
}
