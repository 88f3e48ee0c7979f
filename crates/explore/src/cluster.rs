//! A cluster at one moment, and every next moment it may have.

mod begin;
pub(crate) mod fair;
mod spent;

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use quorate_core::{NodeId, Protocol, RequestId};

use self::spent::Spent;
use crate::fingerprint::{OfPrints, Renaming, Words, fold};
use crate::model::{Bounds, Explored, Happened, Model, Snapshot, Syncs, UNBOUNDED};
use crate::node::{
    Choices, Counted, Deeds, Interruption, Node, TIMERS_MAX, Task, Terms, Timers, run,
};
use crate::trace::{Action, Letter, Step};

/// A message under way. Once made it doesn't change.
struct Sealed<P: Protocol> {
    letter: Letter<P>,
    prints: Box<[u64]>,
}

struct Recorded<H> {
    history: H,
    prints: Box<[u64]>,
}

/// A cluster. What two states have in common they share.
pub(crate) struct State<M: Model> {
    nodes: Vec<Arc<Node<M::Protocol>>>,
    /// Those under way, in the order of their prints, so that it doesn't matter which was sent first.
    letters: Vec<Arc<Sealed<M::Protocol>>>,
    /// The sum of the prints of nodes and letters under each renaming: a turn changes few of them.
    sums: Vec<u64>,
    history: Arc<Recorded<M::History>>,
    spent: Spent,
}

impl<M: Model> State<M> {
    pub(crate) fn snapshot(&self) -> Snapshot<'_, M> {
        let history = &self.history.history;
        Snapshot { nodes: &self.nodes, moved: None, history, happened: Happened::default() }
    }
}

/// What may happen next: whose turn it is, and how it goes.
#[derive(Clone, Copy)]
enum Event {
    Deliver { letter: usize, is_repeated: bool },
    Fire { node: usize, timer: usize, is_counted: bool },
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
    asked: Option<(RequestId, P::Request)>,
    has_restarted: bool,
    touched: Timers,
}

impl<P: Explored> Turned<P> {
    /// Whether nothing came of it. To whoever asks what is fair, a timer that is armed anew is something.
    fn is_idle(&self, before: &Node<P>, is_fairness_asked: bool) -> bool {
        !(is_fairness_asked && self.touched != 0)
            && self.sent.is_empty()
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

/// The states that are kept for their memory.
const SPARE_MAX: usize = 1 << 14;

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
    copies_max: usize,
    is_fairness_asked: bool,
    /// States that are needed no more, for their memory.
    spare: Vec<State<M>>,
    events: Vec<Event>,
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
            copies_max: model.copies_max(),
            is_fairness_asked: !model.eventually().is_empty(),
            spare: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Takes a state that is needed no more.
    pub(crate) fn recycle(&mut self, state: State<M>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(state);
        }
    }

    /// Calls `take` with every change that a state may see, always in the same order. It returns whether to go on.
    pub(crate) fn each_change(
        &mut self,
        state: &State<M>,
        mut take: impl FnMut(&mut Self, Change<M>) -> bool,
    ) {
        let mut events = std::mem::take(&mut self.events);
        self.list_events(state, &mut events);
        self.each_change_by(&events, state, &mut take);
        self.events = events;
    }

    fn each_change_by(
        &mut self,
        events: &[Event],
        state: &State<M>,
        take: &mut impl FnMut(&mut Self, Change<M>) -> bool,
    ) {
        for event in events.iter().copied() {
            let before = &state.nodes[self.mover(state, event)];
            for turned in self.turns(state, event).iter() {
                let is_delivery = matches!(event, Event::Deliver { .. });
                if is_delivery && turned.is_idle(before, self.is_fairness_asked) {
                    // All that may happen after it may happen without it, while the message is under way for ever.
                    continue;
                }
                let change = self.change(state, event, turned.clone());
                if !take(self, change) {
                    return;
                }
            }
        }
    }

    fn may_fire(&self, state: &State<M>, timer: usize) -> bool {
        let fires_max = self.model.timers()[timer].1;
        fires_max == UNBOUNDED || state.spent.fired[timer] < fires_max
    }

    /// Whether a node may crash in the middle of its turn.
    fn may_crash(&self, state: &State<M>, event: Event, node: usize) -> bool {
        state.spent.by(event).crashes < self.bounds.crashes && self.model.may_crash(self.ids[node])
    }

