//! A cluster at one moment, and every next moment it may have.

use std::sync::Arc;

use quorate_core::{NodeId, Protocol, RequestId};

use crate::fingerprint::{Renaming, Words, fold};
use crate::model::{Bounds, Model, Snapshot, Syncs};
use crate::node::Interruption;
use crate::node::{Choices, Deeds, Node, Task, Terms, Turned, run};
use crate::trace::{Action, Letter, Step};

/// The timers that a model may name.
pub(crate) const TIMERS_MAX: usize = 8;

/// A message under way. Once made it doesn't change.
struct Sealed<P: Protocol> {
    letter: Letter<P>,
    prints: Box<[u64]>,
}

/// How much of each bound is used up.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Spent {
    crashes: u8,
    repeats: u8,
    requests: u8,
    hints: u8,
    fired: [u8; TIMERS_MAX],
}

impl Spent {
    fn words(self) -> [u64; 2] {
        let rare = [self.crashes, self.repeats, self.requests, self.hints, 0, 0, 0, 0];
        [u64::from_le_bytes(rare), u64::from_le_bytes(self.fired)]
    }
}

struct Recorded<H> {
    history: H,
    prints: Box<[u64]>,
}

/// A cluster. What two states have in common they share.
pub(crate) struct State<M: Model> {
    nodes: Box<[Arc<Node<M::Protocol>>]>,
    /// Those under way, in the order of their prints, so that it doesn't matter which was sent first.
    letters: Vec<Arc<Sealed<M::Protocol>>>,
    /// The sum of the prints of the letters under each renaming.
    letter_sums: Box<[u64]>,
    history: Arc<Recorded<M::History>>,
    spent: Spent,
}

impl<M: Model> State<M> {
    pub(crate) fn snapshot(&self) -> Snapshot<'_, M> {
        Snapshot { nodes: &self.nodes, moved: None, history: &self.history.history }
    }
}

/// What may happen next: whose turn it is, and how it goes.
#[derive(Clone, Copy)]
enum Event {
    Deliver { letter: usize, is_repeated: bool },
    Fire { node: usize, timer: usize },
    Ask { node: usize, request: usize },
    Lost { node: usize, peer: usize },
    Sync { node: usize, count: usize },
    Crash { node: usize, kept: usize },
}

/// One way in which a state may change.
pub(crate) struct Change<M: Model> {
    event: Event,
    moved: usize,
    node: Node<M::Protocol>,
    sent: Vec<Arc<Sealed<M::Protocol>>>,
    answered: Vec<(RequestId, <M::Protocol as Protocol>::Response)>,
    chosen: Vec<u32>,
    interruption: Option<Interruption>,
    history: Option<Arc<Recorded<M::History>>>,
    spent: Spent,
    /// What the change breaks, if anything.
    pub(crate) broken: Option<String>,
    /// The print of the state it leads to.
    pub(crate) print: u64,
}

/// A model, ready to be explored. Each thread has one of its own, for the paper it writes prints on.
pub(crate) struct Explorer<'a, M: Model> {
    model: &'a M,
    bounds: Bounds,
    ids: Vec<NodeId>,
    renamings: &'a [Renaming],
    words: Words,
}

impl<'a, M: Model> Explorer<'a, M> {
    pub(crate) fn new(model: &'a M, renamings: &'a [Renaming]) -> Self {
        assert!(model.timers().len() <= TIMERS_MAX, "a model names at most {TIMERS_MAX} timers");
        let ids = model.nodes().iter().map(|(id, _)| *id).collect();
        Explorer { model, bounds: model.bounds(), ids, renamings, words: Words::default() }
    }

    /// The cluster when every node has started for the first time, durably.
    pub(crate) fn start(&mut self) -> (State<M>, u64) {
        let model = self.model;
        let mut nodes = Vec::new();
        let mut letters = Vec::new();
        for (id, config) in model.nodes() {
            let terms = Terms {
                config,
                timers: model.timers(),
                is_synced: true,
                may_crash: false,
                observe: &mut |_: &M::Protocol| Ok(()),
            };
            let Turned { mut node, deeds, next_choices, .. } =
                run(None, Task::Start, Choices::default(), terms);
            assert!(next_choices.is_none(), "a first start leaves no choice");
            node.prints = self.words.prints(&node, &self.ids, self.renamings);
            letters.extend(deeds.sent.into_iter().map(|(to, message)| self.seal(*id, to, message)));
            nodes.push(Arc::new(node));
        }
        let history = self.record(M::History::default());
        let mut state = State {
            nodes: nodes.into_boxed_slice(),
            letters: Vec::new(),
            letter_sums: vec![0; self.renamings.len()].into_boxed_slice(),
            history,
            spent: Spent::default(),
        };
        for letter in letters {
            state.post(letter);
        }
        let print =
            self.print(&state, |node| &state.nodes[node].prints, None, &[], None, state.spent);
        (state, print)
    }

