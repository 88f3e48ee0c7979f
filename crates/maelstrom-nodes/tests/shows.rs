//! Every protocol under every workload that it serves, in memory, with every fault; and wrong ones, which the judges refuse.

use std::time::Duration;

use quorate_maelstrom::{NetworkMix, Options, Report, Verdict, Workload, run};
use quorate_maelstrom_nodes::{Disk, InMemory, Show, cast, role};
use quorate_sim::Ppm;

/// A network that does everything that it may, and nodes that are killed.
fn rough(workload: Workload) -> Options {
    Options {
        workload,
        nodes: 5,
        requests_last: Duration::from_secs(4),
        rate: 25.0,
        network: NetworkMix {
            loss: Ppm::percent(5),
            latency: Duration::from_millis(5),
            duplicates: Ppm::percent(10),
            has_partitions: true,
        },
        has_kills: true,
        seed: 1,
        timeout: Duration::from_millis(2_000),
        start_within: Duration::from_secs(5),
        settle: Duration::from_secs(60),
        consistency: None,
    }
}

fn show(name: &str, workload: Workload) -> Show {
    role(name).and_then(|role| role.show(workload)).expect("it plays that")
}

fn play(show: Show, options: &Options, disk: Disk) -> Report {
    run(options, &mut InMemory::new(show, options.nodes, options.seed, disk))
}

/// Plays a protocol under all that it serves, each twice: all holds, and the second run is the first once more.
fn assert_serves_under_faults(name: &str) {
    let role = role(name).expect("it plays");
    for workload in role.serves {
        let options = rough(*workload);
        let show = show(name, *workload);
        let report = play(show, &options, Disk::Honest);
        assert!(report.held(), "{name}: {report}");
        let tally = report.tally;
        assert!(report.kills > 0 && report.partitions > 0, "{name}: {report}");
        assert!(
            report.kinds.values().map(|kind| kind.answered).sum::<u64>() > 15,
            "{name}: {report}"
        );
        if tally.sent > 100 {
            assert!(tally.lost > 0 && tally.cut > 0 && tally.duplicated > 0, "{name}: {report}");
        }
        assert_eq!(play(show, &options, Disk::Honest), report, "{name} is not its seed's alone");
    }
}

macro_rules! serves_under_faults {
    ($($name:ident),+) => {
        $(#[test]
        fn $name() {
            assert_serves_under_faults(stringify!($name));
        })+

        #[test]
        fn everyone_who_plays_is_tested() {
            let tested = [$(stringify!($name)),+];
            for role in cast::ROLES {
                assert!(tested.contains(&role.name), "{}", role.name);
            }
        }
    };
}

serves_under_faults!(
    raft,
    multi_paxos,
    viewstamped_replication,
    zab,
    reliable_broadcast,
    fifo_broadcast,
    causal_broadcast,
    total_order_broadcast,
    gossip,
    lamport_clock
);

/// The first of some seeds whose run breaks, with what is found.
fn broken(show: Show, options: &Options, disk: Disk) -> Vec<&'static str> {
    for seed in 1..=8 {
        let options = Options { seed, ..options.clone() };
        let report = play(show, &options, disk);
        if let Verdict::Broken(findings) = &report.verdict {
            return findings.iter().map(|finding| finding.anomaly).collect();
        }
    }
    Vec::new()
}

#[test]
fn a_broadcast_that_never_sends_again_loses_what_the_network_loses() {
    let show = show("reliable_broadcast", Workload::Broadcast).with_mutant("never_sends_again");
    let options = Options { settle: Duration::from_secs(1), ..rough(Workload::Broadcast) };
    assert!(broken(show, &options, Disk::Honest).contains(&"lost"));
}

#[test]
fn a_broadcast_that_delivers_every_copy_shows_elements_twice() {
    let show = show("reliable_broadcast", Workload::GSet).with_mutant("delivers_every_copy");
    // Among more than two, each copy makes copies, and there is no end to them.
    let options = Options { nodes: 2, ..rough(Workload::GSet) };
    assert!(broken(show, &options, Disk::Honest).contains(&"repeated"));
}

#[test]
fn a_log_that_takes_repeated_proposals_adds_twice() {
    let show = show("raft", Workload::GCounter).with_mutant("accepts_repeated_proposals");
    let options = Options { settle: Duration::from_secs(1), ..rough(Workload::GCounter) };
    assert!(broken(show, &options, Disk::Honest).contains(&"wrong-sum"));
}

#[test]
fn replicas_that_perform_as_they_hear_disagree() {
    let show = show("multi_paxos", Workload::TxnListAppend).with_mutant("performs_as_they_come");
    let options = rough(Workload::TxnListAppend);
    assert_ne!(broken(show, &options, Disk::Honest), [""; 0]);
}

#[test]
fn a_clock_that_does_not_go_up_gives_an_id_twice() {
    let show = show("lamport_clock", Workload::UniqueIds).with_mutant("keeps_its_stamp");
    assert!(broken(show, &rough(Workload::UniqueIds), Disk::Honest).contains(&"duplicate-id"));
}

#[test]
fn a_disk_that_forgets_what_it_called_durable_is_found_out() {
    let options = Options { settle: Duration::from_secs(1), ..rough(Workload::Broadcast) };
    let broadcast = show("reliable_broadcast", Workload::Broadcast);
    assert!(broken(broadcast, &options, Disk::Lying).contains(&"lost"));
    let ids = show("lamport_clock", Workload::UniqueIds);
    let options = rough(Workload::UniqueIds);
    assert!(broken(ids, &options, Disk::Lying).contains(&"duplicate-id"));
    assert_eq!(broken(ids, &options, Disk::Honest), [""; 0]);
}
