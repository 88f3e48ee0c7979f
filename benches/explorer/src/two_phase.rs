//! Two-phase commit: a manager, and participants of which each prepares or aborts.
//!
//! Source: Gray and Lamport, "Consensus on transaction commit", 2004, section 3. The protocol of stateright's example of
//! that name, there one value with rules of its own rather than nodes that send messages: its fastest form. Each
//! message has one receiver here and is used up when it arrives.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_core::{Input, NodeId, Out, Protocol};
use quorate_explore::{Bounds, Goal, Model, Options, Snapshot, UNBOUNDED, explore};
use stateright::{Checker, Model as _, Property};

/// What a participant or the manager has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    Working,
    Prepared,
    Committed,
    Aborted,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Manager { stage: Stage, prepared: Vec<bool> },
    Participant(Stage),
}

/// What nodes send each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Message {
    Prepared,
    Commit,
    Abort,
}

/// What nodes do by themselves, if they still may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Prepare,
    Commit,
    Abort,
}

/// The manager is the first node.
const MANAGER: NodeId = NodeId(0);

fn arm(timer: Timer, out: &mut Out<'_, Node>) {
    out.arm(timer, Duration::ZERO..Duration::from_secs(1));
}

impl Protocol for Node {
    /// Who it is, and the number of participants.
    type Config = (NodeId, usize);
    type Message = Message;
    type Timer = Timer;
    type Record = ();
    type Durable = ();
    type Request = ();
    type Response = ();

    fn fold(_: &mut (), _: u64, _: ()) {}

    fn recover((me, participants): &Self::Config, (): (), out: &mut Out<'_, Self>) -> Self {
        arm(Timer::Abort, out);
        if *me == MANAGER {
            return Node::Manager { stage: Stage::Working, prepared: vec![false; *participants] };
        }
        arm(Timer::Prepare, out);
        Node::Participant(Stage::Working)
    }

    fn step(&mut self, config: &Self::Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match self {
            Node::Participant(stage) => step_participant(stage, input, out),
            Node::Manager { stage, prepared } => step_manager(config.1, stage, prepared, input, out),
        }
    }

    fn view(&self) -> String {
        format!("{self:?}")
    }
}

fn step_participant(stage: &mut Stage, input: Input<Node>, out: &mut Out<'_, Node>) {
    *stage = match input {
        Input::Fire(Timer::Prepare) => {
            out.send(MANAGER, Message::Prepared);
            Stage::Prepared
        }
        Input::Fire(_) | Input::Deliver { message: Message::Abort, .. } => Stage::Aborted,
        Input::Deliver { message: Message::Commit, .. } => Stage::Committed,
        _ => return,
    };
    out.disarm(Timer::Prepare);
    out.disarm(Timer::Abort);
}

fn step_manager(
    participants: usize,
    stage: &mut Stage,
    prepared: &mut [bool],
    input: Input<Node>,
    out: &mut Out<'_, Node>,
) {
    let message = match input {
        Input::Deliver { from, .. } if *stage == Stage::Working => {
            prepared[from.0 as usize - 1] = true;
            if prepared.iter().all(|is_prepared| *is_prepared) {
                arm(Timer::Commit, out);
            }
            return;
        }
        Input::Fire(Timer::Commit) => Message::Commit,
        Input::Fire(_) => Message::Abort,
        _ => return,
    };
    *stage = if message == Message::Commit { Stage::Committed } else { Stage::Aborted };
    out.disarm(Timer::Commit);
    out.disarm(Timer::Abort);
    (1..=participants as u64).for_each(|to| out.send(NodeId(to), message));
}

fn stages(cluster: &Snapshot<'_, Ours>) -> impl Iterator<Item = Stage> {
    cluster.states().filter_map(|node| match node {
        Node::Participant(stage) => Some(*stage),
        Node::Manager { .. } => None,
    })
}

fn is_consistent(mut stages: impl Iterator<Item = Stage>) -> bool {
    let (mut is_committed, mut is_aborted) = (false, false);
    stages.by_ref().for_each(|stage| {
        is_committed |= stage == Stage::Committed;
        is_aborted |= stage == Stage::Aborted;
    });
    !(is_committed && is_aborted)
}

struct Ours(Vec<(NodeId, (NodeId, usize))>);

const GOALS: &[Goal<Ours>] = &[
    ("all commit", |cluster| stages(cluster).all(|stage| stage == Stage::Committed)),
    ("all abort", |cluster| stages(cluster).all(|stage| stage == Stage::Aborted)),
];

impl Model for Ours {
    type Protocol = Node;
    type History = ();

    fn nodes(&self) -> &[(NodeId, (NodeId, usize))] {
        &self.0
    }

