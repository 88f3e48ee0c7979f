//! Whole runs with nodes in memory and a clock that jumps: every workload with a database that keeps its promises and
//! with one that doesn't, and the same run from the same seed.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_maelstrom::address::NodeIndex;
use quorate_maelstrom::message::{Body, Message, body, type_of};
use quorate_maelstrom::{
    Complaint, Consistency, NetworkMix, Nodes, Options, Report, Said, StartError, Verdict,
    Workload, run,
};
use quorate_sim::Ppm;
use serde_json::{Value, json};

const NODES: u16 = 3;

/// How long a node takes to answer.
const THINKS_FOR: Duration = Duration::from_millis(2);

/// Nodes that answer a message with messages.
struct InMemory<F> {
    now: Duration,
    behave: F,
    said: BTreeMap<(Duration, usize), (NodeIndex, String)>,
    transcript: Vec<String>,
}

impl<F: FnMut(NodeIndex, &Message) -> Vec<Message>> InMemory<F> {
    fn new(behave: F) -> Self {
        InMemory { now: Duration::ZERO, behave, said: BTreeMap::new(), transcript: Vec::new() }
    }
}

impl<F: FnMut(NodeIndex, &Message) -> Vec<Message>> Nodes for InMemory<F> {
    fn now(&mut self) -> Duration {
        self.now
    }

    fn deliver(&mut self, node: NodeIndex, message: &Message) {
        self.transcript.push(format!("{:?} {}", self.now, message.to_line()));
        for message in (self.behave)(node, message) {
            let number = self.transcript.len();
            self.transcript.push(format!("{:?} {}", self.now, message.to_line()));
            self.said.insert((self.now + THINKS_FOR, number), (node, message.to_line()));
        }
    }

    fn hear(&mut self, until: Duration) -> Option<(NodeIndex, Said)> {
        if let Some(entry) = self.said.first_entry()
            && entry.key().0 <= until
        {
            self.now = self.now.max(entry.key().0);
            let (node, line) = entry.remove();
            return Some((node, Said::Line(line)));
        }
        assert!(until < Duration::from_secs(3_600), "it waits for what never comes");
        self.now = self.now.max(until);
        None
    }

    fn kill(&mut self, node: NodeIndex) {
        self.said.retain(|_, (speaker, _)| *speaker != node);
    }

    fn start_again(&mut self, _: NodeIndex) -> Result<(), StartError> {
        Ok(())
    }

    fn last_words(&mut self, _: NodeIndex) -> Vec<String> {
        vec!["so long".into()]
    }
}

fn options(workload: Workload) -> Options {
    Options {
        workload,
        nodes: NODES,
        requests_last: Duration::from_secs(10),
        rate: 50.0,
        network: NetworkMix {
            loss: Ppm::NEVER,
            latency: Duration::from_millis(5),
            duplicates: Ppm::NEVER,
            has_partitions: false,
        },
        has_kills: false,
        seed: 1,
        timeout: Duration::from_millis(500),
        start_within: Duration::from_secs(5),
        settle: Duration::from_secs(5),
        consistency: None,
    }
}

fn answer(request: &Message, mut body: Body) -> Message {
    body.insert("in_reply_to".into(), request.body["msg_id"].clone());
    Message { src: request.dest.clone(), dest: request.src.clone(), body }
}

/// One database that answers every workload, one request at a time.
#[derive(Default)]
struct Database {
    ids: u64,
    set: Vec<Value>,
    sum: i64,
    registers: BTreeMap<String, Value>,
    logs: BTreeMap<String, Vec<Value>>,
    committed: BTreeMap<String, u64>,
}

impl Database {
    fn answer(&mut self, workload: Workload, request: &Body) -> Body {
        let kind = type_of(request);
        let fields = match kind {
            "echo" => json!({ "echo": request["echo"] }),
            "generate" => {
                self.ids += 1;
                json!({ "id": self.ids })
            }
            "broadcast" => self.add(request["message"].clone()),
            "add" if workload == Workload::GSet => self.add(request["element"].clone()),
            "add" => {
                self.sum += request["delta"].as_i64().expect("a number");
                json!({})
            }
            "read" => match workload {
                Workload::Broadcast => json!({ "messages": self.set }),
                Workload::GSet => json!({ "value": self.set }),
                Workload::LinKv => return self.kv(request),
                _ => json!({ "value": self.sum }),
            },
            "write" | "cas" => return self.kv(request),
            "txn" => json!({ "txn": self.txn(&request["txn"]) }),
            _ => self.kafka(kind, request),
        };
        body(&format!("{kind}_ok"), fields)
    }

