//! One seed, or many: what a run of the trial consists of.

use std::time::Duration;

use quorate_core::{GroupId, Mutants, NodeId};
use quorate_kv::node::{self, Node};
use quorate_protocols::consensus::raft;
use quorate_sim::{Bounds, Describe, Failure, LogDisk, Outcome, Plan, Report, Simulation};
use quorate_storage::log::{LogId, LogOptions};

use crate::codec::NodeRecords;
use crate::workload::Trial;

/// The length of a simulated segment: short, so that a run sees many.
const SEGMENT_BYTES: u64 = 16 << 10;

/// What is on trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspect {
    /// Which deliberate bug the nodes have, if any.
    pub mutants: Mutants,
    /// Which deliberate bug their log has, if any.
    #[cfg(feature = "mutants")]
    pub log: Option<quorate_storage::log::Mutant>,
}

/// The plan of a seed. `command` replays it, with `{replay}` where the replay goes.
pub fn plan(seed: u64, command: &str) -> Plan {
    Plan::draw(seed, &bounds(seed, command))
}

/// The frame of a seed's plan: five nodes mostly, and sometimes three, where one crash is already half of what the
/// cluster survives.
pub fn bounds(seed: u64, command: &str) -> Bounds {
    Bounds {
        nodes: if seed % 3 == 2 { 3 } else { 5 },
        safety: Duration::from_secs(10),
        liveness: Duration::from_secs(30),
        operations: 300,
        invariant_every: 1,
        command: command.to_owned(),
    }
}

/// Runs one plan, and judges it.
pub fn run(suspect: Suspect, plan: &Plan) -> Result<Report, Failure> {
    judge(suspect, plan).result
}

/// Runs one plan, judges it, and gives back the workload with all that it saw.
pub fn judge(suspect: Suspect, plan: &Plan) -> Outcome<Trial> {
    simulation(suspect, plan).run()
}

/// Runs one plan, judges it, and writes down everything that happened.
pub fn run_traced(suspect: Suspect, plan: &Plan) -> Outcome<Trial> {
    simulation(suspect, plan).tracing(Describe::debug()).run()
}

fn simulation(
    suspect: Suspect,
    plan: &Plan,
) -> Simulation<Node, LogDisk<Node, NodeRecords>, Trial> {
    let groups = groups(plan.replay.seed);
    let nodes = (1..=plan.bounds.nodes as u64).map(NodeId);
    let election_timeout = election_timeout(plan.replay.seed);
    let configs = nodes.clone().map(|me| {
        let mut raft = raft::Config::new(me, nodes.clone().collect());
        raft.election_timeout = election_timeout;
        raft.heartbeat_interval = election_timeout / 10;
        raft.append_bytes_max = append_bytes_max(plan.replay.seed);
        raft.mutants = suspect.mutants;
        node::Config { groups: groups.clone(), raft }
    });
    let trial = Trial::new(&groups, plan.bounds.operations);
    let disk = |_| LogDisk::with_options(NodeRecords, log_options(suspect));
    Simulation::new(plan.clone(), configs.collect(), disk, trial)
}

/// One shard mostly, and now and then several, which share nodes, log and envelopes.
fn groups(seed: u64) -> Vec<GroupId> {
    (1..=if seed % 4 == 3 { 3 } else { 1 }).map(GroupId).collect()
}

/// The usual one, or one so short that elections meet, cross and fail all the time.
fn election_timeout(seed: u64) -> Duration {
    Duration::from_millis([500, 500, 150, 30][(seed / 2 % 4) as usize])
}

/// The usual size of a message, or so little that each entry travels alone, and a crash comes between any two.
fn append_bytes_max(seed: u64) -> usize {
    if (seed / 8).is_multiple_of(2) { 1 << 20 } else { 1 }
}

fn log_options(suspect: Suspect) -> LogOptions {
    let mut options = LogOptions::new(LogId(1));
    options.segment_bytes = SEGMENT_BYTES;
    #[cfg(feature = "mutants")]
    {
        options.mutant = suspect.log;
    }
    #[cfg(not(feature = "mutants"))]
    let _ = suspect;
    options
}