    fn blank(&self) {}

    fn bounds(&self) -> Bounds {
        Bounds::default()
    }

    fn timers(&self) -> &[(Timer, u8)] {
        const { &[(Timer::Prepare, UNBOUNDED), (Timer::Commit, UNBOUNDED), (Timer::Abort, UNBOUNDED)] }
    }

    fn requests(&self, _: u8, _: NodeId) -> Vec<()> {
        Vec::new()
    }

    fn observe(&self, cluster: &Snapshot<'_, Self>, _: usize) -> Result<Option<()>, String> {
        if is_consistent(stages(cluster)) { Ok(None) } else { Err("one commits, another aborts".into()) }
    }

    fn goals(&self) -> &[Goal<Self>] {
        GOALS
    }
}

/// Explores with so many participants, and counts states.
pub(crate) fn ours(participants: usize) -> u64 {
    let ids = (0..=participants as u64).map(NodeId);
    let model = Ours(ids.map(|id| (id, (id, participants))).collect());
    let options = Options { is_symmetric: false, ..Options::default() };
    let report = explore(&model, &options, |_| true);
    assert!(report.is_exhausted() && report.missed().is_empty(), "{report}");
    report.states
}

#[derive(Clone)]
struct Theirs(usize);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cluster {
    manager: Stage,
    prepared: Vec<bool>,
    stages: Vec<Stage>,
    /// Those to the manager, by who sent them, and those from it, by who is to get them.
    messages: BTreeSet<Letter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Letter {
    Prepared(usize),
    Commit(usize),
    Abort(usize),
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Commit,
    Abort,
    Prepare(usize),
    AbortAlone(usize),
    Arrive(Letter),
}

impl stateright::Model for Theirs {
    type State = Cluster;
    type Action = Action;

    fn init_states(&self) -> Vec<Cluster> {
        let stages = vec![Stage::Working; self.0];
        let prepared = vec![false; self.0];
        vec![Cluster { manager: Stage::Working, prepared, stages, messages: BTreeSet::new() }]
    }

    fn actions(&self, cluster: &Cluster, actions: &mut Vec<Action>) {
        if cluster.manager == Stage::Working {
            actions.push(Action::Abort);
            if cluster.prepared.iter().all(|is_prepared| *is_prepared) {
                actions.push(Action::Commit);
            }
        }
        for (participant, stage) in cluster.stages.iter().enumerate() {
            if *stage == Stage::Working {
                actions.push(Action::Prepare(participant));
                actions.push(Action::AbortAlone(participant));
            }
        }
        let changes = |letter: &Letter| match letter {
            Letter::Prepared(_) => cluster.manager == Stage::Working,
            Letter::Commit(to) => cluster.stages[*to] != Stage::Committed,
            Letter::Abort(to) => cluster.stages[*to] != Stage::Aborted,
        };
        let letters = cluster.messages.iter().filter(|letter| changes(letter));
        actions.extend(letters.copied().map(Action::Arrive));
    }

    fn next_state(&self, last: &Cluster, action: Action) -> Option<Cluster> {
        let mut next = last.clone();
        match action {
            Action::Commit => {
                next.manager = Stage::Committed;
                next.messages.extend((0..self.0).map(Letter::Commit));
            }
            Action::Abort => {
                next.manager = Stage::Aborted;
                next.messages.extend((0..self.0).map(Letter::Abort));
            }
            Action::Prepare(participant) => {
                next.stages[participant] = Stage::Prepared;
                next.messages.insert(Letter::Prepared(participant));
            }
            Action::AbortAlone(participant) => next.stages[participant] = Stage::Aborted,
            Action::Arrive(letter) => {
                next.messages.remove(&letter);
                match letter {
                    Letter::Prepared(from) => next.prepared[from] = true,
                    Letter::Commit(to) => next.stages[to] = Stage::Committed,
                    Letter::Abort(to) => next.stages[to] = Stage::Aborted,
                }
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("consistent", |_, cluster: &Cluster| {
                is_consistent(cluster.stages.iter().copied())
            }),
            Property::sometimes("all commit", |_, cluster: &Cluster| {
                cluster.stages.iter().all(|stage| *stage == Stage::Committed)
            }),
            Property::sometimes("all abort", |_, cluster: &Cluster| {
                cluster.stages.iter().all(|stage| *stage == Stage::Aborted)
            }),
        ]
    }
}

/// The same by stateright.
pub(crate) fn theirs(participants: usize) -> u64 {
    let checker = Theirs(participants).checker().threads(1).spawn_bfs().join();
    checker.assert_properties();
    checker.unique_state_count() as u64
}
