//! Nodes that lose their memory, in a protocol that survives it.
//!
//! A register that only grows, on five nodes. A write is done once the four others hold it, and a read asks three of the
//! others: at least two of those hold what was written, of which one may have lost its memory. A node that boots asks in
//! the same way, and then knows again what it has to know. Before that, no other node's disk is ruined.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{Input, NodeId, Out, Protocol, RequestId};
use quorate_sim::{
    Bounds, Clients, Cluster, Failure, LogDisk, Loss, Plan, RecordCodec, Report, Rule, Simulation,
    Until, Workload, run_seeds,
};
use quorate_storage::{LogId, LogOptions, Mutant};

const NODES: u64 = 5;
const WRITE_QUORUM: usize = 4;
const READ_QUORUM: usize = 3;
const RETRY: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Bug {
    #[default]
    None,
    /// A node that boots does not ask what it has forgotten.
    NeverAsks,
}

struct Config {
    me: NodeId,
    bug: Bug,
}

#[derive(Clone, Debug)]
enum Message {
    Hold { operation: u64, value: u64 },
    Held { operation: u64 },
    Tell { operation: u64 },
    Told { operation: u64, value: u64 },
}

#[derive(Clone, Copy, Debug)]
enum Request {
    Write(u64),
    Read,
}

/// What a node knows after a crash, and whether it knows that this is not all.
#[derive(Clone, Copy, Debug, Default)]
struct Durable {
    value: u64,
    is_lost: bool,
}

/// What is under way, and who has answered.
struct Operation {
    request: Option<(RequestId, Request)>,
    answers: BTreeSet<NodeId>,
    highest: u64,
}

struct Register {
    value: u64,
    /// Whether the node has been told, since its boot, what it may have forgotten.
    is_whole: bool,
    knew_of_loss: bool,
    operations: BTreeMap<u64, Operation>,
    next: u64,
}

type Hands<'a, 'b> = &'a mut Out<'b, Register>;

impl Protocol for Register {
    type Config = Config;
    type Message = Message;
    type Timer = u64;
    type Record = u64;
    type Durable = Durable;
    type Request = Request;
    type Response = u64;

    fn fold(durable: &mut Durable, _: u64, value: u64) {
        durable.value = durable.value.max(value);
    }

    fn recover(config: &Config, durable: Durable, out: &mut Out<'_, Self>) -> Self {
        let mut register = Register {
            value: durable.value,
            is_whole: config.bug == Bug::NeverAsks,
            knew_of_loss: durable.is_lost,
            operations: BTreeMap::new(),
            // No operation of an earlier boot has this name: time is in it.
            next: u64::from(out.choose(u32::MAX)) << 16,
        };
        if !register.is_whole {
            register.begin(config, None, out);
        }
        register
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request } => self.begin(config, Some((id, request)), out),
            Input::Fire(operation) => self.ask_others(config, operation, out),
            Input::Deliver { from, message } => match message {
                Message::Hold { operation, value } => {
                    self.hold(value, out);
                    out.send(from, Message::Held { operation });
                }
                Message::Tell { operation } => {
                    out.send(from, Message::Told { operation, value: self.value });
                }
                Message::Held { operation } => self.on_answer(from, operation, 0, out),
                Message::Told { operation, value } => self.on_answer(from, operation, value, out),
            },
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        format!("{}{}", self.value, if self.is_whole { "" } else { "?" })
    }
}

impl Register {
    fn hold(&mut self, value: u64, out: Hands<'_, '_>) {
        if value > self.value {
            self.value = value;
            out.persist(value);
        }
    }

    /// Begins a request, or without one to ask what this node may have forgotten.
    fn begin(
        &mut self,
        config: &Config,
        request: Option<(RequestId, Request)>,
        out: Hands<'_, '_>,
    ) {
        self.next += 1;
        let operation = Operation { request, answers: BTreeSet::new(), highest: 0 };
        self.operations.insert(self.next, operation);
        self.ask_others(config, self.next, out);
    }

