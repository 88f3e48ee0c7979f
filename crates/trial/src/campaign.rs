//! One seed, or many: what a run of the trial consists of.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::{GroupId, Mutants, NodeId};
use quorate_kv::node::{self, Node};
use quorate_protocols::consensus::raft::{self, Lease};
use quorate_sim::{Bounds, Failure, Fault, Outcome, Plan, Report, Simulation};
use quorate_storage::log::{LogId, LogOptions};

use crate::audience::{Audience, WATCHED};
use crate::churn::Churn;
use crate::disk::{EngineDisks, NodeDisk, Word};
use crate::engines::Engines;
use crate::hunt::{Hunt, Leaders, Quarry, Voters};
use crate::losses::Losses;
use crate::setting::{Hunted, Setting};
use crate::users::{GUARDED, Users};
use crate::versions::Versions;
use crate::words;
use crate::workload::{AUDIENCE, ENGINES, OPERATOR, Trial, USERS};

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

/// The frame of a seed's plan.
pub fn bounds(seed: u64, command: &str) -> Bounds {
    let setting = Setting::of(seed);
    Bounds {
        nodes: setting.nodes,
        safety: Duration::from_secs(10),
        liveness: Duration::from_secs(30),
        operations: setting.operations,
        invariant_every: 1,
        memory_loss: setting.hazards.memory_loss,
        mixed_versions: setting.hazards.mixed_versions,
        command: command.to_owned(),
    }
}

/// What a seed decides beside its plan, in words: `5 nodes, 1 shard, elections after 60 ms, leaders hunted`.
pub fn describe(seed: u64) -> String {
    let Setting {
        nodes, spares, groups, election_timeout, append_bytes_max, hunted, hazards, ..
    } = Setting::of(seed);
    let shards = groups.len() - usize::from(hazards.audience) - usize::from(hazards.users);
    let plural = if shards == 1 { "" } else { "s" };
    let timeout = election_timeout.as_millis();
    let alone = if append_bytes_max == 1 { ", each entry sent alone" } else { "" };
    let hunted = match hunted {
        Some(Hunted::Leaders) => ", leaders hunted",
        Some(Hunted::Voters) => ", voters hunted",
        None => "",
    };
    let churn = if spares > 0 { format!(", {spares} of them spare") } else { String::new() };
    let losses = if hazards.memory_loss { ", memory lost" } else { "" };
    let engines = if hazards.engines { ", engines spoilt" } else { "" };
    let leases = if hazards.leases { ", leases" } else { "" };
    let versions = if hazards.mixed_versions { ", versions mixed" } else { "" };
    let audience = if hazards.audience { ", one more watched" } else { "" };
    let users = if hazards.users { ", one more guarded" } else { "" };
    format!(
        "{nodes} nodes{churn}, {shards} shard{plural}, elections after {timeout} ms{alone}{hunted}{losses}{engines}{leases}{versions}{audience}{users}"
    )
}

/// Runs one plan, and judges it.
pub fn run(suspect: Suspect, plan: &Plan) -> Result<Report, Failure> {
    judge(suspect, plan).result
}

/// Runs one plan, judges it, and gives back the workload with all that it saw.
pub fn judge(suspect: Suspect, plan: &Plan) -> Outcome<Trial> {
    simulation(suspect, plan).run()
}

/// Runs one plan, judges it, and keeps a log of everything that happened.
pub fn run_traced(suspect: Suspect, plan: &Plan) -> Outcome<Trial> {
    simulation(suspect, plan).tracing(words::describe()).run()
}

fn simulation(suspect: Suspect, plan: &Plan) -> Simulation<Node, NodeDisk, Trial> {
    let seed = plan.replay.seed;
    let setting = Setting::of(seed);
    let Setting { groups, election_timeout, hunted, hazards, .. } = &setting;
    let nodes = (1..=plan.bounds.nodes as u64).map(NodeId);
    let mut plan = plan.clone();
    if hazards.leases || hazards.audience {
        // Leases trust clocks that run as fast as they are said to, within a bound, and never jump: a machine has such a
        // clock beside the one that shows the time of day. In the simulation there is but one, which timers show.
        plan.faults.retain(|scheduled| !matches!(scheduled.fault, Fault::ClockJump { .. }));
    }
    let lease = hazards.leases.then_some(Lease { drift_ppm: plan.mix.drift.0 });
    let configs = nodes.clone().map(|me| config(&setting, me, lease, suspect)).collect();
    let quarry = hunted.map(|hunted| match hunted {
        Hunted::Leaders => Quarry::Leaders(Leaders::default()),
        Hunted::Voters => Quarry::Voters(Voters::default()),
    });
    let hunt = quarry.map(|quarry| Hunt::new(seed, quarry, groups[0], *election_timeout));
    let word = Word::default();
    let versions = Versions::new(seed);
    let engines: BTreeMap<NodeId, EngineDisks> =
        nodes.map(|node| (node, EngineDisks::new(groups))).collect();
    let losses = Losses::new(seed, groups.clone(), word.clone());
    let is_apart = |group: &GroupId| [WATCHED, GUARDED].contains(group);
    let judged: Vec<GroupId> = groups.iter().copied().filter(|group| !is_apart(group)).collect();
    let trial = Trial::new(&judged, plan.bounds.operations, losses)
        .hunting(hunt)
        .churning(hazards.churn.then(|| Churn::new(OPERATOR, groups.clone())))
        .spoiling(hazards.engines.then(|| Engines::new(ENGINES, groups.clone(), engines.clone())))
        .mixing(versions.clone())
        .watched(hazards.audience.then(|| Audience::new(AUDIENCE, suspect.mutants)))
        .guarded(hazards.users.then(|| Users::new(USERS, suspect.mutants)));
    let disk = |node| {
        let (engines, word) = (engines[&node].clone(), word.clone());
        NodeDisk::new(node, log_options(suspect), engines, word, versions.clone())
    };
    Simulation::new(plan, configs, disk, trial).over(versions.clone())
}

/// What a node knows before it starts. Those that join later know nobody, as in production.
fn config(setting: &Setting, me: NodeId, lease: Option<Lease>, suspect: Suspect) -> node::Config {
    let Setting { nodes, spares, groups, election_timeout, append_bytes_max, keeping, .. } =
        setting;
    let founders = (nodes - spares) as u64;
    let voters = if me.0 <= founders { (1..=founders).map(NodeId).collect() } else { Vec::new() };
    let mut raft = raft::Config::new(me, voters);
    raft.election_timeout = *election_timeout;
    raft.heartbeat_interval = *election_timeout / 10;
    raft.append_bytes_max = *append_bytes_max;
    raft.lease = lease;
    raft.mutants = suspect.mutants;
    raft.entries_kept = keeping.entries_kept;
    let mut config = node::Config::new(groups.clone(), raft);
    config.upkeep_interval = keeping.upkeep_interval;
    config.flush_entries = keeping.flush_entries;
    config.lease_ttl_seconds_min = 1;
    config
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