    fn add(&mut self, element: Value) -> Value {
        self.set.push(element);
        json!({})
    }

    fn kv(&mut self, request: &Body) -> Body {
        let (kind, key) = (type_of(request), request["key"].to_string());
        let held = self.registers.get(&key);
        match (kind, held) {
            ("write", _) => self.registers.insert(key, request["value"].clone()),
            (_, None) => return body("error", json!({ "code": 20 })),
            ("read", Some(value)) => return body("read_ok", json!({ "value": value })),
            (_, Some(value)) if *value != request["from"] => {
                return body("error", json!({ "code": 22 }));
            }
            _ => self.registers.insert(key, request["to"].clone()),
        };
        body(&format!("{kind}_ok"), json!({}))
    }

    fn txn(&mut self, steps: &Value) -> Vec<Value> {
        let mut done = Vec::new();
        for step in steps.as_array().expect("a list") {
            let (key, mut value) = (step[1].to_string(), step[2].clone());
            let held = self.registers.entry(key).or_default();
            match step[0].as_str() {
                Some("r") => value = held.clone(),
                Some("w") => *held = value.clone(),
                _ => match held {
                    Value::Array(list) => list.push(value.clone()),
                    nothing => *nothing = json!([value]),
                },
            }
            done.push(json!([step[0], step[1], value]));
        }
        done
    }

