//! Messages that make no sense: whatever a peer says, a member neither panics nor breaks what it promised.

use bytes::Bytes;
use quorate_core::{Input, NodeId, RequestId, Visible};
use quorate_protocols::consensus::raft::properties::Properties;
use quorate_protocols::consensus::raft::{
    Append, Config, Entry, Index, Message, Origin, Outcome, Raft, Request, Submission, Term,
    Ticket, Timer, VoteKind,
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
        hear(member, 2, Message::Vote { term: Term(1), is_pre, is_granted: true });
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
                assert!([NodeId(2), NodeId(3)].contains(&to), "it spoke to {to}");
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
        Entry { origin: dice.chance(500).then_some(origin), ..entry(term(dice).0) }
    });
    entries.collect()
}

fn outcome(dice: &mut Dice) -> Outcome {
    match dice.below(3) {
        0 => Outcome::Matched(Index(number(dice))),
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
    match dice.below(8) {
        0 => Message::RequestVote {
            term: term(dice),
            last_term: term(dice),
            last_index: Index(number(dice)),
            kind: [VoteKind::Pre, VoteKind::Real, VoteKind::Handover][dice.below(3)],
        },
        1 => Message::Vote {
            term: term(dice),
            is_pre: dice.chance(500),
            is_granted: dice.chance(500),
        },
        2 => Message::Append(Append {
            term: term(dice),
            previous_index: Index(number(dice)),
            previous_term: term(dice),
            entries: entries(dice),
            commit: Index(number(dice)),
            round: number(dice),
        }),
        3 => Message::Appended { term: term(dice), round: number(dice), outcome: outcome(dice) },
        4 => Message::TimeoutNow { term: term(dice) },
        5 => Message::Submit(Submission {
            term: term(dice),
            boot: number(dice),
            settled_below: RequestId(number(dice)),
            proposals: proposals(dice),
        }),
        6 => Message::ReadIndex { ticket },
        _ => Message::ReadIndexAnswer { ticket, index: Index(number(dice)) },
    }
}
