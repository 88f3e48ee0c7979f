//! Clients that propose values for registers, and judge the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_core::{NodeId, RequestId};
use quorate_sim::{
    Bounds, Clients, Cluster, Describe, Failure, Outcome, Plan, RecordDisk, Replay, Report,
    SimDisk, Simulation, Workload,
};

use crate::protocol::{Bug, Config, Propose, Registers};

/// The mean time between two proposals.
const GAP: Duration = Duration::from_millis(20);

/// Issues proposals, a few to each register, and remembers what was proposed and answered.
pub(crate) struct Proposals {
    left: u32,
    values: u64,
    proposed: BTreeMap<u32, BTreeSet<u64>>,
    decided: BTreeMap<u32, u64>,
    pending: BTreeMap<RequestId, u32>,
    is_healed: bool,
    wrong: Option<String>,
}

impl Proposals {
    pub(crate) fn new(plan: &Plan) -> Self {
        let operations = plan.bounds.operations;
        Proposals {
            left: operations,
            values: 0,
            proposed: BTreeMap::new(),
            decided: BTreeMap::new(),
            pending: BTreeMap::new(),
            is_healed: false,
            wrong: None,
        }
    }

    fn propose(&mut self, clients: &mut Clients<'_, Registers>) {
        // About four proposals to a register, so that nodes compete for it.
        let register = (self.values / 4) as u32;
        self.values += 1;
        let value = self.values;
        let node = clients.any_node();
        if let Some(id) = clients.ask(node, Propose { register, value }) {
            self.proposed.entry(register).or_default().insert(value);
            self.pending.insert(id, register);
        }
    }
}

impl Workload<Registers> for Proposals {
    fn start(&mut self, clients: &mut Clients<'_, Registers>) {
        clients.wake_after(Duration::from_millis(1), 0);
    }

    fn wake(&mut self, _: u64, clients: &mut Clients<'_, Registers>) {
        if self.left > 0 {
            self.left -= 1;
            self.propose(clients);
            let gap = clients.rng().duration(&(Duration::ZERO..GAP * 2));
            clients.wake_after(gap, 0);
        }
    }

    fn reply(&mut self, node: NodeId, id: RequestId, value: u64, _: &mut Clients<'_, Registers>) {
        let register = self.pending.remove(&id).expect("answers go to those who asked");
        let first = *self.decided.entry(register).or_insert(value);
        if first != value {
            self.wrong = Some(format!(
                "{node} answers {value} for register {register}, but {first} was answered before"
            ));
        } else if !self.proposed.get(&register).is_some_and(|values| values.contains(&value)) {
            self.wrong = Some(format!("nobody proposed {value} for register {register}"));
        }
    }

    fn crashed(
        &mut self,
        _: NodeId,
        orphans: &BTreeSet<RequestId>,
        _: &mut Clients<'_, Registers>,
    ) {
        self.pending.retain(|id, _| !orphans.contains(id));
    }

    fn healed(&mut self, clients: &mut Clients<'_, Registers>) {
        self.is_healed = true;
        // Progress is demanded of every node, on a register of its own.
        for node in clients.cluster().nodes() {
            let register = 1_000_000 + node.0 as u32;
            let asked = clients.ask(node, Propose { register, value: node.0 });
            // A node that was down boots in this same instant, but after this.
            if let Some(id) = asked {
                self.proposed.entry(register).or_default().insert(node.0);
                self.pending.insert(id, register);
            }
        }
    }

    fn invariant(&mut self, _: NodeId, cluster: &Cluster<'_, Registers>) -> Result<(), String> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        for (node, state) in cluster.live() {
            for (register, value) in &state.decided {
                let first = *self.decided.entry(*register).or_insert(*value);
                if first != *value {
                    return Err(format!(
                        "{node} decides {value} for register {register}, but {first} was decided before"
                    ));
                }
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_healed && self.left == 0 && self.pending.is_empty()
    }

    fn verdict(&mut self, _: &Cluster<'_, Registers>) -> Result<(), String> {
        match self.pending.first_key_value() {
            Some((id, register)) => Err(format!("{id}, for register {register}, got no answer")),
            None => Ok(()),
        }
    }
}

/// The bounds of these tests' runs.
pub(crate) fn bounds() -> Bounds {
    Bounds {
        command: "cargo test -p quorate-sim {replay}".to_owned(),
        operations: 400,
        ..Bounds::default()
    }
}

/// A run of that plan on any kind of disk, traced if `is_traced`.
pub(crate) fn run_on<D: SimDisk<Registers>>(
    plan: &Plan,
    bug: Option<Bug>,
    disk: impl FnMut(NodeId) -> D,
    is_traced: bool,
) -> Outcome<Proposals> {
    let nodes: Vec<NodeId> = (1..=plan.bounds.nodes as u64).map(NodeId).collect();
    let configs = nodes.iter().map(|me| Config { me: *me, nodes: nodes.clone(), bug }).collect();
    let simulation = Simulation::new(plan.clone(), configs, disk, Proposals::new(plan));
    if is_traced { simulation.tracing(Describe::debug()).run() } else { simulation.run() }
}

/// A run of that plan on disks that keep records as they are.
pub(crate) fn run(plan: &Plan, bug: Option<Bug>) -> Result<Report, Failure> {
    run_on(plan, bug, |_| RecordDisk::new(), false).result
}

/// A run of that seed.
pub(crate) fn run_seed(seed: u64, bug: Option<Bug>) -> Result<Report, Failure> {
    run(&Plan::draw(seed, &bounds()), bug)
}

/// A run of that replay.
pub(crate) fn run_replay(replay: &Replay, bug: Option<Bug>) -> Result<Report, Failure> {
    run(&Plan::of(replay, &bounds()), bug)
}