    fn kafka(&mut self, kind: &str, request: &Body) -> Value {
        let offsets = request.get("offsets").and_then(Value::as_object);
        let offsets = offsets
            .into_iter()
            .flatten()
            .map(|(key, offset)| (key.clone(), offset.as_u64().expect("an offset")));
        match kind {
            "send" => {
                let key = request["key"].as_str().expect("a name");
                let log = self.logs.entry(key.into()).or_default();
                log.push(request["msg"].clone());
                json!({ "offset": log.len() - 1 })
            }
            "poll" => {
                let pairs = |log: &Vec<Value>, from: u64| {
                    let from = from as usize;
                    log.iter()
                        .enumerate()
                        .skip(from)
                        .take(5)
                        .map(|(at, msg)| json!([at, msg]))
                        .collect()
                };
                let polled: BTreeMap<String, Vec<Value>> = offsets
                    .filter_map(|(key, from)| Some((pairs(self.logs.get(&key)?, from), key)))
                    .map(|(pairs, key)| (key, pairs))
                    .collect();
                json!({ "msgs": polled })
            }
            "commit_offsets" => {
                offsets.for_each(|(key, offset)| {
                    self.committed.insert(key, offset);
                });
                json!({})
            }
            "list_committed_offsets" => json!({ "offsets": self.committed }),
            other => panic!("nobody asks `{other}`"),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    /// None: all nodes share one database.
    None,
    /// Each node has a database of its own, and tells the others nothing.
    Apart,
    /// Every third change is made, and then said to have been aborted.
    Unfaithful,
    /// Every third change is acknowledged, and not made.
    Forgetful,
}

fn run_with(options: &Options, flaw: Flaw) -> Report {
    let mut databases: Vec<Database> = (0..NODES).map(|_| Database::default()).collect();
    let mut changes = 0;
    let workload = options.workload;
    let mut nodes = InMemory::new(|node: NodeIndex, message: &Message| {
        let kind = type_of(&message.body);
        if kind == "init" || kind == "topology" {
            return vec![answer(message, body(&format!("{kind}_ok"), json!({})))];
        }
        let database = &mut databases[if flaw == Flaw::Apart { usize::from(node.0) } else { 0 }];
        let is_change = !["read", "poll", "list_committed_offsets"].contains(&kind);
        changes += usize::from(is_change);
        if flaw == Flaw::Forgetful && is_change && changes % 3 == 0 && kind != "cas" {
            // What it would have said, if it had done it.
            let said = match kind {
                "send" => json!({ "offset": 1_000_000 + changes }),
                "txn" => json!({ "txn": Database::default().txn(&message.body["txn"]) }),
                _ => json!({}),
            };
            return vec![answer(message, body(&format!("{kind}_ok"), said))];
        }
        let said = database.answer(workload, &message.body);
        if flaw == Flaw::Unfaithful && is_change && changes % 3 == 0 {
            return vec![answer(message, body("error", json!({ "code": 14, "text": "aborted" })))];
        }
        vec![answer(message, said)]
    });
    run(options, &mut nodes)
}

fn anomalies(report: &Report) -> Vec<&'static str> {
    match &report.verdict {
        Verdict::Broken(findings) => findings.iter().map(|finding| finding.anomaly).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_database_that_keeps_its_promises_holds_in_every_workload() {
    for workload in Workload::ALL {
        let mut options = options(workload);
        options.consistency =
            workload.default_consistency().map(|_| Consistency::StrictSerializable);
        let report = run_with(&options, Flaw::None);
        assert!(report.held(), "{report}");
        let asked: u64 = report.kinds.values().map(|kind| kind.asked).sum();
        assert!(asked > 300, "only {asked} requests were made: {report}");
        assert!(report.kinds.values().all(|kind| kind.answered > 0), "{report}");
    }
}

#[test]
fn nodes_that_tell_each_other_nothing_are_found_out_in_every_workload_that_needs_it() {
    for (workload, expected) in [
        (Workload::UniqueIds, "duplicate-id"),
        (Workload::Broadcast, "lost"),
        (Workload::GSet, "lost"),
        (Workload::GCounter, "wrong-sum"),
        (Workload::PnCounter, "wrong-sum"),
        (Workload::LinKv, "not-linearizable"),
        (Workload::Kafka, "two-at-one-offset"),
        (Workload::TxnListAppend, "incompatible-order"),
        (Workload::TxnRwRegister, "G2-item"),
    ] {
        let mut options = options(workload);
        options.consistency =
            workload.default_consistency().map(|_| Consistency::StrictSerializable);
        let report = run_with(&options, Flaw::Apart);
        assert!(anomalies(&report).contains(&expected), "{report}");
    }
}

#[test]
fn a_database_that_does_what_it_says_it_has_not_is_found_out() {
    for (workload, expected) in [
        (Workload::Broadcast, "invented"),
        (Workload::GSet, "invented"),
        (Workload::GCounter, "wrong-sum"),
        (Workload::LinKv, "not-linearizable"),
        (Workload::Kafka, "invented"),
        (Workload::TxnListAppend, "G1a"),
        (Workload::TxnRwRegister, "G1a"),
    ] {
        let report = run_with(&options(workload), Flaw::Unfaithful);
        assert!(anomalies(&report).contains(&expected), "{report}");
    }
}

#[test]
fn a_database_that_forgets_what_it_has_acknowledged_is_found_out() {
    for (workload, expected) in [
        (Workload::Broadcast, "lost"),
        (Workload::GSet, "lost"),
        (Workload::GCounter, "wrong-sum"),
        (Workload::PnCounter, "wrong-sum"),
        (Workload::LinKv, "not-linearizable"),
        (Workload::Kafka, "lost"),
        (Workload::TxnListAppend, "incompatible-order"),
    ] {
        let report = run_with(&options(workload), Flaw::Forgetful);
        assert!(anomalies(&report).contains(&expected), "{report}");
    }
}

/// A broadcast that tells every neighbour once, and repeats nothing.
fn flood(options: &Options) -> (Report, Vec<String>) {
    let mut seen = vec![Vec::<u64>::new(); usize::from(NODES)];
    let mut nodes = InMemory::new(|node: NodeIndex, message: &Message| {
        let kind = type_of(&message.body);
        let seen = &mut seen[usize::from(node.0)];
        let mut said = Vec::new();
        if let Some(value) = message.body.get("message").and_then(Value::as_u64)
            && !seen.contains(&value)
        {
            seen.push(value);
            for other in NodeIndex::all(NODES).filter(|other| *other != node) {
                let body = body("tell", json!({ "message": value }));
                said.push(Message { src: node.to_string(), dest: other.to_string(), body });
            }
        }
        if kind != "tell" {
            let fields = if kind == "read" { json!({ "messages": seen }) } else { json!({}) };
            said.push(answer(message, body(&format!("{kind}_ok"), fields)));
        }
        said
    });
    let report = run(options, &mut nodes);
    (report, nodes.transcript)
}

#[test]
fn the_same_seed_is_the_same_run_line_by_line_and_another_seed_another() {
    let mut options = options(Workload::Broadcast);
    options.network =
        NetworkMix { loss: Ppm::percent(20), has_partitions: true, ..options.network };
    let (report, transcript) = flood(&options);
    assert_eq!(flood(&options), (report, transcript.clone()));
    options.seed = 2;
    assert_ne!(flood(&options).1, transcript);
}

#[test]
fn what_is_told_once_is_lost_when_messages_or_links_are() {
    let calm = options(Workload::Broadcast);
    let (report, _) = flood(&calm);
    assert!(report.held(), "{report}");
    let lossy = NetworkMix { loss: Ppm::percent(20), ..calm.network.clone() };
    let parted = NetworkMix { has_partitions: true, ..calm.network.clone() };
    for network in [lossy, parted] {
        let (report, _) = flood(&Options { network, ..calm.clone() });
        assert_eq!(anomalies(&report)[0], "lost", "{report}");
        assert!(report.tally.lost + report.tally.cut > 0);
    }
}

#[test]
fn who_never_answers_is_found_silent_and_who_answers_nobody_is_found_out() {
    let echo = options(Workload::Echo);
    let report = run(&echo, &mut InMemory::new(|_, _: &Message| Vec::new()));
    let Verdict::Fault(fault) = &report.verdict else { panic!("{report}") };
    assert!(matches!(fault.complaint, Complaint::Silent { request: "init", .. }), "{fault}");
    let mut is_set_up = false;
    let report = run(
        &Options { nodes: 1, ..echo.clone() },
        &mut InMemory::new(|_, message: &Message| match std::mem::replace(&mut is_set_up, true) {
            true => Vec::new(),
            false => vec![answer(message, body("init_ok", json!({})))],
        }),
    );
    assert_eq!(anomalies(&report), ["unanswered"], "{report}");
    assert_eq!(report.kinds["echo"].in_doubt, report.kinds["echo"].asked);
}

/// Each node numbers its ids, with its own name before them; if it forgets, an `init` begins anew.
fn numbered_ids(options: &Options, forgets: bool) -> Report {
    let mut given = [0; NODES as usize];
    let mut nodes = InMemory::new(|node: NodeIndex, message: &Message| {
        let given = &mut given[usize::from(node.0)];
        let kind = type_of(&message.body);
        match kind {
            "init" if forgets => *given = 0,
            "generate" => *given += 1,
            _ => {}
        }
        vec![answer(
            message,
            body(&format!("{kind}_ok"), json!({ "id": format!("{node}-{given}") })),
        )]
    });
    run(options, &mut nodes)
}

#[test]
fn nodes_are_killed_and_come_back_and_who_forgets_then_is_found_out() {
    // So often that somebody has an answer to come when its node is killed.
    let options = Options { has_kills: true, rate: 1_000.0, ..options(Workload::UniqueIds) };
    let report = numbered_ids(&options, false);
    assert!(report.held(), "{report}");
    assert!(report.kills > 3 && report.kinds["generate"].in_doubt > 0, "{report}");
    assert_eq!(numbered_ids(&options, false), report);
    let report = numbered_ids(&options, true);
    assert_eq!(anomalies(&report)[0], "duplicate-id", "{report}");
}

/// Each node adds up what it and the others were asked to add, once for every time that it is told.
fn told_sums(options: &Options) -> Report {
    let mut sums = [0; NODES as usize];
    let mut nodes = InMemory::new(|node: NodeIndex, message: &Message| {
        let kind = type_of(&message.body);
        let sum = &mut sums[usize::from(node.0)];
        *sum += message.body.get("delta").and_then(Value::as_i64).unwrap_or(0);
        let mut said = Vec::new();
        if kind == "add" {
            for other in NodeIndex::all(NODES).filter(|other| *other != node) {
                let body = body("tell", json!({ "delta": message.body["delta"] }));
                said.push(Message { src: node.to_string(), dest: other.to_string(), body });
            }
        }
        if kind != "tell" {
            said.push(answer(message, body(&format!("{kind}_ok"), json!({ "value": *sum }))));
        }
        said
    });
    run(options, &mut nodes)
}

#[test]
fn who_counts_what_it_is_told_twice_adds_up_to_too_much() {
    let mut options = options(Workload::GCounter);
    let report = told_sums(&options);
    assert!(report.held(), "{report}");
    options.network.duplicates = Ppm::percent(20);
    let report = told_sums(&options);
    assert_eq!(anomalies(&report)[0], "wrong-sum", "{report}");
    assert!(report.tally.duplicated > 0);
}
