//! Messages that make no sense: whatever a peer says, a member neither panics nor breaks what it promised.

use bytes::Bytes;
use quorate_core::{Input, NodeId, RequestId, Visible};
use quorate_protocols::consensus::raft;
use quorate_protocols::consensus::raft::properties::Properties;
use quorate_protocols::consensus::raft::{
    Append, Config, Entry, Greeting, Index, InstallSnapshot, Membership, Message, Origin, Outcome,
    Raft, Request, Snapshot, Standing, Submission, Term, Ticket, Timer, VoteKind,
};

use crate::dice::Dice;
use crate::member::{Deeds, Member};

fn three() -> Member {
    let mut member = Member::new(Config::new(NodeId(1), (1..=3).map(NodeId).collect()));
    member.boot();
    member.sync(member.unsynced());
    member
}

fn hear(member: &mut Member, from: u64, message: Message) -> Deeds {
    let deeds = member.input(Input::Deliver { from: NodeId(from), message });
    member.sync(member.unsynced());
    deeds
}

/// Makes it the leader of term 1.
fn elect(member: &mut Member) {
    member.fire(Timer::Election);
    for is_pre in [true, false] {
        hear(
            member,
            2,
            Message::Vote {
                term: Term(1),
                is_pre,
                is_granted: true,
                greeting: Greeting::default(),
            },
        );
    }
    assert!(member.raft().is_some_and(Raft::is_leader), "two votes of three elect");
}

fn entry(term: u64) -> Entry {
    Entry { term: Term(term), origin: None, payload: Bytes::new(), membership: None }
}

fn append(term: u64, previous: (u64, u64), terms: &[u64], commit: u64) -> Message {
    Message::Append(Append {
        term: Term(term),
        previous_index: Index(previous.0),
        previous_term: Term(previous.1),
        entries: terms.iter().copied().map(entry).collect(),
        commit: Index(commit),
        round: 0,
        greeting: Greeting::default(),
    })
}

#[test]
fn entries_whose_terms_fall_are_not_taken() {
    let mut member = three();
    hear(&mut member, 2, append(5, (0, 0), &[3, 2], 0));
    hear(&mut member, 2, append(5, (0, 0), &[6], 0));
    let raft = member.raft().expect("it is up");
    assert_eq!((raft.log().last_index(), raft.nonsense()), (Index(0), 2));
    hear(&mut member, 2, append(5, (0, 0), &[3, 4], 0));
    hear(&mut member, 2, append(5, (2, 4), &[3], 0));
    let raft = member.raft().expect("it is up");
    assert_eq!((raft.log().last_index(), raft.nonsense()), (Index(2), 3));
}

#[test]
fn what_is_committed_is_not_given_up_for_any_message() {
    let mut member = three();
    hear(&mut member, 2, append(1, (0, 0), &[1, 1], 2));
    hear(&mut member, 3, append(9, (0, 0), &[9], 1));
    let raft = member.raft().expect("it is up");
    assert_eq!((raft.log().term_at(Index(1)), raft.nonsense()), (Some(Term(1)), 1));
}

#[test]
fn repeated_transfers_do_not_keep_a_leader_from_looking_for_its_majority() {
    let mut member = three();
    elect(&mut member);
    let arms = |deeds: Deeds| deeds.armed.iter().any(|(timer, _)| *timer == Timer::Quorum);
    assert!(arms(member.ask(Request::Transfer(NodeId(2))).1), "a transfer has a whole timeout");
    assert!(!arms(member.ask(Request::Transfer(NodeId(3))).1), "its repetition has no more");
}

#[test]
fn a_snapshot_of_no_possible_log_is_not_taken() {
    let mut member = three();
    for (index, snapshot_term) in [(Index::END.0, 1), (u64::MAX, 1), (5, 2)] {
        let snapshot = Snapshot {
            index: Index(index),
            term: Term(snapshot_term),
            membership: Default::default(),
        };
        let install = InstallSnapshot {
            term: Term(1),
            transfer: 1,
            snapshot,
            number: 0,
            bytes: Bytes::new(),
            is_last: true,
            greeting: Greeting::default(),
        };
        hear(&mut member, 2, Message::InstallSnapshot(install));
    }
    let raft = member.raft().expect("it is up");
    assert_eq!((raft.term(), raft.nonsense()), (Term(0), 3));
}

