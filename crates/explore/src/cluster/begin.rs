//! How a cluster comes to be as it is when the exploration begins.

use std::sync::Arc;

use super::{Event, Explorer, Spent, State, add};
use crate::model::Model;
use crate::node::{Choices, Task, Terms, run};
use crate::trace::Step;

/// How long the beginning of an exploration may be.
const PRELUDE_MAX: usize = 10_000;

impl<M: Model> Explorer<'_, M> {
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
            nodes,
            letters: Vec::new(),
            sums: vec![0; self.renamings.len()],
            history,
            spent: Spent::default(),
        };
        for node in &state.nodes {
            add(&mut state.sums, &node.prints);
        }
        for letter in letters {
            state.post(letter);
        }
        let print = self.print_of(&state);
        (state, print)
    }

    /// The cluster when the exploration begins, and how it came to be so.
    pub(crate) fn begin(&mut self) -> (State<M>, u64, Vec<Step<M::Protocol>>) {
        let model = self.model;
        if !model.begins_settled() {
            let (state, print) = self.start();
            return (state, print, Vec::new());
        }
        self.has_begun = false;
        let (mut state, _) = self.start();
        let mut steps = Vec::new();
        self.let_arrive(&mut state, &mut steps);
        for (node, timer) in model.prelude() {
            let timer = model.timers().iter().position(|(known, _)| known == timer);
            let timer = timer.expect("the timers of the prelude are among the model's");
            let event = Event::Fire { node: *node, timer, is_counted: false };
            self.happen(&mut state, event, &mut steps);
            self.let_arrive(&mut state, &mut steps);
        }
        state.spent = Spent::default();
        self.has_begun = true;
        let print = self.print_of(&state);
        (state, print, steps)
    }

    /// Has every message arrive, and every record be durable: those that are under way before those that they bring
    /// about, so that nodes of which the same is asked end up in the same state.
    fn let_arrive(&mut self, state: &mut State<M>, steps: &mut Vec<Step<M::Protocol>>) {
        self.let_sync(state, steps);
        while !state.letters.is_empty() {
            assert!(steps.len() < PRELUDE_MAX, "what was sent at the start is answered for ever");
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
        *state = self.after(state, change);
    }
}