    /// A turn, in every way in which it may go; remembered, if it was taken lately.
    fn turns(&mut self, state: &State<M>, event: Event) -> Arc<[Arc<Turned<M::Protocol>>]> {
        let key = self.turn_key(state, event);
        if let Some(known) = self.turns.get(&key) {
            return known.clone();
        }
        if self.turns.len() >= TURNS_MAX {
            self.turns.clear();
        }
        let turns: Arc<[_]> = self.take_turns(state, event).into();
        self.turns.insert(key, turns.clone());
        turns
    }

    /// What may happen in a state.
    fn list_events(&self, state: &State<M>, events: &mut Vec<Event>) {
        let Bounds { crashes, repeats, requests, hints } = self.bounds;
        events.clear();
        for (letter, sealed) in state.letters.iter().enumerate() {
            // Of two that are alike, either will do.
            let is_told = letter > 0 && state.letters[letter - 1].prints[0] == sealed.prints[0];
            if is_told || self.model.are_cut(sealed.letter.from, sealed.letter.to) {
                continue;
            }
            events.push(Event::Deliver { letter, is_repeated: false });
            if state.spent.repeats < repeats {
                events.push(Event::Deliver { letter, is_repeated: true });
            }
        }
        for (node, known) in state.nodes.iter().enumerate() {
            for (timer, (_, fires_max)) in self.model.timers().iter().enumerate() {
                if known.is_armed(timer) && self.may_fire(state, timer) {
                    let is_counted = *fires_max != UNBOUNDED;
                    events.push(Event::Fire { node, timer, is_counted });
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
            if state.spent.crashes < crashes && self.model.may_crash(self.ids[node]) {
                events.extend((0..=known.unsynced()).map(|kept| Event::Crash { node, kept }));
            }
        }
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
        let may_crash = self.may_crash(state, event, mover);
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
            is_fairness_asked: self.is_fairness_asked,
        }
    }

    /// A turn, in every way in which it may go.
    fn take_turns(&mut self, state: &State<M>, event: Event) -> Vec<Arc<Turned<M::Protocol>>> {
        let node = self.mover(state, event);
        let may_crash = self.may_crash(state, event, node);
        let task = self.task(state, event);
        let mut turns = Vec::new();
        let mut choices = Some(Choices::default());
        while let Some(tried) = choices {
            let terms = Terms { may_crash, ..self.terms(node) };
            let (after, deeds, next) = run(Some(&state.nodes[node]), task.clone(), tried, terms);
            let mut turned = self.turned(node, after, deeds);
            if let Task::Ask { request } = &task {
                turned.asked = Some((state.nodes[node].next_request(), request.clone()));
            }
            turned.has_restarted |= matches!(task, Task::Crash { .. });
            turns.push(Arc::new(turned));
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
        let counted = Counted(&node, self.model.counts_records());
        node.prints = self.words.prints(&counted, &self.ids, self.renamings);
        let prints = node.prints.iter_mut().zip(self.renamings);
        prints.for_each(|(print, renaming)| *print = renaming.put(at, *print));
        let Deeds { mut sent, answered, chosen, interruption, touched, passed } = deeds;
        sent.retain(|(_, message)| !self.has_begun || self.model.may_arrive(message));
        let id = self.ids[at];
        Turned {
            node: Arc::new(node),
            sent: sent.into_iter().map(|(to, message)| self.seal(id, to, message)).collect(),
            answered,
            chosen,
            interruption,
            passed,
            asked: None,
            has_restarted: interruption.is_some(),
            touched,
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
        let print = self.print_after(state, event, &turned, history.as_deref(), spent);
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
        let Turned { passed, asked, answered, chosen, has_restarted, .. } = turned;
        for (at, now) in passed.iter().chain([turned.node.state()]).enumerate() {
            let mut happened = Happened::default();
            if at == 0 {
                happened.asked = asked.as_ref().map(|(id, request)| (*id, request));
            }
            if at == passed.len() {
                happened = Happened { answered, chosen, has_restarted: *has_restarted, ..happened };
            }
            let snapshot = Snapshot {
                nodes: &state.nodes,
                moved: Some((moved, now)),
                history: history.as_ref().unwrap_or(&state.history.history),
                happened,
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
    fn print_of(&self, state: &State<M>) -> u64 {
        let sums = state.sums.iter().copied();
        self.least(sums, &state.history, state.spent)
    }

    /// The print of the state that a turn leads to.
    fn print_after(
        &self,
        state: &State<M>,
        event: Event,
        turned: &Turned<M::Protocol>,
        history: Option<&Recorded<M::History>>,
        spent: Spent,
    ) -> u64 {
        let before = &state.nodes[self.mover(state, event)];
        let used_up = event.used_up();
        let sums = state.sums.iter().enumerate().map(|(at, sum)| {
            let mut sum = sum.wrapping_sub(before.prints[at]).wrapping_add(turned.node.prints[at]);
            if let Some(letter) = used_up {
                sum = sum.wrapping_sub(state.letters[letter].prints[at]);
            }
            let posted = self.posted(state, used_up, &turned.sent);
            posted.fold(sum, |sum, letter| sum.wrapping_add(letter.prints[at]))
        });
        self.least(sums, history.unwrap_or(&state.history), spent)
    }

    fn least(
        &self,
        sums: impl Iterator<Item = u64>,
        history: &Recorded<M::History>,
        spent: Spent,
    ) -> u64 {
        let spent = spent.words(self.model.timers().len()).fold(0, fold);
        let prints = sums.zip(&history.prints);
        prints.map(|(sum, history)| fold(fold(sum, *history), spent)).min().unwrap_or_default()
    }

    /// Of the letters sent in a state those that find room: not more than there may be are under way that are the same.
    fn posted<'s>(
        &self,
        state: &'s State<M>,
        delivered: Option<usize>,
        sent: &'s [Arc<Sealed<M::Protocol>>],
    ) -> impl Iterator<Item = &'s Arc<Sealed<M::Protocol>>> {
        let copies_max = self.copies_max;
        sent.iter().enumerate().filter_map(move |(at, letter)| {
            if copies_max == usize::MAX {
                return Some(letter);
            }
            let is_same = |other: &&Arc<Sealed<_>>| other.prints[0] == letter.prints[0];
            let gone = delivered.map(|letter| &state.letters[letter]);
            let copies = state.letters.iter().filter(is_same).count()
                + sent[..at].iter().filter(is_same).count()
                - gone.iter().copied().filter(is_same).count();
            (copies < copies_max).then_some(letter)
        })
    }

    /// The state that a change leads to.
    pub(crate) fn after(&mut self, state: &State<M>, change: Change<M>) -> State<M> {
        let Change { event, moved, turned, history, spent, .. } = change;
        let history = history.unwrap_or_else(|| state.history.clone());
        let mut next = match self.spare.pop() {
            Some(State { mut nodes, mut letters, mut sums, .. }) => {
                nodes.clone_from(&state.nodes);
                letters.clone_from(&state.letters);
                sums.clone_from(&state.sums);
                State { nodes, letters, sums, history, spent }
            }
            None => {
                let mut letters = Vec::with_capacity(state.letters.len() + turned.sent.len());
                letters.extend_from_slice(&state.letters);
                let (nodes, sums) = (state.nodes.clone(), state.sums.clone());
                State { nodes, letters, sums, history, spent }
            }
        };
        take_away(&mut next.sums, &next.nodes[moved].prints);
        add(&mut next.sums, &turned.node.prints);
        next.nodes[moved] = turned.node.clone();
        if let Some(letter) = event.used_up() {
            let letter = next.letters.remove(letter);
            take_away(&mut next.sums, &letter.prints);
        }
        for letter in self.posted(state, event.used_up(), &turned.sent) {
            next.post(letter.clone());
        }
        next
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
    fn post(&mut self, letter: Arc<Sealed<M::Protocol>>) {
        add(&mut self.sums, &letter.prints);
        let at = self.letters.partition_point(|other| other.prints[0] < letter.prints[0]);
        self.letters.insert(at, letter);
    }
}

fn add(sums: &mut [u64], prints: &[u64]) {
    sums.iter_mut().zip(prints).for_each(|(sum, print)| *sum = sum.wrapping_add(*print));
}

fn take_away(sums: &mut [u64], prints: &[u64]) {
    sums.iter_mut().zip(prints).for_each(|(sum, print)| *sum = sum.wrapping_sub(*print));
}