    /// Calls `take` with every change that a state may see, always in the same order. It returns whether to go on.
    pub(crate) fn each_change(
        &mut self,
        state: &State<M>,
        mut take: impl FnMut(Change<M>) -> bool,
    ) {
        let events = self.events(state);
        for event in events {
            let mut choices = Some(Choices::default());
            while let Some(tried) = choices {
                let (change, next_choices) = self.change(state, event, tried);
                choices = next_choices;
                if !take(change) {
                    return;
                }
            }
        }
    }

    fn events(&self, state: &State<M>) -> Vec<Event> {
        let Bounds { crashes, repeats, requests, hints } = self.bounds;
        let mut events = Vec::new();
        for (letter, sealed) in state.letters.iter().enumerate() {
            // Of two that are alike, either will do.
            if letter > 0 && state.letters[letter - 1].prints[0] == sealed.prints[0] {
                continue;
            }
            events.push(Event::Deliver { letter, is_repeated: false });
            if state.spent.repeats < repeats {
                events.push(Event::Deliver { letter, is_repeated: true });
            }
        }
        for (node, known) in state.nodes.iter().enumerate() {
            for (timer, (_, fires_max)) in self.model.timers().iter().enumerate() {
                if known.is_armed(timer) && state.spent.fired[timer] < *fires_max {
                    events.push(Event::Fire { node, timer });
                }
            }
            if state.spent.requests < requests {
                let count = self.model.requests(state.spent.requests, self.ids[node]).len();
                events.extend((0..count).map(|request| Event::Ask { node, request }));
            }
            if state.spent.hints < hints {
                let peers = (0..self.ids.len()).filter(|peer| *peer != node);
                events.extend(peers.map(|peer| Event::Lost { node, peer }));
            }
            events.extend((1..=known.unsynced()).map(|count| Event::Sync { node, count }));
            if state.spent.crashes < crashes {
                events.extend((0..=known.unsynced()).map(|kept| Event::Crash { node, kept }));
            }
        }
        events
    }

    /// Who moves, what it is to do, and what is used up by that.
    fn task(&self, state: &State<M>, event: Event) -> (usize, Task<M::Protocol>, Spent) {
        let mut spent = state.spent;
        let (node, task) = match event {
            Event::Deliver { letter, is_repeated } => {
                let Letter { from, to, message } = &state.letters[letter].letter;
                spent.repeats += u8::from(is_repeated);
                (self.position(*to), Task::Deliver { from: *from, message: message.clone() })
            }
            Event::Fire { node, timer } => {
                spent.fired[timer] += 1;
                (node, Task::Fire { timer })
            }
            Event::Ask { node, request } => {
                let mut requests = self.model.requests(spent.requests, self.ids[node]);
                spent.requests += 1;
                (node, Task::Ask { request: requests.swap_remove(request) })
            }
            Event::Lost { node, peer } => {
                spent.hints += 1;
                (node, Task::Lost { peer: self.ids[peer] })
            }
            Event::Sync { node, count } => (node, Task::Sync { count }),
            Event::Crash { node, kept } => {
                spent.crashes += 1;
                (node, Task::Crash { kept })
            }
        };
        (node, task, spent)
    }

    fn change(
        &mut self,
        state: &State<M>,
        event: Event,
        choices: Choices,
    ) -> (Change<M>, Option<Choices>) {
        let model = self.model;
        let (moved, task, mut spent) = self.task(state, event);
        let mut history: Option<M::History> = None;
        let mut observe = |now: &M::Protocol| {
            let history_now = history.as_ref().unwrap_or(&state.history.history);
            let snapshot =
                Snapshot { nodes: &state.nodes, moved: Some((moved, now)), history: history_now };
            if let Some(changed) = model.observe(&snapshot, moved)? {
                history = Some(changed);
            }
            Ok(())
        };
        let terms = Terms {
            config: &model.nodes()[moved].1,
            timers: model.timers(),
            is_synced: model.syncs() == Syncs::EachTurn,
            may_crash: spent.crashes < self.bounds.crashes,
            observe: &mut observe,
        };
        let Turned { mut node, deeds, result, next_choices } =
            run(Some(&state.nodes[moved]), task, choices, terms);
        node.prints = self.words.prints(&node, &self.ids, self.renamings);
        let Deeds { sent, answered, chosen, interruption } = deeds;
        spent.crashes += u8::from(interruption.is_some());
        let id = self.ids[moved];
        let mut change = Change {
            event,
            moved,
            node,
            sent: sent.into_iter().map(|(to, message)| self.seal(id, to, message)).collect(),
            answered,
            chosen,
            interruption,
            history: history.map(|history| self.record(history)),
            spent,
            broken: result.err(),
            print: 0,
        };
        let nodes = |node: usize| {
            if node == moved { &change.node.prints } else { &state.nodes[node].prints }
        };
        change.print = self.print(
            state,
            nodes,
            event.used_up(),
            &change.sent,
            change.history.as_deref(),
            spent,
        );
        (change, next_choices)
    }

