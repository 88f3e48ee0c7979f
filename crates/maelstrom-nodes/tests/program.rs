//! A node as a program: what it says to lines, what it keeps in its journal, and what it refuses.

use std::io::Cursor;
use std::path::Path;

use quorate_maelstrom::Workload;
use quorate_maelstrom::message::Message;
use quorate_maelstrom_nodes::program::{ProgramError, play};
use quorate_maelstrom_nodes::role;
use serde_json::Value;

const INIT: &str = r#"{"src":"c0","dest":"n1","body":{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1","n2"]}}"#;
const GENERATE: &str = r#"{"src":"c1","dest":"n1","body":{"type":"generate","msg_id":7}}"#;

/// What a program of that protocol answers to these lines, and what it complains of.
fn answers(
    name: &str,
    workload: Workload,
    data_dir: Option<&Path>,
    lines: &[&str],
) -> Result<(Vec<Value>, Vec<String>), ProgramError> {
    let show = role(name).and_then(|role| role.show(workload)).expect("it plays that");
    let (mut output, mut complaints) = (Vec::new(), Vec::new());
    let input = Cursor::new(lines.join("\n"));
    play(&show, 1, data_dir, input, &mut output, |what| complaints.push(what.to_owned()))?;
    let said = String::from_utf8(output).expect("it is text");
    let to_clients = said
        .lines()
        .map(|line| Message::parse(line).expect("it is a message"))
        .filter(|message| message.dest.starts_with('c'))
        .map(|message| Value::Object(message.body))
        .collect();
    Ok((to_clients, complaints))
}

fn ids(answers: &[Value]) -> Vec<&str> {
    answers.iter().filter_map(|answer| answer["id"].as_str()).collect()
}

#[test]
fn a_node_goes_on_from_its_journal_and_without_one_begins_anew() {
    let data = tempfile::tempdir().expect("there is room");
    let play = |data_dir| {
        let lines = [INIT, GENERATE, GENERATE];
        answers("lamport_clock", Workload::UniqueIds, data_dir, &lines).expect("it plays").0
    };
    let first = play(Some(data.path()));
    assert_eq!((&first[0]["type"], &first[0]["in_reply_to"]), (&"init_ok".into(), &1.into()));
    assert_eq!(ids(&first), ["1-n1", "2-n1"]);
    assert_eq!(ids(&play(Some(data.path()))), ["3-n1", "4-n1"]);
    assert_eq!(ids(&play(None)), ["1-n1", "2-n1"]);
}

#[test]
fn another_protocols_journal_and_a_name_that_is_a_path_are_refused() {
    let data = tempfile::tempdir().expect("there is room");
    let path = Some(data.path());
    answers("lamport_clock", Workload::UniqueIds, path, &[INIT, GENERATE]).expect("it plays");
    let refused = answers("zab", Workload::Echo, path, &[INIT]).expect_err("it is of a clock");
    assert!(matches!(refused, ProgramError::Strange(_)), "{refused}");
    let elsewhere = INIT.replace(r#""node_id":"n1""#, r#""node_id":"../n1""#);
    let refused = answers("zab", Workload::Echo, path, &[&elsewhere]).expect_err("it is a path");
    assert!(matches!(refused, ProgramError::Name(_)), "{refused}");
}

#[test]
fn what_makes_no_sense_is_passed_over_or_refused_and_the_rest_is_answered() {
    let burn = r#"{"src":"c1","dest":"n1","body":{"type":"burn","msg_id":3}}"#;
    let nonsense = r#"{"src":"n2","dest":"n1","body":{"type":"lamport_clock","say":["x"]}}"#;
    let lines = [GENERATE, "hello", INIT, nonsense, burn, GENERATE];
    let played = answers("lamport_clock", Workload::UniqueIds, None, &lines);
    let (answers, complaints) = played.expect("it plays");
    let kinds: Vec<&str> = answers.iter().filter_map(|answer| answer["type"].as_str()).collect();
    assert_eq!(kinds, ["init_ok", "error", "generate_ok"], "{answers:?}");
    assert_eq!(answers[1]["code"], 10);
    assert!(complaints[0].contains("not JSON"), "{complaints:?}");
}
