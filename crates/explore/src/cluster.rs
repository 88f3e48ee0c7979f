//! A cluster at one moment, and every next moment it may have.

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use quorate_core::{NodeId, Protocol, RequestId};

use crate::fingerprint::{OfPrints, Renaming, Words, fold};
use crate::model::{Bounds, Explored, Model, Snapshot, Syncs};
use crate::node::{Choices, Deeds, Interruption, Node, Task, Terms, run};
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
    /// What is used up once an event has happened.
    fn by(mut self, event: Event) -> Self {
        match event {
            Event::Deliver { is_repeated, .. } => self.repeats += u8::from(is_repeated),
            Event::Fire { timer, .. } => self.fired[timer] += 1,
            Event::Ask { .. } => self.requests += 1,
            Event::Lost { .. } => self.hints += 1,
            Event::Sync { .. } => {}
            Event::Crash { .. } => self.crashes += 1,
        }
        self
    }

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
    Sync { node: usize },
    Crash { node: usize, kept: usize },
}

/// One way in which a state may change.
pub(crate) struct Change<M: Model> {
    event: Event,
    moved: usize,
    turned: Arc<Turned<M::Protocol>>,
    history: Option<Arc<Recorded<M::History>>>,
    spent: Spent,
    /// What the change breaks, if anything.
    pub(crate) broken: Option<String>,
    /// The print of the state it leads to.
    pub(crate) print: u64,
}

/// What comes of a node's turn, whatever the rest of the cluster.
struct Turned<P: Explored> {
    node: Arc<Node<P>>,
    sent: Vec<Arc<Sealed<P>>>,
    answered: Vec<(RequestId, P::Response)>,
    chosen: Vec<u32>,
    interruption: Option<Interruption>,
    passed: Vec<P>,
}

impl<P: Explored> Turned<P> {
    /// Whether nothing came of it.
    fn is_idle(&self, before: &Node<P>) -> bool {
        self.sent.is_empty()
            && self.answered.is_empty()
            && self.passed.is_empty()
            && self.node.prints == before.prints
    }
}

/// What a turn depends on: the print of the node, that of what arrives, and what kind of turn it is.
type TurnKey = (u64, u64, u64);

/// The turns taken lately. The same few nodes meet the same few messages in very many clusters.
#[allow(clippy::disallowed_types, reason = "it is looked up and never walked through")]
type Turns<P> =
    std::collections::HashMap<TurnKey, Arc<[Arc<Turned<P>>]>, BuildHasherDefault<OfPrints>>;

/// The turns that are remembered at once.
const TURNS_MAX: usize = 1 << 17;

/// A model, ready to be explored. Each thread has one of its own, for the paper it writes prints on and for its memory of
/// turns.
pub(crate) struct Explorer<'a, M: Model> {
    model: &'a M,
    bounds: Bounds,
    ids: Vec<NodeId>,
    renamings: &'a [Renaming],
    words: Words,
    turns: Turns<M::Protocol>,
    /// Whether the exploration has begun.
    has_begun: bool,
}

impl<'a, M: Model> Explorer<'a, M> {
    pub(crate) fn new(model: &'a M, renamings: &'a [Renaming]) -> Self {
        assert!(model.timers().len() <= TIMERS_MAX, "a model names at most {TIMERS_MAX} timers");
        let ids = model.nodes().iter().map(|(id, _)| *id).collect();
        Explorer {
            model,
            bounds: model.bounds(),
            ids,
            renamings,
            words: Words::default(),
            turns: Turns::default(),
            has_begun: true,
        }
    }

