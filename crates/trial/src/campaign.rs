//! One seed, or many: what a run of the trial consists of.

use std::time::Duration;

use quorate_core::{GroupId, Mutants, NodeId};
use quorate_engine::{MemoryDisk, MemoryEngine};
use quorate_kv::node::{self, Node};
use quorate_protocols::consensus::raft;
use quorate_sim::{Bounds, Failure, LogDisk, Outcome, Plan, Report, Simulation};
use quorate_storage::log::{LogId, LogOptions};

use crate::codec::NodeRecords;
use crate::hunt::{Hunt, Leaders, Quarry, Voters};
use crate::words;
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

/// The frame of a seed's plan.
pub fn bounds(seed: u64, command: &str) -> Bounds {
    let setting = Setting::of(seed);
    Bounds {
        nodes: setting.nodes,
        safety: Duration::from_secs(10),
        liveness: Duration::from_secs(30),
        operations: setting.operations,
        invariant_every: 1,
        memory_loss: false,
        command: command.to_owned(),
    }
}

/// What a seed decides beside its plan, in words: `5 nodes, 1 shard, elections after 60 ms, leaders hunted`.
pub fn describe(seed: u64) -> String {
    let Setting { nodes, groups, election_timeout, append_bytes_max, hunted, .. } =
        Setting::of(seed);
    let shards = groups.len();
    let plural = if shards == 1 { "" } else { "s" };
    let timeout = election_timeout.as_millis();
    let alone = if append_bytes_max == 1 { ", each entry sent alone" } else { "" };
    let hunted = match hunted {
        Some(Hunted::Leaders) => ", leaders hunted",
        Some(Hunted::Voters) => ", voters hunted",
        None => "",
    };
    format!("{nodes} nodes, {shards} shard{plural}, elections after {timeout} ms{alone}{hunted}")
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

fn simulation(
    suspect: Suspect,
    plan: &Plan,
) -> Simulation<Node, LogDisk<Node, NodeRecords>, Trial> {
    let seed = plan.replay.seed;
    let Setting { groups, election_timeout, append_bytes_max, hunted, keeping, .. } =
        Setting::of(seed);
    let nodes = (1..=plan.bounds.nodes as u64).map(NodeId);
    let configs = nodes.clone().map(|me| {
        let mut raft = raft::Config::new(me, nodes.clone().collect());
        raft.election_timeout = election_timeout;
        raft.heartbeat_interval = election_timeout / 10;
        raft.append_bytes_max = append_bytes_max;
        raft.mutants = suspect.mutants;
        raft.entries_kept = keeping.entries_kept;
        let mut config = node::Config::new(groups.clone(), raft);
        config.upkeep_interval = keeping.upkeep_interval;
        config.flush_entries = keeping.flush_entries;
        config
    });
    let quarry = hunted.map(|hunted| match hunted {
        Hunted::Leaders => Quarry::Leaders(Leaders::default()),
        Hunted::Voters => Quarry::Voters(Voters::default()),
    });
    let hunt = quarry.map(|quarry| Hunt::new(seed, quarry, groups[0], election_timeout));
    let trial = Trial::new(&groups, plan.bounds.operations).hunting(hunt);
    let disk = |_| {
        let disks: Vec<(GroupId, MemoryDisk)> =
            groups.iter().map(|group| (*group, MemoryDisk::new())).collect();
        let base = move || {
            let open =
                |(group, disk): &(GroupId, MemoryDisk)| (*group, MemoryEngine::open(disk.clone()));
            node::Durable::new(disks.iter().map(open).collect())
        };
        LogDisk::with_options(NodeRecords, log_options(suspect), base)
    };
    Simulation::new(plan.clone(), configs.collect(), disk, trial)
}

/// Whom faults are aimed at in a run, beside those that strike at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hunted {
    Leaders,
    Voters,
}

/// What a seed decides beside faults and requests.
struct Setting {
    /// Five mostly, and sometimes three, where one crash is already half of what the cluster survives.
    nodes: usize,
    /// One shard mostly, and now and then several, which share nodes, log and envelopes.
    groups: Vec<GroupId>,
    /// The usual one, or one so short that elections meet, cross and fail all the time.
    election_timeout: Duration,
    /// The usual size of a message, or so little that each entry travels alone, and a crash comes between any two.
    append_bytes_max: usize,
    /// In one run of eight there is a hunt. It needs many elections, and that for leaders a majority that is more than
    /// two, and entries that travel alone.
    hunted: Option<Hunted>,
    /// How soon stores are durable, and how much of the log is kept after that.
    keeping: Keeping,
    /// Enough to keep everybody busy. Where voters crash all the time, many are left open, and histories of more would be
    /// too hard to search.
    operations: u32,
}

/// How soon stores are durable, and how much of the log is kept after that: in most runs so little that those who were
/// away need a snapshot.
#[derive(Clone, Copy, Debug)]
struct Keeping {
    upkeep_interval: Duration,
    flush_entries: u64,
    entries_kept: u64,
}

impl Setting {
    fn of(seed: u64) -> Self {
        let hunted = match seed % 16 {
            4 => Some(Hunted::Leaders),
            12 => Some(Hunted::Voters),
            _ => None,
        };
        let timeout_ms = match hunted {
            Some(_) => [60, 30, 100, 60][(seed / 16 % 4) as usize],
            None => [500, 500, 150, 30][(seed / 2 % 4) as usize],
        };
        let is_small = seed % 3 == 2 && hunted != Some(Hunted::Leaders);
        let is_alone = !(seed / 8).is_multiple_of(2) || hunted == Some(Hunted::Leaders);
        Setting {
            nodes: if is_small { 3 } else { 5 },
            groups: (1..=if seed % 4 == 3 { 3 } else { 1 }).map(GroupId).collect(),
            election_timeout: Duration::from_millis(timeout_ms),
            keeping: Keeping {
                upkeep_interval: Duration::from_millis(
                    [20, 100, 100, 500][(seed / 3 % 4) as usize],
                ),
                flush_entries: [5, 20, 100, 1_000_000][(seed / 5 % 4) as usize],
                entries_kept: [0, 3, 30][(seed / 7 % 3) as usize],
            },
            append_bytes_max: if is_alone { 1 } else { 1 << 20 },
            hunted,
            operations: if hunted == Some(Hunted::Voters) { 75 } else { 300 },
        }
    }
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
