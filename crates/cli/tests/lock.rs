//! Locks and elections: as `quorate lock` and `quorate elect` use them, in processes that are killed, and as a client that
//! nobody here wrote sees them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use etcd_client::{
    Client, Compare, CompareOp, Error, GetOptions, LockOptions, ProclaimOptions, ResignOptions,
    Txn, TxnOp,
};
use quorate_torture::Cluster;
use quorate_torture::command::run_to_end;
use quorate_torture::process::Process;

/// Far beyond what a slow machine needs.
const SEEN_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Tells its token, and runs until its standard input ends, which it does with the test.
const TELL_AND_WAIT: [&str; 4] =
    ["--", "sh", "-c", "echo $QUORATE_LOCK_KEY $QUORATE_LOCK_REVISION; exec cat"];

struct Trial {
    cluster: Cluster,
    client: Client,
    logs: tempfile::TempDir,
}

impl Trial {
    async fn start() -> Trial {
        let cluster = Cluster::start(env!("CARGO_BIN_EXE_quorate"), 3).await;
        let cluster = cluster.expect("a cluster starts");
        let node = cluster.all().next().expect("there are nodes");
        let client = cluster.client(node).await.expect("a client");
        Trial { cluster, client, logs: tempfile::tempdir().expect("a directory") }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.env("QUORATE_ENDPOINTS", self.cluster.client_urls().join(",")).args(args);
        command
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.path().join(name)
    }

    /// Runs beside the test, and is killed with SIGKILL when it is dropped.
    fn run(&self, name: &str, args: &[&str]) -> Process {
        Process::start(self.command(args), &self.log(name)).expect("it starts")
    }