    /// The cluster when every node has started for the first time, durably.
    pub(crate) fn start(&mut self) -> (State<M>, u64) {
        let mut nodes = Vec::new();
        let mut letters = Vec::new();
        for at in 0..self.ids.len() {
            let terms = Terms { is_synced: true, may_crash: false, ..self.terms(at) };
            let task = Task::Start { blank: self.model.blank() };
            let (node, deeds, next) = run(None, task, Choices::default(), terms);
            assert!(next.is_none(), "a first start leaves no choice");
            let turned = self.turned(at, node, deeds);
            letters.extend(turned.sent);
            nodes.push(turned.node);
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
        let nodes = |node: usize| &state.nodes[node];
        let print = self.print(&state, nodes, None, &[], None, state.spent);
        (state, print)
    }

    /// The cluster when the exploration begins, and how it came to be so.
    pub(crate) fn begin(&mut self) -> (State<M>, u64, Vec<Step<M::Protocol>>) {
        self.has_begun = false;
        let (mut state, _) = self.start();
        let mut steps = Vec::new();
        let model = self.model;
        self.let_arrive(&mut state, &mut steps);
        for (node, timer) in model.prelude() {
            let timer = model.timers().iter().position(|(known, _)| known == timer);
            let timer = timer.expect("the timers of the prelude are among the model's");
            self.happen(&mut state, Event::Fire { node: *node, timer }, &mut steps);
            self.let_arrive(&mut state, &mut steps);
        }
        state.spent = Spent::default();
        self.has_begun = true;
        let print = self.print(&state, |node| &state.nodes[node], None, &[], None, state.spent);
        (state, print, steps)
    }

    /// Has every message arrive, and every record be durable: those that are under way before those that they bring
    /// about, so that nodes of which the same is asked end up in the same state.
    fn let_arrive(&mut self, state: &mut State<M>, steps: &mut Vec<Step<M::Protocol>>) {
        self.let_sync(state, steps);
        while !state.letters.is_empty() {
            for due in state.letters.clone() {
                let is_due = |letter: &Arc<_>| Arc::ptr_eq(letter, &due);
                let letter = state.letters.iter().position(is_due).expect("it is still under way");
                let event = Event::Deliver { letter, is_repeated: false };
                self.happen(state, event, steps);
                self.let_sync(state, steps);
            }
        }
    }

    fn let_sync(&mut self, state: &mut State<M>, steps: &mut Vec<Step<M::Protocol>>) {
        while let Some(node) = state.nodes.iter().position(|node| node.unsynced() > 0) {
            self.happen(state, Event::Sync { node }, steps);
        }
    }

    /// Before the exploration begins, something happens, and no crash with it.
    fn happen(&mut self, state: &mut State<M>, event: Event, steps: &mut Vec<Step<M::Protocol>>) {
        // Of the ways in which a turn may go, the first has no crash.
        let turned = self.take_turns(state, event).swap_remove(0);
        let change = self.change(state, event, turned);
        assert!(change.broken.is_none(), "the prelude breaks a promise: {:?}", change.broken);
        steps.push(self.step(state, &change));
        *state = state.after(change);
    }

    /// Calls `take` with every change that a state may see, always in the same order. It returns whether to go on.
    pub(crate) fn each_change(
        &mut self,
        state: &State<M>,
        mut take: impl FnMut(Change<M>) -> bool,
    ) {
        for event in self.events(state) {
            let key = self.turn_key(state, event);
            let turns = match self.turns.get(&key) {
                Some(known) => known.clone(),
                None => {
                    if self.turns.len() >= TURNS_MAX {
                        self.turns.clear();
                    }
                    let turns: Arc<[_]> = self.take_turns(state, event).into();
                    self.turns.insert(key, turns.clone());
                    turns
                }
            };
            for turned in turns.iter() {
                let before = &state.nodes[self.mover(state, event)];
                if matches!(event, Event::Deliver { .. }) && turned.is_idle(before) {
                    // All that may happen after it may happen without it, while the message is under way for ever.
                    continue;
                }
                let change = self.change(state, event, turned.clone());
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
            if known.unsynced() > 0 {
                events.push(Event::Sync { node });
            }
            if state.spent.crashes < crashes {
                events.extend((0..=known.unsynced()).map(|kept| Event::Crash { node, kept }));
            }
        }
        events
    }

    /// Who moves.
    fn mover(&self, state: &State<M>, event: Event) -> usize {
        match event {
            Event::Deliver { letter, .. } => self.position(state.letters[letter].letter.to),
            Event::Fire { node, .. }
            | Event::Ask { node, .. }
            | Event::Lost { node, .. }
            | Event::Sync { node }
            | Event::Crash { node, .. } => node,
        }
    }

    fn turn_key(&self, state: &State<M>, event: Event) -> TurnKey {
        let (kind, what) = match event {
            Event::Deliver { letter, .. } => (0, state.letters[letter].prints[0]),
            Event::Fire { timer, .. } => (1, timer as u64),
            Event::Ask { request, .. } => (2, request as u64),
            Event::Lost { peer, .. } => (3, peer as u64),
            Event::Sync { .. } => (4, 0),
            Event::Crash { kept, .. } => (5, kept as u64),
        };
        let mover = self.mover(state, event);
        let may_crash = state.spent.by(event).crashes < self.bounds.crashes;
        let details = [kind, mover as u8, u8::from(may_crash), state.spent.requests, 0, 0, 0, 0];
        (state.nodes[mover].prints[0], what, u64::from_le_bytes(details))
    }

    fn task(&self, state: &State<M>, event: Event) -> Task<M::Protocol> {
        match event {
            Event::Deliver { letter, .. } => {
                let Letter { from, message, .. } = &state.letters[letter].letter;
                Task::Deliver { from: *from, message: message.clone() }
            }
            Event::Fire { timer, .. } => Task::Fire { timer },
            Event::Ask { node, request } => {
                let mut requests = self.model.requests(state.spent.requests, self.ids[node]);
                Task::Ask { request: requests.swap_remove(request) }
            }
            Event::Lost { peer, .. } => Task::Lost { peer: self.ids[peer] },
            Event::Sync { .. } => Task::Sync,
            Event::Crash { kept, .. } => Task::Crash { kept },
        }
    }

    fn terms(&self, node: usize) -> Terms<'a, M::Protocol> {
        let model = self.model;
        Terms {
            config: &model.nodes()[node].1,
            timers: model.timers(),
            is_synced: model.syncs() == Syncs::EachTurn,
            may_crash: false,
        }
    }

    /// A turn, in every way in which it may go.
    fn take_turns(&mut self, state: &State<M>, event: Event) -> Vec<Arc<Turned<M::Protocol>>> {
        let node = self.mover(state, event);
        let may_crash = state.spent.by(event).crashes < self.bounds.crashes;
        let task = self.task(state, event);
        let mut turns = Vec::new();
        let mut choices = Some(Choices::default());
        while let Some(tried) = choices {
            let terms = Terms { may_crash, ..self.terms(node) };
            let (after, deeds, next) = run(Some(&state.nodes[node]), task.clone(), tried, terms);
            turns.push(Arc::new(self.turned(node, after, deeds)));
            choices = next;
        }
        turns
    }

    fn turned(
        &mut self,
        at: usize,
        mut node: Node<M::Protocol>,
        deeds: Deeds<M::Protocol>,
    ) -> Turned<M::Protocol> {
        node.prints = self.words.prints(&node, &self.ids, self.renamings);
        let Deeds { mut sent, answered, chosen, interruption, passed } = deeds;
        sent.retain(|(_, message)| !self.has_begun || self.model.may_arrive(message));
        let id = self.ids[at];
        Turned {
            node: Arc::new(node),
            sent: sent.into_iter().map(|(to, message)| self.seal(id, to, message)).collect(),
            answered,
            chosen,
            interruption,
            passed,
        }
    }

    /// What a turn means for the cluster.
    fn change(
        &mut self,
        state: &State<M>,
        event: Event,
        turned: Arc<Turned<M::Protocol>>,
    ) -> Change<M> {
        let moved = self.mover(state, event);
        let mut spent = state.spent.by(event);
        spent.crashes += u8::from(turned.interruption.is_some());
        let (history, broken) = self.judge(state, moved, &turned);
        let history = history.map(|history| self.record(history));
        let nodes = |node: usize| if node == moved { &turned.node } else { &state.nodes[node] };
        let print =
            self.print(state, nodes, event.used_up(), &turned.sent, history.as_deref(), spent);
        Change { event, moved, turned, history, spent, broken, print }
    }

    /// What history becomes with a turn, if it changes, and which promise the turn breaks, if any.
    fn judge(
        &self,
        state: &State<M>,
        moved: usize,
        turned: &Turned<M::Protocol>,
    ) -> (Option<M::History>, Option<String>) {
        let mut history: Option<M::History> = None;
        for now in turned.passed.iter().chain([turned.node.state()]) {
            let snapshot = Snapshot {
                nodes: &state.nodes,
                moved: Some((moved, now)),
                history: history.as_ref().unwrap_or(&state.history.history),
            };
            match self.model.observe(&snapshot, moved) {
                Ok(None) => {}
                Ok(changed) => history = changed,
                Err(broken) => return (history, Some(broken)),
            }
        }
        (history, None)
    }

    /// The least of the prints that a state has under the renamings: all states that differ in names alone have it.
    fn print<'s>(
        &self,
        state: &'s State<M>,
        nodes: impl Fn(usize) -> &'s Arc<Node<M::Protocol>>,
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
                renaming.in_order().iter().fold(0, |print, n| fold(print, nodes(*n).prints[at]));
            [letters, history.prints[at], rare, fired].into_iter().fold(nodes, fold)
        };
        self.renamings.iter().enumerate().map(of).min().unwrap_or_default()
    }

    /// A change, for people to read.
    pub(crate) fn step(&self, state: &State<M>, change: &Change<M>) -> Step<M::Protocol> {
        let Change { event, moved, turned, .. } = change;
        let before = &state.nodes[*moved];
        let action = match (event, self.task(state, *event)) {
            (Event::Deliver { is_repeated, .. }, Task::Deliver { from, message }) => {
                Action::Deliver { from, message, is_repeated: *is_repeated }
            }
            (_, Task::Fire { timer }) => Action::Fire(self.model.timers()[timer].0.clone()),
            (_, Task::Ask { request }) => Action::Ask { id: before.next_request(), request },
            (_, Task::Lost { peer }) => Action::Lost { peer },
            (_, Task::Sync) => Action::Sync { records: before.unsynced() },
            (_, Task::Crash { kept }) => Action::Crash { kept, lost: before.unsynced() - kept },
            (_, Task::Start { .. } | Task::Deliver { .. }) => {
                unreachable!("no event has such a task")
            }
        };
        let views = (0..self.ids.len()).map(|position| {
            let node = if position == *moved { &turned.node } else { &state.nodes[position] };
            node.state().view()
        });
        Step {
            node: self.ids[*moved],
            action,
            chosen: turned.chosen.clone(),
            interruption: turned.interruption,
            sent: turned.sent.iter().map(|sealed| sealed.letter.clone()).collect(),
            answered: turned.answered.clone(),
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
    /// The state that a change leads to.
    pub(crate) fn after(&self, change: Change<M>) -> Self {
        let Turned { node, sent, .. } = &*change.turned;
        let mut next = State {
            nodes: self.nodes.clone(),
            letters: Vec::with_capacity(self.letters.len() + sent.len()),
            letter_sums: self.letter_sums.clone(),
            history: change.history.unwrap_or_else(|| self.history.clone()),
            spent: change.spent,
        };
        next.letters.extend_from_slice(&self.letters);
        next.nodes[change.moved] = node.clone();
        if let Some(letter) = change.event.used_up() {
            let letter = next.letters.remove(letter);
            let sums = next.letter_sums.iter_mut().zip(&letter.prints);
            sums.for_each(|(sum, print)| *sum = sum.wrapping_sub(*print));
        }
        for letter in sent {
            next.post(letter.clone());
        }
        next
    }

    fn post(&mut self, letter: Arc<Sealed<M::Protocol>>) {
        self.letter_sums.iter_mut().zip(&letter.prints).for_each(|(s, p)| *s = s.wrapping_add(*p));
        let at = self.letters.partition_point(|other| other.prints[0] < letter.prints[0]);
        self.letters.insert(at, letter);
    }
}
