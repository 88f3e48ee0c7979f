//! `quorate lab` as a program that somebody else calls.

use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::Value;

fn lab(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.arg("lab").args(arguments).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[test]
fn the_list_says_of_each_row_what_its_tests_found() {
    let output = lab(&["list", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let rows = json(&output);
    let rows = rows.as_array().expect("it is a list");
    for row in rows {
        let status = row["status"].as_array().expect("every row has one");
        let held =
            status.iter().any(|line| line.as_str().is_some_and(|line| line.starts_with("held")));
        assert!(held, "{} was not tested", row["name"]);
        let found = |kind: &str| {
            status
                .iter()
                .filter(|line| line.as_str().is_some_and(|line| line.starts_with(kind)))
                .count()
        };
        let count = |what: &str| row[what].as_array().map_or(0, Vec::len);
        assert_eq!(found("mutant"), count("mutants"), "{}", row["name"]);
        assert_eq!(found("scenario"), count("scenarios"), "{}", row["name"]);
        assert_eq!(found("explored"), count("explorations"), "{}", row["name"]);
    }
    let table = text(&lab(&["list"]).stdout);
    assert!(table.contains(&format!("{} protocols", rows.len())), "{table}");
}

#[test]
fn the_same_settings_are_the_same_run_and_another_seed_is_another() {
    let trace = |seed: &str| text(&lab(&["run", "paxos", "loss=20", seed, "--trace"]).stdout);
    let first = trace("seed=5");
    assert_eq!(first, trace("seed=5"));
    assert_ne!(first, trace("seed=6"));
    assert!(first.contains("every claim held"), "{first}");
}

#[test]
fn a_mutant_is_found_and_drawn_and_its_run_is_seen_again() {
    let directory = tempfile::tempdir().expect("there is room");
    let page = directory.path().join("run.html");
    let drawn = page.to_str().expect("it is text");
    let mutant = "mutant=ignores_what_was_accepted";
    let output = lab(&["run", "paxos", mutant, "--seeds", "0..1000", "--json", "--html", drawn]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let run = json(&output);
    assert_eq!(run["broken"]["claim"], "agreement", "{run}");
    assert!(std::fs::read_to_string(&page).is_ok_and(|page| page.contains("agreement")));
    let again = lab(&["run", "paxos", run["setup"].as_str().expect("it has one"), "--json"]);
    assert_eq!((again.status.code(), json(&again)), (Some(1), run));
}

#[test]
fn a_boundary_that_is_broken_as_told_is_no_failure() {
    let output = lab(&["run", "paxos", "--scenario", "duelling_proposers"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("As it must"), "{}", text(&output.stdout));
    assert_eq!(lab(&["explore", "two_generals"]).status.code(), Some(0));
    let mutant = lab(&["explore", "paxos", "--mutant", "forgets_its_proposal"]);
    assert_eq!(mutant.status.code(), Some(1));
    assert!(text(&mutant.stdout).contains("validity was BROKEN in"), "{}", text(&mutant.stdout));
}

#[test]
fn mutants_are_told_with_the_claim_and_what_it_took() {
    let output = lab(&["mutants", "paxos", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let hunts = json(&output);
    assert_eq!(hunts.as_array().map(Vec::len), Some(4), "{hunts}");
    assert!(hunts[1]["seeds_needed"].as_u64().is_some_and(|seeds| seeds > 0), "{hunts}");
    let missed = lab(&["mutants", "paxos", "--seeds", "1", "--states", "10"]);
    assert_eq!(missed.status.code(), Some(1), "{}", text(&missed.stdout));
    assert!(text(&missed.stdout).contains("NOT CAUGHT"), "{}", text(&missed.stdout));
}

#[test]
fn what_is_asked_wrongly_is_told_with_what_is_right() {
    for (arguments, words) in [
        (&["run", "paxso"] as &[&str], "did you mean paxos?"),
        (&["run", "paxos", "nodes=0"], "nodes is a whole number from 1 to"),
        (&["run", "paxos", "los=1"], "did you mean loss?"),
        (&["run", "paxos", "loss"], "write NAME=VALUE"),
        (&["run", "paxos", "faults=pause:n9@0+5"], "n9 is named, but there are only 3 nodes"),
        (&["run", "paxos", "faults=trip:n1@0+5"], "the kinds are crash"),
        (&["run", "paxos", "--scenario", "duelling"], "did you mean duelling_proposers?"),
        (&["run", "paxos", "mutant=none"], "there is no mutant none"),
        (&["run", "two_generals", "nodes=3"], "there are two generals"),
        (&["run", "paxos", "mutant=xyz"], "there are promises_before_durable, "),
        (&["run", "paxos", "byzantine=2"], "there are seed, nodes, "),
        (&["run", "paxos", "faults=link:n1.n7@0+5"], "n7 is named, but there are only 3 nodes"),
        (&["explore", "paxos", "--scope", "7"], "there is no number 7"),
        (&["serve", "--listen", "nowhere"], "such as 127.0.0.1:8640"),
    ] {
        let output = lab(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(words), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn what_cannot_be_done_here_is_told_with_a_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let at = taken.local_addr().expect("it listens").to_string();
    for (arguments, words) in [
        (&["run", "paxos", "--html", "/nowhere/run.html"] as &[&str], "a directory that is there"),
        (&["serve", "--listen", &at], "takes any free port"),
    ] {
        let output = lab(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(words), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_seed_is_an_option_and_a_setting() {
    let run = |words: &[&str]| text(&lab(&[&["run", "paxos", "--json"], words].concat()).stdout);
    assert_eq!(run(&["--seed", "5"]), run(&["seed=5"]));
    assert_ne!(run(&["--seed", "5"]), run(&["--seed", "6"]));
}

#[test]
fn a_claim_that_breaks_is_told_with_what_it_promises() {
    let output = lab(&["run", "redlock", "--scenario", "a_client_stands_still", "--trace"]);
    let said = text(&output.stdout);
    assert!(said.contains("BROKEN exclusion: n4 and n5 are both inside"), "{said}");
    let promise = "No two nodes are inside at the same time.";
    assert!(said.contains(&format!("PROMISED {promise}")), "{said}");
    assert!(said.contains(&format!("It promises: {promise}")), "{said}");
}
