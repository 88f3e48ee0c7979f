//! What a seed decides beside its plan: how large the cluster is, how it is set up, and which hazards it meets that the
//! plan's faults know nothing of.

use std::time::Duration;

use quorate_core::GroupId;
use quorate_sim::Rng;

use crate::audience::WATCHED;
use crate::users::GUARDED;

/// Sets the chance of hazards apart from that of all else which the seed decides.
const PURPOSE: u64 = 0x6861_7a61_7264;
/// And the chance of mixed versions apart from that of the other hazards.
const VERSIONS: u64 = 0x6d69_7865_6473;
/// In how many of a hundred runs versions mix. Messages that are encoded take their time, so it can't be in all.
const MIXED_PERCENT: u64 = 6;

/// And that of an audience.
const AUDIENCE: u64 = 0x6175_6469_656e;
/// In how many of a hundred runs without churn there is one.
const AUDIENCE_PERCENT: u64 = 8;
/// And that of users.
const USERS: u64 = 0x0075_7365_7273;
/// In how many of a hundred runs without churn there are some.
const USERS_PERCENT: u64 = 4;

/// What a run meets beside the plan's faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hazards {
    /// Members come and go.
    pub(crate) churn: bool,
    /// Disks lose what they promised to keep.
    pub(crate) memory_loss: bool,
    /// Engines rot, and have no space left.
    pub(crate) engines: bool,
    /// Leaders trust their clocks to save reads a round.
    pub(crate) leases: bool,
    /// Nodes change their version.
    pub(crate) mixed_versions: bool,
    /// A shard of its own is watched, and leases are taken there. Watchers sit at any node, so all take part throughout.
    pub(crate) audience: bool,
    /// Who asks matters in a shard of its own.
    pub(crate) users: bool,
}

impl Hazards {
    /// A third of the runs meets some. Whether among those or not, every fifth has leases, and some mix versions. An
    /// engine that rots while a log is lost elsewhere might be one loss too many, so no run has both.
    fn draw(seed: u64) -> Self {
        let mut rng = Rng::for_purpose(seed, PURPOSE);
        let is_mixed = Rng::for_purpose(seed, VERSIONS).below(100) < MIXED_PERCENT;
        let leases = rng.below(100) < 20;
        let audience = Rng::for_purpose(seed, AUDIENCE).below(100) < AUDIENCE_PERCENT;
        let users = Rng::for_purpose(seed, USERS).below(100) < USERS_PERCENT;
        let none = Hazards { leases, mixed_versions: is_mixed, ..Hazards::default() };
        let drawn = match rng.below(100) {
            0..9 => Hazards { churn: true, ..none },
            9..17 => Hazards { churn: true, memory_loss: true, ..none },
            17..25 => Hazards { memory_loss: true, ..none },
            25..31 => Hazards { engines: true, ..none },
            31..35 => Hazards { churn: true, engines: true, ..none },
            _ => none,
        };
        Hazards { audience: audience && !drawn.churn, users: users && !drawn.churn, ..drawn }
    }
}

/// Whom faults are aimed at in a run, beside those that strike at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hunted {
    Leaders,
    Voters,
}

/// What a seed decides beside faults and requests.
pub(crate) struct Setting {
    /// Five mostly, and sometimes three, where one crash is already half of what the cluster survives; with the spares.
    pub(crate) nodes: usize,
    /// How many of the nodes take no part in the beginning.
    pub(crate) spares: usize,
    /// One shard mostly, and now and then several, which share nodes, log and envelopes.
    pub(crate) groups: Vec<GroupId>,
    /// The usual one, or one so short that elections meet, cross and fail all the time.
    pub(crate) election_timeout: Duration,
    /// The usual size of a message, or so little that each entry travels alone, and a crash comes between any two.
    pub(crate) append_bytes_max: usize,
    /// In one run of eight there is a hunt. It needs many elections, and that for leaders a majority that is more than
    /// two, and entries that travel alone.
    pub(crate) hunted: Option<Hunted>,
    /// What else it meets. A hunt is left to itself: its chains need the same members throughout.
    pub(crate) hazards: Hazards,
    /// How soon stores are durable, and how much of the log is kept after that.
    pub(crate) keeping: Keeping,
    /// Enough to keep everybody busy. Where voters crash all the time, many are left open, and histories of more would be
    /// too hard to search.
    pub(crate) operations: u32,
}

/// How soon stores are durable, and how much of the log is kept after that: in most runs so little that those who were
/// away need a snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping {
    pub(crate) upkeep_interval: Duration,
    pub(crate) flush_entries: u64,
    pub(crate) entries_kept: u64,
}

impl Setting {
    pub(crate) fn of(seed: u64) -> Self {
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
        let hazards = if hunted.is_some() { Hazards::default() } else { Hazards::draw(seed) };
        let (founders, spares) = if is_small { (3, 2) } else { (5, 1) };
        let spares = if hazards.churn { spares } else { 0 };
        let groups = 1..=if seed % 4 == 3 { 3 } else { 1 };
        Setting {
            nodes: founders + spares,
            spares,
            hazards,
            groups: groups
                .map(GroupId)
                .chain(hazards.audience.then_some(WATCHED))
                .chain(hazards.users.then_some(GUARDED))
                .collect(),
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
