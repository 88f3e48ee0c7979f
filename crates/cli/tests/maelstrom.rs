//! `quorate lab maelstrom` with real programs: good ones hold under faults, and each wrong one is found out.
//!
//! The programs are in `tests/maelstrom`, in Python, without a library. What a run says doesn't depend on how fast the
//! machine is: good programs have far more time to converge than they need, and wrong ones are wrong for good.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// Far beyond what a slow machine needs.
const SETTLE: [&str; 2] = ["--settle", "60"];

/// What is lost for good stays lost however long one waits.
const SETTLE_BRIEFLY: [&str; 2] = ["--settle", "0.5"];

fn program(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/maelstrom");
    root.join(name).to_str().expect("the path is text").into()
}

/// Runs `quorate lab maelstrom` with a program and `--flags`; what is behind a `--` goes to the program.
fn lab(name: &str, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["lab", "maelstrom", "--bin", &program(name), "--start-within", "60"])
        .args(flags)
        .output()
        .expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_held(name: &str, flags: &[&str]) -> Value {
    let output = lab(name, flags);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["verdict"], "held", "{said}");
    report
}

fn assert_broken(name: &str, flags: &[&str], anomaly: &str) {
    let output = lab(name, flags);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(text(&output.stdout).contains("did NOT hold"), "{said}");
    assert!(text(&output.stdout).contains(&format!("{anomaly}: ")), "{said}");
    assert!(text(&output.stderr).contains(anomaly), "{said}");
}

#[test]
fn a_broadcast_that_repeats_what_is_not_acknowledged_survives_loss_and_partitions() {
    let faults = ["--loss", "20", "--partitions", "--json", "--seconds", "2", "--rate", "40"];
    let report =
        assert_held("broadcast.py", &[&["--workload", "broadcast"], &faults[..], &SETTLE].concat());
    assert!(report["messages"]["lost"].as_u64() > Some(0), "{report}");
    assert!(report["messages"]["cut"].as_u64() > Some(0), "{report}");
    assert!(report["requests"]["broadcast"]["answered"].as_u64() > Some(0), "{report}");
}

#[test]
fn a_broadcast_that_tells_once_loses_what_the_network_loses() {
    let flags = ["--workload", "broadcast", "--loss", "40", "--seconds", "2", "--rate", "40"];
    let once = ["--", "--once"];
    assert_broken("broadcast.py", &[&flags[..], &SETTLE_BRIEFLY, &once].concat(), "lost");
}

#[test]
fn a_counter_over_the_sequential_store_adds_up_though_messages_are_lost() {
    let flags = ["--workload", "g-counter", "--nodes", "3", "--loss", "10", "--json"];
    let pace = ["--seconds", "2", "--rate", "40"];
    let report = assert_held("counter.py", &[&flags[..], &pace, &SETTLE].concat());
    assert!(report["requests"]["add"]["answered"].as_u64() > Some(0), "{report}");
}

#[test]
fn a_counter_that_reads_and_then_writes_loses_addings() {
    // All addings go up, so that those that are lost cannot make up for each other.
    let flags = ["--workload", "g-counter", "--seconds", "2", "--rate", "60", "--latency-ms", "30"];
    let shared = ["--", "--shared"];
    assert_broken("counter.py", &[&flags[..], &SETTLE_BRIEFLY, &shared].concat(), "wrong-sum");
}

#[test]
fn a_store_that_passes_everything_on_is_linearizable_and_one_with_a_cache_is_not() {
    let flags = ["--workload", "lin-kv", "--nodes", "3", "--seconds", "2", "--rate", "60"];
    let faults = ["--loss", "5", "--json"];
    let report = assert_held("lin_kv.py", &[&flags[..], &faults].concat());
    assert!(report["requests"]["write"]["answered"].as_u64() > Some(0), "{report}");
    let cache = ["--", "--cache"];
    assert_broken("lin_kv.py", &[&flags[..], &cache].concat(), "not-linearizable");
}

#[test]
fn what_a_program_does_wrong_is_said_with_the_line_and_its_last_words() {
    let flags = ["--workload", "echo", "--nodes", "2", "--seconds", "60", "--rate", "100"];
    for (way, expected) in [
        (
            "garbage",
            &["no message: it is not JSON", "The line: DEBUG: got", "about to complain"][..],
        ),
        ("die", &["ended during the run: exit status: 1", "this node has had enough"]),
        ("nobody", &["`n99`, who isn't there", "The line: {\"src\":", "standard error was empty"]),
        ("impostor", &["in the name of"]),
        ("mute", &["cannot be one: it has no in_reply_to"]),
        ("wrong-type", &["its type is `ok`, not `echo_ok`"]),
    ] {
        let output = lab("broken.py", &[&flags[..], &["--", way]].concat());
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{way}: {said}");
        for expected in expected {
            assert!(said.contains(expected), "{way} lacks {expected:?}: {said}");
        }
        assert!(said.contains("\nn1 ") || said.contains("\nn2 "), "{way} names no node: {said}");
        assert!(text(&output.stderr).contains("broke the protocol"), "{way}");
    }
}

