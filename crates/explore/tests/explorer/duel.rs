//! Two proposers of one decree that preempt each other for ever: nothing goes wrong, and nothing is decided.
//!
//! Source: Lamport, "Paxos made simple", 2001, section 2.4, for the duel. Ballots go round modulo four, so that the states
//! are few: the even ones are the first node's, and one is newer than another if it is the next. That is enough for
//! proposers that know each other's last ballot, which is all that is explored here; agreement would need more.

use std::time::Duration;

use quorate_core::{Input, NodeId, Out, Protocol};
use quorate_explore::{
    Bounds, Ending, Eventually, Goal, Model, Options, Report, Snapshot, UNBOUNDED, explore,
};

type Ballot = u8;

const BALLOTS: Ballot = 4;

struct Config {
    other: NodeId,
    /// The first of its ballots. None: it never proposes.
    first: Option<Ballot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    Prepare(Ballot),
    Promise(Ballot),
    Accept(Ballot),
    Accepted(Ballot),
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Proposer {
    ballot: Option<Ballot>,
    is_promised: bool,
    is_decided: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Duel {
    /// The newest ballot that it knows, and has promised.
    promised: Option<Ballot>,
    proposer: Proposer,
}

impl Protocol for Duel {
    type Config = Config;
    type Message = Message;
    type Timer = ();
    type Record = Ballot;
    type Durable = Option<Ballot>;
    type Request = ();
    type Response = ();

    fn fold(durable: &mut Option<Ballot>, _: u64, record: Ballot) {
        *durable = Some(record);
    }

    fn recover(config: &Config, promised: Option<Ballot>, out: &mut Out<'_, Self>) -> Self {
        if config.first.is_some() {
            arm(out);
        }
        Duel { promised, proposer: Proposer::default() }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Fire(()) => self.propose(config, out),
            Input::Deliver { from, message: Message::Prepare(ballot) } => {
                if self.follow(ballot, out) {
                    out.send(from, Message::Promise(ballot));
                }
            }
            Input::Deliver { from, message: Message::Accept(ballot) } => {
                if self.follow(ballot, out) {
                    out.send(from, Message::Accepted(ballot));
                }
            }
            Input::Deliver { message: Message::Promise(ballot), .. } => {
                let is_mine = self.is_mine(ballot);
                if is_mine && !self.proposer.is_promised {
                    self.proposer.is_promised = true;
                    out.send(config.other, Message::Accept(ballot));
                }
            }
            Input::Deliver { message: Message::Accepted(ballot), .. } => {
                if self.is_mine(ballot) && self.proposer.is_promised {
                    self.proposer.is_decided = true;
                    out.disarm(());
                }
            }
            Input::Ask { .. } | Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        let Proposer { ballot, is_promised, is_decided } = self.proposer;
        format!("{:?} proposes {ballot:?} {is_promised} {is_decided}", self.promised)
    }
}

fn arm(out: &mut Out<'_, Duel>) {
    out.arm((), Duration::from_secs(1)..Duration::from_secs(2));
}

impl Duel {
    /// Says once more what it has said, or takes a new ballot if its own is no longer the newest.
    fn propose(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if self.promised.is_none_or(|promised| self.proposer.ballot != Some(promised)) {
            let next =
                self.promised.map_or(config.first, |promised| Some((promised + 1) % BALLOTS));
            self.proposer = Proposer { ballot: next, ..Proposer::default() };
            self.promised = next;
            next.map(|ballot| out.persist(ballot));
        }
        let said = if self.proposer.is_promised { Message::Accept } else { Message::Prepare };
        if let Some(ballot) = self.proposer.ballot {
            out.send(config.other, said(ballot));
        }
        arm(out);
    }

    fn follow(&mut self, ballot: Ballot, out: &mut Out<'_, Self>) -> bool {
        let is_newer = self.promised.is_none_or(|known| (known + 1) % BALLOTS == ballot);
        if is_newer {
            self.promised = Some(ballot);
            out.persist(ballot);
        }
        self.promised == Some(ballot)
    }

    fn is_mine(&self, ballot: Ballot) -> bool {
        self.promised == Some(ballot) && self.proposer.ballot == Some(ballot)
    }
}

struct DuelModel {
    nodes: [(NodeId, Config); 2],
}

fn is_decided(cluster: &Snapshot<'_, DuelModel>) -> bool {
    cluster.states().any(|duel| duel.proposer.is_decided)
}

const GOALS: &[Goal<DuelModel>] = &[("a value is decided", is_decided)];

const AWAITED: &[Eventually<DuelModel>] =
    &[Eventually { name: "a value is decided", after: None, comes: is_decided }];

impl Model for DuelModel {
    type Protocol = Duel;
    type History = ();

    fn nodes(&self) -> &[(NodeId, Config)] {
        &self.nodes
    }

    fn blank(&self) -> Option<Ballot> {
        None
    }

    fn bounds(&self) -> Bounds {
        Bounds::default()
    }

    fn timers(&self) -> &[((), u8)] {
        &[((), UNBOUNDED)]
    }

    fn counts_records(&self) -> bool {
        false
    }

    fn copies_max(&self) -> usize {
        1
    }

    fn requests(&self, _: u8, _: NodeId) -> Vec<()> {
        Vec::new()
    }

    fn observe(&self, _: &Snapshot<'_, Self>, _: usize) -> Result<Option<()>, String> {
        Ok(None)
    }

    fn goals(&self) -> &[Goal<Self>] {
        GOALS
    }

    fn eventually(&self) -> &[Eventually<Self>] {
        AWAITED
    }
}

fn explored(proposers: [Option<Ballot>; 2]) -> Report<Duel> {
    let ids = [NodeId(1), NodeId(2)];
    let node = |at: usize| (ids[at], Config { other: ids[1 - at], first: proposers[at] });
    let report = explore(&DuelModel { nodes: [node(0), node(1)] }, &Options::default(), |_| true);
    println!("{report}: {:?}", report.awaited);
    report
}

#[test]
fn one_proposer_decides() {
    let report = explored([Some(0), None]);
    assert!(report.is_exhausted(), "{}", report.counterexample().expect("it is broken"));
    assert_eq!((report.awaited[0].cut, report.missed()), (0, vec![]));
}

#[test]
fn two_proposers_may_preempt_each_other_for_ever() {
    let report = explored([Some(0), Some(1)]);
    let duel = report.counterexample().expect("it is found");
    println!("{duel}");
    let Ending::Repeats { from } = duel.ending else { panic!("{duel}") };
    let cycle = &duel.steps[from..];
    // Both take part, and what they say arrives.
    for node in [NodeId(1), NodeId(2)] {
        assert!(cycle.iter().any(|step| step.node == node && !step.sent.is_empty()), "{duel}");
    }
    assert_eq!(report.missed(), [""; 0], "a decision was possible all the time");
}