    fn ask_others(&mut self, config: &Config, operation: u64, out: Hands<'_, '_>) {
        let Some(Operation { request, answers, .. }) = self.operations.get(&operation) else {
            return;
        };
        let request = *request;
        for peer in (1..=NODES).map(NodeId).filter(|peer| *peer != config.me) {
            if !answers.contains(&peer) {
                out.send(
                    peer,
                    match request {
                        Some((_, Request::Write(value))) => Message::Hold { operation, value },
                        _ => Message::Tell { operation },
                    },
                );
            }
        }
        out.arm(operation, RETRY..RETRY);
    }

    fn on_answer(&mut self, from: NodeId, name: u64, value: u64, out: Hands<'_, '_>) {
        let Some(operation) = self.operations.get_mut(&name) else { return };
        operation.answers.insert(from);
        operation.highest = operation.highest.max(value);
        // The node itself does not count: what it has must not matter.
        let needed = match operation.request {
            Some((_, Request::Write(_))) => WRITE_QUORUM,
            _ => READ_QUORUM,
        };
        if operation.answers.len() < needed {
            return;
        }
        out.disarm(name);
        let highest = operation.highest;
        let request = operation.request;
        self.operations.remove(&name);
        match request {
            Some((id, Request::Write(value))) => out.reply(id, value),
            Some((id, Request::Read)) => out.reply(id, highest),
            None => {
                self.hold(highest, out);
                self.is_whole = true;
            }
        }
    }
}

struct Codec;

impl RecordCodec<Register> for Codec {
    type Error = String;

    fn encode(&self, value: &u64, into: &mut Vec<u8>) {
        into.extend(value.to_le_bytes());
        into.resize(into.len() + 300, 0xaa);
    }

    fn decode(&self, bytes: Bytes) -> Result<u64, String> {
        let value = bytes.first_chunk().ok_or("too short")?;
        Ok(u64::from_le_bytes(*value))
    }
}

/// Writes rising values and reads; a read must give what was written before it began.
#[derive(Default)]
struct Clerk {
    left: u32,
    /// Whether it goes on writing to the end.
    writes_on: bool,
    values: u64,
    /// The highest value whose write is done.
    done: u64,
    /// What each read has to give at least.
    reads: BTreeMap<RequestId, u64>,
    writes: BTreeMap<RequestId, u64>,
    lost: BTreeSet<NodeId>,
    is_healed: bool,
    wrong: Option<String>,
}

impl Workload<Register> for Clerk {
    fn start(&mut self, clients: &mut Clients<'_, Register>) {
        clients.wake_after(Duration::from_millis(1), 0);
    }

    fn wake(&mut self, _: u64, clients: &mut Clients<'_, Register>) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let node = clients.any_node();
        // What is written all the time comes back to those who have forgotten it; what was written long ago doesn't.
        if (self.writes_on || self.values < 25) && clients.rng().below(2) == 0 {
            self.values += 1;
            let value = self.values;
            if let Some(id) = clients.ask(node, Request::Write(value)) {
                self.writes.insert(id, value);
            }
        } else if let Some(id) = clients.ask(node, Request::Read) {
            self.reads.insert(id, self.done);
        }
        clients.wake_after(Duration::from_millis(20), 0);
    }

    fn reply(&mut self, node: NodeId, id: RequestId, value: u64, _: &mut Clients<'_, Register>) {
        if let Some(value) = self.writes.remove(&id) {
            self.done = self.done.max(value);
        } else if let Some(least) = self.reads.remove(&id)
            && value < least
        {
            self.wrong = Some(format!("{node} reads {value}, after {least} was written"));
        }
    }

    fn crashed(&mut self, _: NodeId, orphans: &BTreeSet<RequestId>, _: &mut Clients<'_, Register>) {
        self.reads.retain(|id, _| !orphans.contains(id));
        self.writes.retain(|id, _| !orphans.contains(id));
    }