#[test]
fn no_message_makes_a_member_panic() {
    for seed in 0..2000 {
        let mut dice = Dice(seed);
        let mut member = three();
        if dice.chance(500) {
            elect(&mut member);
        }
        for _ in 0..100 {
            let from = [0, 1, 2, 3, 4][dice.below(5)];
            let message = anything(&mut dice);
            let deeds = hear(&mut member, from, message.clone());
            for visible in deeds.visible {
                let Visible::Send { to, .. } = visible else { continue };
                assert!(to != NodeId(1), "it spoke to itself");
            }
            let armed: Vec<Timer> = member.armed().collect();
            if dice.chance(300) && !armed.is_empty() {
                member.fire(armed[dice.below(armed.len())]);
            }
            if dice.chance(50) {
                member.ask(Request::Propose(Bytes::from_static(b"x")));
                member.ask(Request::Read);
            }
            let raft = member.raft().expect("it is up");
            // Two leaders of one term may well have spoken here, so only what one member can promise is asked for.
            Properties::default()
                .observe(&[(NodeId(1), raft)])
                .unwrap_or_else(|broken| panic!("seed {seed}, {message:?}: {broken}"));
        }
    }
}

/// Mostly small numbers, which have the best chance to be nearly right.
fn number(dice: &mut Dice) -> u64 {
    match dice.below(20) {
        0 => u64::MAX >> dice.below(3),
        1 => dice.roll() >> dice.below(64),
        _ => dice.below(6) as u64,
    }
}

fn term(dice: &mut Dice) -> Term {
    Term(number(dice))
}

fn proposals(dice: &mut Dice) -> Vec<(RequestId, Bytes)> {
    (0..dice.below(3)).map(|_| (RequestId(number(dice)), Bytes::from_static(b"y"))).collect()
}

fn entries(dice: &mut Dice) -> Vec<Entry> {
    let entries = (0..dice.below(4)).map(|_| {
        let origin = Origin {
            node: NodeId(number(dice)),
            boot: number(dice),
            request: RequestId(number(dice)),
        };
        Entry {
            origin: dice.chance(500).then_some(origin),
            membership: dice.chance(200).then(|| membership(dice).into()),
            ..entry(term(dice).0)
        }
    });
    entries.collect()
}

fn greeting(dice: &mut Dice) -> Greeting {
    if dice.chance(700) {
        return Greeting::default();
    }
    Greeting { life: dice.below(2) as u64, boot: number(dice), met: number(dice) }
}

fn membership(dice: &mut Dice) -> Membership {
    let members = |dice: &mut Dice| {
        let members = (0..dice.below(4)).map(|_| {
            let standing =
                [Standing::Voter, Standing::Learner, Standing::Recovering][dice.below(3)];
            let life = dice.below(2) as u64;
            (NodeId(number(dice)), raft::Member { standing, life, context: Bytes::new() })
        });
        members.collect()
    };
    Membership { members: members(dice), outgoing: members(dice) }
}

fn outcome(dice: &mut Dice) -> Outcome {
    match dice.below(5) {
        0 => Outcome::Matched(Index(number(dice))),
        3 => Outcome::NeedsSnapshot(Index(number(dice))),
        4 => Outcome::ChunksTaken { transfer: number(dice), next: number(dice) },
        1 => Outcome::Conflict {
            rejected: Index(number(dice)),
            term: dice.chance(500).then_some(term(dice)),
            first: Index(number(dice)),
        },
        _ => Outcome::Stale,
    }
}

fn anything(dice: &mut Dice) -> Message {
    let ticket = Ticket { boot: number(dice), number: number(dice) };
    match dice.below(10) {
        0 => Message::RequestVote {
            term: term(dice),
            last_term: term(dice),
            last_index: Index(number(dice)),
            kind: [VoteKind::Pre, VoteKind::Real, VoteKind::Handover][dice.below(3)],
            greeting: greeting(dice),
        },
        1 => Message::Vote {
            term: term(dice),
            is_pre: dice.chance(500),
            is_granted: dice.chance(500),
            greeting: greeting(dice),
        },
        2 => Message::Append(Append {
            term: term(dice),
            previous_index: Index(number(dice)),
            previous_term: term(dice),
            entries: entries(dice),
            commit: Index(number(dice)),
            round: number(dice),
            greeting: greeting(dice),
        }),
        3 => Message::Appended {
            term: term(dice),
            round: number(dice),
            outcome: outcome(dice),
            greeting: greeting(dice),
        },
        4 => Message::TimeoutNow { term: term(dice) },
        5 => Message::Submit(Submission {
            term: term(dice),
            boot: number(dice),
            settled_below: RequestId(number(dice)),
            proposals: proposals(dice),
        }),
        6 => Message::ReadIndex { ticket },
        7 => Message::InstallSnapshot(InstallSnapshot {
            term: term(dice),
            transfer: number(dice),
            snapshot: Snapshot {
                index: Index(number(dice)),
                term: term(dice),
                membership: membership(dice).into(),
            },
            number: number(dice),
            bytes: Bytes::from_static(b"zz"),
            is_last: dice.chance(200),
            greeting: greeting(dice),
        }),
        8 => Message::Hello { greeting: greeting(dice) },
        _ => Message::ReadIndexAnswer { ticket, index: Index(number(dice)) },
    }
}