#[test]
fn who_hangs_is_waited_for_so_long_and_not_longer() {
    let flags = ["--workload", "echo", "--nodes", "1", "--start-within", "1", "--", "hang"];
    let output = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["lab", "maelstrom", "--bin", &program("broken.py")])
        .args(flags)
        .output()
        .expect("it runs");
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("n1 has not answered `init` within 1 s"), "{said}");
}

#[test]
fn answers_that_are_wrong_missing_or_refusals_do_not_hold() {
    let flags = ["--workload", "echo", "--nodes", "1", "--seconds", "0.5", "--rate", "40"];
    // Whoever never answers is not waited for long.
    for (way, anomaly, timeout_ms) in [
        ("lie", "different-echo", "60000"),
        ("refuse", "unanswered", "60000"),
        ("silent", "unanswered", "50"),
    ] {
        let timeout = ["--timeout-ms", timeout_ms];
        assert_broken("broken.py", &[&flags[..], &timeout, &["--", way]].concat(), anomaly);
    }
}

/// Runs `quorate lab maelstrom` with these arguments.
fn maelstrom(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["lab", "maelstrom"])
        .args(arguments)
        .output()
        .expect("it runs")
}

#[test]
fn our_own_raft_is_linearizable_as_a_program_that_is_killed_with_9() {
    let data = tempfile::tempdir().expect("there is room");
    let data_dir = data.path().to_str().expect("the path is text");
    let quorate = env!("CARGO_BIN_EXE_quorate");
    let run = ["--bin", quorate, "--workload", "lin-kv", "--nodes", "3", "--seconds", "3"];
    let faults = ["--rate", "60", "--kill", "--loss", "5", "--duplicates", "5", "--json"];
    let patience = ["--start-within", "60", "--settle", "60"];
    let node = ["--", "lab", "node", "raft", "--workload", "lin-kv", "--data-dir", data_dir];
    let output = maelstrom(&[&run[..], &faults, &patience, &node].concat());
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["verdict"], "held", "{said}");
    assert!(report["kills"].as_u64() > Some(0), "{said}");
    assert!(report["requests"]["write"]["answered"].as_u64() > Some(0), "{said}");
    assert!(data.path().join("n1").is_dir() && data.path().join("n3").is_dir());
}

#[test]
fn a_protocol_in_memory_is_the_same_run_from_the_same_seed() {
    let run = ["--protocol", "zab", "--workload", "kafka", "--seconds", "3", "--json"];
    let faults = ["--loss", "5", "--duplicates", "10", "--partitions", "--kill", "--seed", "3"];
    let arguments = [&run[..], &faults].concat();
    let output = maelstrom(&arguments);
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["verdict"], "held", "{report}");
    assert!(report["kills"].as_u64() > Some(0), "{report}");
    assert_eq!(text(&maelstrom(&arguments).stdout), text(&output.stdout));
}

#[test]
fn misuse_ends_with_2_and_says_what_is_right() {
    let broken = program("broken.py");
    for (arguments, hint) in [
        (&["--bin", &broken, "--workload", "brodcast"][..], "did you mean broadcast?"),
        (&["--bin", "not-here-at-all", "--workload", "echo"], "chmod +x"),
        (
            &["--bin", &broken, "--workload", "echo", "--consistency", "serializable"],
            "txn-list-append",
        ),
        (&["--bin", &broken, "--workload", "echo", "--nodes", "0"], "1..=100"),
        (&["--bin", &broken, "--workload", "echo", "--loss", "101"], "0..=100"),
        (&["--workload", "echo"], "--bin"),
        (&["--protocol", "rafft", "--workload", "echo"], "did you mean raft?"),
        (&["--protocol", "gossip", "--workload", "lin-kv"], "lin-kv is served by raft"),
        (&["--protocol", "raft", "--bin", &broken, "--workload", "echo"], "--protocol"),
    ] {
        let output = maelstrom(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(hint), "{}", text(&output.stderr));
    }
}

#[test]
fn what_nodes_say_is_kept_where_one_asks_for_it() {
    let logs = tempfile::tempdir().expect("there is room");
    let directory = logs.path().to_str().expect("the path is text");
    let flags = ["--workload", "echo", "--nodes", "1", "--seconds", "60", "--logs", directory];
    lab("broken.py", &[&flags[..], &["--", "garbage"]].concat());
    let read =
        |name: &str| std::fs::read_to_string(logs.path().join(name)).expect("it was written");
    assert!(read("n1.log").contains("about to complain"));
    let messages = read("messages.jsonl");
    assert!(messages.contains("\"init\"") && messages.contains("DEBUG: got"), "{messages}");
}
