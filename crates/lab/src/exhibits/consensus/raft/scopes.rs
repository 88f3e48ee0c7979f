//! Within which bounds Raft is explored.
//!
//! Each is small, since every mutant is looked for in each; `quorate explore raft` takes larger bounds of all kinds.

use quorate_explore::{Bounds, Goal, Syncs};
use quorate_protocols::consensus::raft::{self, Index, Term, Timer};

use crate::exhibit::Scope;
use crate::explored::Explorable;

use super::Raft;

const LEADS: Goal<Explorable<Raft>> =
    ("a member leads", |cluster| cluster.states().any(raft::Raft::is_leader));
const COMMITS: Goal<Explorable<Raft>> =
    ("an entry is committed", |cluster| cluster.states().any(|raft| raft.commit() > Index(0)));
/// Beside the entry that opens the first term.
const COMMITS_MORE: Goal<Explorable<Raft>> = ("what a client asks is committed", |cluster| {
    cluster.states().any(|raft| raft.commit() > Index(1))
});
const NEXT_LEADER: Goal<Explorable<Raft>> = ("another member leads the next term", |cluster| {
    cluster.states().any(|raft| raft.is_leader() && raft.term() == Term(2))
});
const TWO_LEADERS: Goal<Explorable<Raft>> =
    ("one leads that does not know of the next", |cluster| {
        cluster.states().filter(|raft| raft.is_leader()).count() == 2
    });
const ALL_READ: Goal<Explorable<Raft>> =
    ("a proposal is answered, and then a read", |cluster| cluster.history().has_read(Index(2)));
const JOINT: Goal<Explorable<Raft>> = ("two memberships are in force at once", |cluster| {
    cluster.states().any(|raft| raft.membership().is_joint())
});
const ONE_LESS: Goal<Explorable<Raft>> = ("a member is committed to have gone", |cluster| {
    cluster.states().any(|raft| raft.committed_membership().nodes().len() < 3)
});

pub(crate) fn scopes() -> Vec<Scope<Raft>> {
    let scope = |what, setup, bounds, timers, goals| Scope {
        what,
        setup,
        bounds,
        timers,
        syncs: Syncs::EachTurn,
        is_symmetric: true,
        breaks: None,
        goals,
        awaited: &[],
    };
    let bounds = |requests, crashes, repeats| Bounds { requests, crashes, repeats, hints: 0 };
    let timers = |elections| vec![(Timer::Election, elections), (Timer::Heartbeat, 0)];
    let mut submitted_again = timers(0);
    submitted_again.push((Timer::Retry, 2));
    vec![
        scope("one election", "terms=1", bounds(0, 0, 0), timers(1), &[LEADS, COMMITS]),
        scope(
            "a proposal, submitted again and arriving again",
            "led=1&terms=1&kinds=1",
            bounds(1, 0, 1),
            submitted_again,
            &[COMMITS_MORE],
        ),
        scope(
            "a proposal, and then a read",
            "led=1&terms=1&kinds=1&then=2",
            bounds(2, 0, 0),
            timers(0),
            &[COMMITS_MORE, ALL_READ],
        ),
        scope(
            "two changes of one member each",
            "led=1&terms=1&kinds=8",
            bounds(2, 0, 0),
            timers(0),
            &[COMMITS_MORE, ONE_LESS],
        ),
        scope(
            "a change of two members",
            "led=1&terms=1&kinds=16",
            bounds(1, 0, 0),
            timers(0),
            &[COMMITS_MORE, JOINT],
        ),
        scope(
            "a leader that falls silent, and another",
            "led=1&terms=2&kinds=0",
            bounds(0, 0, 0),
            timers(3),
            &[NEXT_LEADER, TWO_LEADERS],
        ),
        scope(
            "leadership handed over, and a crash",
            "led=1&terms=2&kinds=4",
            bounds(1, 1, 0),
            timers(0),
            &[NEXT_LEADER, TWO_LEADERS],
        ),
        scope(
            "a proposal at the leader, which then hands over",
            "led=2&terms=2&kinds=1&then=4",
            bounds(2, 0, 0),
            timers(0),
            &[COMMITS_MORE, NEXT_LEADER, TWO_LEADERS],
        ),
    ]
}