    /// The least of the prints that a state has under the renamings: all states that differ in names alone have it.
    fn print<'s>(
        &self,
        state: &'s State<M>,
        prints_of: impl Fn(usize) -> &'s Box<[u64]>,
        delivered: Option<usize>,
        sent: &[Arc<Sealed<M::Protocol>>],
        history: Option<&Recorded<M::History>>,
        spent: Spent,
    ) -> u64
    where
        M: 's,
    {
        let history = history.unwrap_or(&state.history);
        let [rare, fired] = spent.words();
        let of = |(at, renaming): (usize, &Renaming)| {
            let mut letters = state.letter_sums[at];
            if let Some(letter) = delivered {
                letters = letters.wrapping_sub(state.letters[letter].prints[at]);
            }
            letters = sent.iter().fold(letters, |sum, letter| sum.wrapping_add(letter.prints[at]));
            let nodes =
                renaming.in_order().iter().fold(0, |print, n| fold(print, prints_of(*n)[at]));
            [letters, history.prints[at], rare, fired].into_iter().fold(nodes, fold)
        };
        self.renamings.iter().enumerate().map(of).min().unwrap_or_default()
    }

    /// The state that a change leads to.
    pub(crate) fn apply(&self, state: &State<M>, change: Change<M>) -> State<M> {
        let mut next = State {
            nodes: state.nodes.clone(),
            letters: Vec::with_capacity(state.letters.len() + change.sent.len()),
            letter_sums: state.letter_sums.clone(),
            history: change.history.unwrap_or_else(|| state.history.clone()),
            spent: change.spent,
        };
        next.letters.extend_from_slice(&state.letters);
        next.nodes[change.moved] = Arc::new(change.node);
        if let Some(letter) = change.event.used_up() {
            let letter = next.letters.remove(letter);
            next.letter_sums
                .iter_mut()
                .zip(&letter.prints)
                .for_each(|(s, p)| *s = s.wrapping_sub(*p));
        }
        for letter in change.sent {
            next.post(letter);
        }
        next
    }

    /// A change, for people to read.
    pub(crate) fn step(&self, state: &State<M>, change: &Change<M>) -> Step<M::Protocol> {
        let node = self.ids[change.moved];
        let action = match (change.event, self.task(state, change.event).1) {
            (Event::Deliver { is_repeated, .. }, Task::Deliver { from, message }) => {
                Action::Deliver { from, message, is_repeated }
            }
            (_, Task::Fire { timer }) => Action::Fire(self.model.timers()[timer].0.clone()),
            (_, Task::Ask { request }) => {
                Action::Ask { id: state.nodes[change.moved].next_request(), request }
            }
            (_, Task::Lost { peer }) => Action::Lost { peer },
            (_, Task::Sync { count }) => Action::Sync { records: count },
            (_, Task::Crash { kept }) => {
                Action::Crash { kept, lost: state.nodes[change.moved].unsynced() - kept }
            }
            (_, Task::Start | Task::Deliver { .. }) => unreachable!("no event has such a task"),
        };
        let views = (0..self.ids.len()).map(|position| match position == change.moved {
            true => change.node.state().view(),
            false => state.nodes[position].state().view(),
        });
        Step {
            node,
            action,
            chosen: change.chosen.clone(),
            interruption: change.interruption,
            sent: change.sent.iter().map(|sealed| sealed.letter.clone()).collect(),
            answered: change.answered.clone(),
            views: self.ids.iter().copied().zip(views).collect(),
        }
    }

    fn position(&self, id: NodeId) -> usize {
        self.ids
            .iter()
            .position(|known| *known == id)
            .expect("only nodes of the cluster get letters")
    }

    fn seal(
        &mut self,
        from: NodeId,
        to: NodeId,
        message: <M::Protocol as Protocol>::Message,
    ) -> Arc<Sealed<M::Protocol>> {
        let prints = self.words.prints(&(from, to, &message), &self.ids, self.renamings);
        Arc::new(Sealed { letter: Letter { from, to, message }, prints })
    }

    fn record(&mut self, history: M::History) -> Arc<Recorded<M::History>> {
        let prints = self.words.prints(&history, &self.ids, self.renamings);
        Arc::new(Recorded { history, prints })
    }
}

impl Event {
    /// The letter that is under way no more.
    fn used_up(self) -> Option<usize> {
        match self {
            Event::Deliver { letter, is_repeated: false } => Some(letter),
            _ => None,
        }
    }
}

impl<M: Model> State<M> {
    fn post(&mut self, letter: Arc<Sealed<M::Protocol>>) {
        self.letter_sums.iter_mut().zip(&letter.prints).for_each(|(s, p)| *s = s.wrapping_add(*p));
        let at = self.letters.partition_point(|other| other.prints[0] < letter.prints[0]);
        self.letters.insert(at, letter);
    }
}