    fn lost_memory(&mut self, node: NodeId, loss: Loss, clients: &mut Clients<'_, Register>) {
        let state = clients.cluster().state(node).expect("it has just booted");
        if state.knew_of_loss != (loss == Loss::Known) {
            self.wrong =
                Some(format!("{node} has a loss that is {loss:?}, and was told otherwise"));
        }
        assert_eq!(clients.damaged(), Some(node), "one at a time");
        self.lost.insert(node);
    }

    fn stepped(&mut self, _: NodeId, clients: &mut Clients<'_, Register>) {
        if let Some(node) = clients.damaged()
            && clients.cluster().state(node).is_some_and(|state| state.is_whole)
        {
            clients.mark_whole(node);
        }
    }

    fn healed(&mut self, _: &mut Clients<'_, Register>) {
        self.is_healed = true;
    }

    fn invariant(&mut self, _: NodeId, _: &Cluster<'_, Register>) -> Result<(), String> {
        self.wrong.take().map_or(Ok(()), Err)
    }

    fn is_done(&self) -> bool {
        self.is_healed && self.left == 0 && self.reads.is_empty() && self.writes.is_empty()
    }

    fn verdict(&mut self, _: &Cluster<'_, Register>) -> Result<(), String> {
        if self.lost.len() > 2 {
            return Err(format!("{:?} have lost their memory, which is no minority", self.lost));
        }
        match self.reads.len() + self.writes.len() {
            0 => Ok(()),
            open => Err(format!("{open} operations got no answer")),
        }
    }
}

fn run(seed: u64, bug: Bug, mutant: Option<Mutant>) -> Result<Report, Failure> {
    let bounds =
        Bounds { nodes: NODES as usize, operations: 400, memory_loss: true, ..Bounds::default() };
    let plan = Plan::draw(seed, &bounds);
    let configs = (1..=NODES).map(|me| Config { me: NodeId(me), bug }).collect();
    let disk = |_| {
        let mut options = LogOptions::new(LogId(1));
        options.segment_bytes = 4 << 10;
        options.mutant = mutant;
        LogDisk::with_options(Codec, options, Durable::default)
            .with_lost_base(|| Durable { value: 0, is_lost: true })
    };
    let (left, writes_on) = (plan.bounds.operations, !seed.is_multiple_of(2));
    let clerk = Clerk { left, writes_on, ..Clerk::default() };
    Simulation::new(plan, configs, disk, clerk).run().result
}

#[test]
fn a_protocol_that_asks_its_peers_survives_the_loss_of_memory() {
    let campaign = run_seeds(0..150, 2, Until::AllSeeds, |seed| run(seed, Bug::None, None));
    println!("{campaign}");
    assert!(campaign.failures.is_empty(), "{campaign}");
    // A fault that never occurred was not survived. Versions mix only where that is asked for.
    let missing = campaign.counters.each().filter(|(_, count)| *count == 0);
    let missing: Vec<&str> = missing.map(|(name, _)| name).collect();
    let versions = ["encoded", "between_versions", "unread", "upgrades", "downgrades"];
    assert_eq!(missing, versions, "{campaign}");
}

#[test]
fn a_run_with_loss_of_memory_is_the_same_twice() {
    for seed in 0..5 {
        let first = run(seed, Bug::None, None).expect("it survives");
        assert_eq!(run(seed, Bug::None, None), Ok(first));
    }
}

#[test]
fn a_node_that_does_not_ask_what_it_has_forgotten_is_caught() {
    let campaign =
        run_seeds(0..600, 2, Until::FirstFailure, |seed| run(seed, Bug::NeverAsks, None));
    let failure = campaign.failures.first().expect("the bug is caught");
    assert_eq!(failure.rule, Rule::Invariant, "{failure}");
    assert!(failure.what.contains("after"), "{failure}");
}
