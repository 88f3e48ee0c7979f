//! Raft's deliberate bugs, each with a setup in which it shows.

use crate::about::Mutant;

/// What has few runs that nobody disturbs, with as much going wrong as a second of simulated time holds.
const STORMY: &str = "kinds=1&crashes=12&partitions=6&requests=12&lasts=6000&loss=20";
/// Many reads and proposals, and leaders that are cut off.
const READ: &str = "kinds=3&requests=60&crashes=4&partitions=10&lasts=6000";
/// One and two votes move at once, among few members.
const CHANGED: &str = "kinds=25&requests=40&crashes=6&partitions=12&lasts=5000&loss=10";

/// The leader is cut off just after it has told n2 to take over, and is asked to read by its lease.
const HANDED_OVER: &str = "kinds=7&lease=0&requests=0&loss=0&duplicates=0&crashes=0&partitions=0&pauses=0&delay=20-20\
    &lasts=1500&asks=n1.2@700,n2@790,n1.1@900&faults=cut:n1@725+700";
/// The leader is cut off, and the others forget in a crash whom they have heard.
const FORGETFUL: &str = "kinds=3&lease=0&requests=0&loss=0&duplicates=0&crashes=0&partitions=0&pauses=0&delay=20-20\
    &lasts=1700&asks=n2@760,n1.1@1150&faults=cut:n1@700+900,crash:n2@705+20,crash:n3@705+20";
/// The leader is cut off, and its clock is slow.
const DRIFTING: &str = "kinds=3&lease=40&drift=40&requests=0&loss=0&duplicates=0&crashes=0&partitions=0&pauses=0\
    &delay=20-20&lasts=1700&asks=n2@1000,n1.1@1400&faults=cut:n1@700+900";
/// Leaders stand still while they hold a lease.
const PAUSED: &str =
    "kinds=3&lease=0&requests=80&crashes=4&partitions=10&pauses=10&lasts=6000&loss=0";
/// The scenario `figure_8`, whoever leads.
const FIGURE_8: &str = "nodes=5&bytes=1&kinds=1&requests=0&loss=0&duplicates=0&crashes=0&partitions=0&pauses=0\
    &delay=20-20&lasts=3100&asks=n1@400&faults=cut:n1.n2@390+800,crash:n1@450+750,unheard:n5@1075+45,\
    crash:n5@1120+900,cut:n4@1210+790,unheard:n1@1960+40,crash:n1@1990+1100,cut:n2@1990+1100";
/// The scenario `a_change_before_the_first_commit`, whoever leads.
const TOO_SOON: &str = "nodes=4&kinds=8&requests=0&loss=0&duplicates=0&crashes=0&partitions=0&pauses=0&delay=20-20\
    &lasts=2300&asks=n1.14@700,n2.2@1251&faults=cut:n1@690+626,unheard:n2.n4@1236+1000";

pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "votes_before_durable",
        what: "Sends its vote before it is on the disk.",
        breaks: "election_safety",
        setup: STORMY,
    },
    Mutant {
        name: "votes_by_old_majority_only",
        what: "Is elected, while two votes move, without the majority that is to come.",
        breaks: "election_safety",
        setup: CHANGED,
    },
    Mutant {
        name: "yields_to_conflicts",
        what: "Cuts its own log, as a leader, where a follower's differs.",
        breaks: "leader_append_only",
        setup: STORMY,
    },
    Mutant {
        name: "skips_log_matching",
        what: "Takes entries without looking at the one before them.",
        breaks: "log_matching",
        setup: STORMY,
    },
    Mutant {
        name: "ignores_conflicts",
        what: "Keeps an entry of its own where the leader has another.",
        breaks: "log_matching",
        setup: STORMY,
    },
    Mutant {
        name: "counts_older_term",
        what: "Commits an entry of an older term, as a leader, because a majority holds it.",
        breaks: "leader_completeness",
        setup: FIGURE_8,
    },
    Mutant {
        name: "grants_to_shorter_logs",
        what: "Votes for a candidate that lacks what it holds itself.",
        breaks: "leader_completeness",
        setup: STORMY,
    },
    Mutant {
        name: "acknowledges_before_durable",
        what: "Says that it holds entries before they are on its disk.",
        breaks: "leader_completeness",
        setup: STORMY,
    },
    Mutant {
        name: "acknowledges_conflicts",
        what: "Says that it holds an entry where it holds another.",
        breaks: "leader_completeness",
        setup: STORMY,
    },
    Mutant {
        name: "truncates_on_old_messages",
        what: "Drops what follows a message, however old that is.",
        breaks: "leader_completeness",
        setup: STORMY,
    },
    Mutant {
        name: "changes_before_first_commit",
        what: "Changes who takes part before an entry of its own term is committed.",
        breaks: "leader_completeness",
        setup: TOO_SOON,
    },
    Mutant {
        name: "commits_joint_by_new_majority_only",
        what: "Commits, while two votes move, without the majority that was.",
        breaks: "leader_completeness",
        setup: CHANGED,
    },
    Mutant {
        name: "commits_beyond_match",
        what: "Takes the leader's commit index for entries that it may not share.",
        breaks: "state_machine_safety",
        setup: STORMY,
    },
    Mutant {
        name: "serves_stale_reads",
        what: "Answers reads, as a leader, without asking whether it still leads.",
        breaks: "linearizable_reads",
        setup: READ,
    },
    Mutant {
        name: "reads_before_its_term_opens",
        what: "Answers reads, as a new leader, before it knows what is committed.",
        breaks: "linearizable_reads",
        setup: READ,
    },
    Mutant {
        name: "lease_without_drift",
        what: "Trusts its lease for as long as others have promised, whatever the clocks do.",
        breaks: "linearizable_reads",
        setup: DRIFTING,
    },
    Mutant {
        name: "lease_survives_pause",
        what: "Reads by its lease before it has looked whether that is out.",
        breaks: "linearizable_reads",
        setup: PAUSED,
    },
    Mutant {
        name: "keeps_lease_through_transfer",
        what: "Reads by its lease after it has told another to take over.",
        breaks: "linearizable_reads",
        setup: HANDED_OVER,
    },
    Mutant {
        name: "votes_within_lease_after_restart",
        what: "Forgets in a crash that it has promised to vote for nobody.",
        breaks: "linearizable_reads",
        setup: FORGETFUL,
    },
    Mutant {
        name: "accepts_repeated_proposals",
        what: "Appends a submission again that came twice.",
        breaks: "at_most_once",
        setup: STORMY,
    },
    Mutant {
        name: "resubmits_without_barrier",
        what: "Submits a proposal again before it knows what became of it.",
        breaks: "at_most_once",
        setup: STORMY,
    },
    Mutant {
        name: "counts_learners",
        what: "Waits for a majority of all, and not of those who vote.",
        breaks: "progress",
        setup: "nodes=5&spare=1&kinds=25&requests=40&crashes=6&partitions=8&lasts=6000&loss=10",
    },
];