    /// Waits until so many keys are in a line.
    async fn in_line(&mut self, prefix: &str, expected: i64) {
        let began = Instant::now();
        loop {
            let options = GetOptions::new().with_prefix().with_count_only();
            let count = self.client.get(prefix, Some(options)).await.expect("a read").count();
            if count == expected {
                return;
            }
            assert!(began.elapsed() < SEEN_WITHIN, "{count} are in line rather than {expected}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits as long as a lease of so many seconds lives that nobody renews.
    async fn outlive_a_lease(&mut self, seconds: i64) {
        let lease = self.client.lease_grant(seconds, None).await.expect("a lease").id();
        let began = Instant::now();
        while self.client.lease_time_to_live(lease, None).await.expect("an answer").ttl() >= 0 {
            assert!(began.elapsed() < SEEN_WITHIN, "the lease of {seconds} s has not ended");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn finish(self) {
        self.cluster.finish().await.expect("every node stops cleanly");
    }
}

/// Waits for the line of a log with this number, beginning at 0.
async fn line(log: &Path, number: usize) -> String {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        // The last line may not have been written to its end.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        if let Some(line) = whole.lines().nth(number) {
            return line.to_owned();
        }
        assert!(began.elapsed() < SEEN_WITHIN, "line {number} is not in {text:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The key and the revision that a holder has told.
async fn token(log: &Path) -> (String, i64) {
    let line = line(log, 0).await;
    let (key, revision) = line.split_once(' ').expect("a key and a revision");
    (key.to_owned(), revision.parse().expect("a revision"))
}

/// A write that the holder of a lock does only as long as it holds it.
fn fenced(key: &str, revision: i64) -> Txn {
    let holds = Compare::create_revision(key, CompareOp::Equal, revision);
    Txn::new().when([holds]).and_then([TxnOp::put("protected", key, None)])
}

#[track_caller]
fn assert_refused<T>(outcome: Result<T, Error>, message: &str) {
    match outcome {
        // etcd's own services are clients of etcd, and pass its messages on without its codes.
        Err(Error::GRpcStatus(status)) => {
            assert_eq!((status.code(), status.message()), (tonic::Code::Unknown, message));
        }
        Err(other) => panic!("no status of the server's: {other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[tokio::test]
async fn the_lock_of_a_killed_holder_goes_to_who_waits_with_a_higher_fencing_token() {
    let mut trial = Trial::start().await;
    let args = [&["lock", "jobs", "--ttl", "2"][..], &TELL_AND_WAIT].concat();
    let first = trial.run("first", &args);
    let (first_key, first_token) = token(&trial.log("first")).await;
    let written = trial.client.txn(fenced(&first_key, first_token)).await.expect("a transaction");
    assert!(written.succeeded(), "the holder may write");

    let _second = trial.run("second", &args);
    trial.in_line("jobs/", 2).await;
    // The lock is renewed for longer than it lives by itself, and nobody else is let in.
    trial.outlive_a_lease(3).await;
    assert_eq!(std::fs::read_to_string(trial.log("second")).expect("its log"), "");

    drop(first);
    let (second_key, second_token) = token(&trial.log("second")).await;
    assert!(second_token > first_token, "{second_token} after {first_token}");
    let late = trial.client.txn(fenced(&first_key, first_token)).await.expect("a transaction");
    assert!(!late.succeeded(), "who has lost the lock writes no more");
    let written = trial.client.txn(fenced(&second_key, second_token)).await.expect("a transaction");
    assert!(written.succeeded());
    trial.finish().await;
}

#[tokio::test]
async fn a_command_under_a_lock_ends_as_it_likes_and_frees_the_lock() {
    let trial = Trial::start().await;
    for (script, code) in [("exit 7", 7), ("exit 0", 0), ("kill -KILL $$", 128 + 9)] {
        let args = ["lock", "jobs", "--ttl", "600", "--", "sh", "-c", script];
        let ended = run_to_end(trial.command(&args)).await.expect("it ends");
        assert_eq!(ended.code, Some(code), "{script}: {}", ended.stderr);
    }
    let args = ["elect", "leader", "me", "--", "sh", "-c", "exit 3"];
    let ended = run_to_end(trial.command(&args)).await.expect("it ends");
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let args = ["lock", "jobs", "--", "/no/such/program"];
    let ended = run_to_end(trial.command(&args)).await.expect("it ends");
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot run /no/such/program"), "{}", ended.stderr);
    trial.finish().await;
}

#[tokio::test]
async fn a_command_whose_lock_is_lost_is_ended_whether_it_wants_to_or_not() {
    let mut trial = Trial::start().await;
    let stubborn = "trap '' TERM; echo $QUORATE_LOCK_KEY 1; while read line; do :; done; read l";
    for (name, script) in [("obeys", TELL_AND_WAIT[3]), ("ignores", stubborn)] {
        let args = ["lock", name, "--ttl", "3", "--", "sh", "-c", script];
        let mut holder = trial.run(name, &args);
        let (key, _) = token(&trial.log(name)).await;
        let held = trial.client.get(key, None).await.expect("a read");
        trial.client.lease_revoke(held.kvs()[0].lease()).await.expect("a revocation");
        let status = holder.ended(SEEN_WITHIN).await.expect("it ends");
        assert_eq!(status.code(), Some(1), "{name}");
        let said = std::fs::read_to_string(trial.log(name)).expect("its log");
        assert!(said.contains("what was held is lost"), "{said}");
    }
    trial.finish().await;
}

#[tokio::test]
async fn who_goes_away_while_waiting_leaves_the_line_before_its_lease_ends() {
    let mut trial = Trial::start().await;
    let args = [&["lock", "jobs", "--ttl", "3600"][..], &TELL_AND_WAIT].concat();
    let _holder = trial.run("holder", &args);
    token(&trial.log("holder")).await;
    let waiting = trial.run("waiting", &args);
    trial.in_line("jobs/", 2).await;
    drop(waiting);
    trial.in_line("jobs/", 1).await;
    trial.finish().await;
}

#[tokio::test]
async fn a_leader_that_is_killed_is_followed_by_the_next_candidate_and_listeners_are_told() {
    let mut trial = Trial::start().await;
    let _listener = trial.run("listener", &["elect", "boss", "--listen"]);
    let campaign = |value| [&["elect", "boss", value, "--ttl", "2"][..], &TELL_AND_WAIT].concat();
    let one = trial.run("one", &campaign("one"));
    let (key, first) = token(&trial.log("one")).await;
    let told = trial.log("listener");
    assert_eq!((line(&told, 0).await, line(&told, 1).await), (key, "one".to_owned()));
    let _two = trial.run("two", &campaign("two"));
    trial.in_line("boss/", 2).await;
    drop(one);
    let (key, second) = token(&trial.log("two")).await;
    assert!(second > first, "{second} after {first}");
    assert_eq!((line(&told, 2).await, line(&told, 3).await), (key, "two".to_owned()));
    trial.finish().await;
}

#[tokio::test]
async fn locks_are_etcds_to_a_stock_client() {
    let mut trial = Trial::start().await;
    let client = &mut trial.client;
    let lease = client.lease_grant(600, None).await.expect("a lease").id();
    let under = |lease| Some(LockOptions::new().with_lease(lease));
    let lock = client.lock("l", under(lease)).await.expect("a lock");
    assert_eq!(lock.key(), format!("l/{lease:x}").as_bytes());
    let again = client.lock("l", under(lease)).await.expect("the lease has it already");
    assert_eq!(again.key(), lock.key());
    assert_refused(client.lock("l", under(99)).await, "etcdserver: requested lease not found");
    assert_refused(client.unlock("").await, "etcdserver: key is not provided");

    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.lock("l", None).await });
    trial.in_line("l/", 2).await;
    assert!(!waiting.is_finished());
    trial.client.unlock(lock.key()).await.expect("it is unlocked");
    let next = waiting.await.expect("no panic").expect("the next has it");
    let held = trial.client.get(next.key(), None).await.expect("a read");
    let granted = trial.client.lease_time_to_live(held.kvs()[0].lease(), None).await;
    assert_eq!(granted.expect("a lease of the server's").granted_ttl(), 60);

    // Who loses its place while it waits is told so.
    let mut other = trial.client.clone();
    let waiting = tokio::spawn(async move { other.lock("l", under(lease)).await });
    trial.in_line("l/", 2).await;
    trial.client.lease_revoke(lease).await.expect("a revocation");
    assert_refused(waiting.await.expect("no panic"), "mutex: session is expired");
    trial.finish().await;
}

#[tokio::test]
async fn elections_are_etcds_to_a_stock_client() {
    let mut trial = Trial::start().await;
    let client = &mut trial.client;
    assert_refused(client.leader("e").await, "election: no leader");
    let lease = client.lease_grant(600, None).await.expect("a lease").id();
    let mut seen = client.observe("e").await.expect("it observes");
    let won = client.campaign("e", "one", lease).await.expect("it is elected");
    let leader = won.leader().expect("a leader").clone();
    assert_eq!(leader.key(), format!("e/{lease:x}").as_bytes());
    assert_eq!((leader.name(), leader.lease()), ("e".as_bytes(), lease));
    let told = seen.message().await.expect("no error").expect("an answer");
    assert_eq!(told.kv().expect("a leader").value(), b"one");

    let as_leader = |leader| Some(ProclaimOptions::new().with_leader(leader));
    client.proclaim("two", as_leader(leader.clone())).await.expect("the leader speaks");
    let told = seen.message().await.expect("no error").expect("an answer");
    assert_eq!(told.kv().expect("a leader").value(), b"two");
    let again = client.campaign("e", "three", lease).await.expect("it leads already");
    assert_eq!(again.leader().expect("a leader").rev(), leader.rev());
    let known = client.leader("e").await.expect("there is a leader");
    let kv = known.kv().expect("a leader");
    assert_eq!((kv.value(), kv.create_revision()), (b"three".as_ref(), leader.rev()));

    let late = leader.clone().with_rev(leader.rev() - 1);
    let resign = |leader| Some(ResignOptions::new().with_leader(leader));
    assert_refused(client.proclaim("no", as_leader(late.clone())).await, "election: not leader");
    client.resign(resign(late)).await.expect("it changes nothing");
    client.leader("e").await.expect("there still is a leader");
    client.resign(resign(leader)).await.expect("it resigns");
    assert_refused(client.leader("e").await, "election: no leader");
    assert_refused(client.proclaim("no", None).await, "\"leader\" field must be provided");
    trial.finish().await;
}
