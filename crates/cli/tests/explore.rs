//! `quorate explore` as a program that somebody else calls.

use std::process::{Command, Output};

fn explore(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.arg("explore").args(arguments).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_holds_ends_with_0_and_says_how_much_was_seen() {
    let output = explore(&["raft", "--elections", "1", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(report["verdict"], "exhausted");
    assert!(report["states"].as_u64() > Some(500), "{report}");
    assert!(report["goals"].as_array().is_some_and(|goals| goals.len() == 2), "{report}");
    let for_people = text(&explore(&["raft", "--elections", "1"]).stdout);
    assert!(for_people.starts_with("Every promise held in all "), "{for_people}");
}

#[test]
fn an_exploration_that_ran_out_of_room_says_that_there_is_more() {
    let output = explore(&["raft", "--states", "100"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("there are more"), "{}", text(&output.stdout));
}

#[test]
fn a_goal_that_no_state_reached_is_pointed_out() {
    let output = explore(&["raft", "--elections", "0"]);
    assert!(text(&output.stdout).contains("NOT REACHED"), "{}", text(&output.stdout));
}

#[test]
fn misuse_ends_with_2_and_says_what_is_right() {
    for (arguments, hint) in [
        (&["paxos"][..], "raft"),
        (&["raft", "--nodes", "0"], "1..=5"),
        (&["raft", "--mutant", "forgets"], "forgets_its_vote"),
    ] {
        let output = explore(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(hint), "{}", text(&output.stderr));
    }
}

/// The feature may be on by itself, as when everything is tested at once, so both answers are right; each is checked.
#[test]
fn a_mutant_ends_with_1_and_its_shortest_run_or_is_said_to_be_missing() {
    let mutant = ["raft", "--crashes", "1", "--terms", "1", "--mutant", "votes_before_durable"];
    let output = explore(&mutant);
    if output.status.code() == Some(2) {
        assert!(text(&output.stderr).contains("--features mutants"), "{}", text(&output.stderr));
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("BROKEN, in 10 steps"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("election safety"), "{}", text(&output.stderr));
}
