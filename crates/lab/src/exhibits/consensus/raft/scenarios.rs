//! Runs of Raft worth seeing.

use crate::scenario::{Expected, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a_first_election",
        what: "Three members start, n1 asks for votes and leads, and a proposal that is put to n2 is committed.",
        setup: "seed=10&kinds=1&asks=n2@100&lasts=150&delay=5-5",
        expected: Expected::Holds,
    },
    Scenario {
        name: "the_leader_crashes",
        what: "The leader crashes with proposals under way; another is elected, and nothing is lost that was put to it or to n3.",
        setup: "seed=10&kinds=1&asks=n1@100,n2@103,n3@103&lasts=1500&delay=5-5&faults=crash:n1@104+1200",
        expected: Expected::Holds,
    },
    Scenario {
        name: "a_partitioned_server_rejoins",
        what: "n3 is cut off. It asks whether anybody would vote for it before it enters a new term; so when it is back, it learns that there is a leader and disturbs nobody.",
        setup: "seed=10&kinds=1&asks=n1@300&lasts=1200&delay=5-5&faults=cut:n3@100+1000",
        expected: Expected::Holds,
    },
    Scenario {
        name: "no_majority_no_progress",
        what: "Two of three are cut off from each other and from the third: nothing is committed, and nothing can be.",
        setup: "kinds=1&asks=n1@100&lasts=3000&patience=0&delay=5-5&faults=cut:n1@0+3000,cut:n2@0+3000",
        expected: Expected::Breaks("progress"),
    },
    Scenario {
        name: "figure_8",
        what: "Figure 8 of the paper. n1 brings an entry to n2 and crashes; n5 leads, and crashes with an entry of its own. n1 leads again and brings its old entry to n3, and so to a majority, but no entry of its new term. It doesn't count that; n5, which leads next, overwrites it.",
        setup: "seed=64&nodes=5&bytes=1&kinds=1&lasts=3100&delay=20-20&asks=n1@400&faults=cut:n1.n2@390+800,crash:n1@450+750,unheard:n5@1075+45,crash:n5@1120+900,cut:n4@1210+790,unheard:n1@1960+40,crash:n1@1990+1100,cut:n2@1990+1100",
        expected: Expected::Holds,
    },
    Scenario {
        name: "two_membership_changes_in_flight",
        what: "n1 is asked to let n4 go, and then n5. Two changes at once might move two votes, so it refuses the second until the first is committed.",
        setup: "seed=10&nodes=5&kinds=8&asks=n1.15@100,n1.19@105,n1.19@200&lasts=250&delay=5-5",
        expected: Expected::Holds,
    },
    Scenario {
        name: "a_change_before_the_first_commit",
        what: "n1 wants n4 to vote no more, and nobody hears of it. n2 leads the other three; were it to let n1's vote go before an entry of its own term is committed, n2 and n4 would do for that, and n1 and n3 would then elect n1. It refuses.",
        setup: "seed=52&nodes=4&kinds=8&delay=20-20&lasts=2300&asks=n1.14@700,n2.2@1251&faults=cut:n1@690+626,unheard:n2.n4@1236+1000",
        expected: Expected::Holds,
    },
    Scenario {
        name: "two_votes_move_at_once",
        what: "n4 and n5 lose their votes in one change: while both memberships are in force, everything needs both majorities.",
        setup: "seed=10&nodes=5&kinds=16&asks=n1.9@100&lasts=150&delay=5-5",
        expected: Expected::Holds,
    },
    Scenario {
        name: "a_learner_gets_a_vote",
        what: "n4 is taken in, is sent the log, and may vote once it has caught up.",
        setup: "seed=10&nodes=4&spare=1&kinds=8&asks=n1.12@100,n1.13@150,n1.13@1100&lasts=1150&delay=5-5",
        expected: Expected::Holds,
    },
    Scenario {
        name: "leadership_is_handed_over",
        what: "n1 is asked to hand over to n2. Once n2 has all that n1 has, n1 tells it to campaign at once, and those who hear a leader vote all the same.",
        setup: "seed=10&kinds=5&asks=n1@100,n1.1@102&lasts=150&delay=5-5",
        expected: Expected::Holds,
    },
    Scenario {
        name: "reads_ask_a_majority",
        what: "A read at n1, which leads, and one at n2. For each, n1 notes what is committed, and hears from a majority that it still leads.",
        setup: "seed=10&kinds=3&asks=n1@100,n1.1@120,n2.1@140&lasts=160&delay=5-5",
        expected: Expected::Holds,
    },
    Scenario {
        name: "a_lease_read",
        what: "With a lease the leader answers at once.",
        setup: "seed=10&kinds=3&lease=10&asks=n1@100,n1.1@120,n2.1@140&lasts=160&delay=5-5",
        expected: Expected::Holds,
    },
    Scenario {
        name: "a_lease_and_clocks_that_drift",
        what: "The leader's clock is slow, the others' are fast, by as much as the lease allows for. n1 is cut off; when n2 leads, n1's lease has long been out, and its read waits.",
        setup: "seed=64&kinds=3&lease=40&drift=40&delay=20-20&lasts=1700&asks=n2@1000,n1.1@1400&faults=cut:n1@700+900",
        expected: Expected::Holds,
    },
    Scenario {
        name: "clocks_worse_than_trusted",
        what: "The same with a lease that takes clocks for perfect: n1 reads what was true before n2 led.",
        setup: "seed=64&kinds=3&lease=0&drift=40&delay=20-20&lasts=1700&asks=n2@1000,n1.1@1400&faults=cut:n1@700+900",
        expected: Expected::Breaks("linearizable_reads"),
    },
    Scenario {
        name: "a_paused_leader_reads",
        what: "n1 stands still with a lease in its hands, and goes on when n2 or n3 has led for a while. A read that waited for it is not answered by the lease.",
        setup: "seed=10&kinds=3&lease=0&delay=20-20&lasts=1800&asks=n2@1000,n1.1@1690&faults=pause:n1@700+1000",
        expected: Expected::Holds,
    },
];
