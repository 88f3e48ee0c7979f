//! What a diagram shows of a log: rows, arrows, marks and spans, with nothing said yet about pixels.

use std::collections::BTreeMap;
use std::ops::Range;

use quorate_core::NodeId;

use crate::log::{Clock, Event, MessageId, StepLog, What, Why};
use crate::steps::Step;
use crate::text;

/// More arrows of routine than this, and they are hidden until somebody asks for them.
const ROUTINE_SHOWN_MAX: usize = 24;

/// A row is a step. One that lies before the rows of the model is -1, and one behind them is their number.
pub(crate) type RowIndex = i32;

#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Nanoseconds since the run began, or the place in its order.
    pub(crate) at: u64,
    pub(crate) lane: Option<usize>,
    /// What happened, a line for the input and for each effect.
    pub(crate) lines: Vec<String>,
    /// The node's state afterwards.
    pub(crate) view: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrived,
    Lost(Why),
    /// Still on its way when the run ended.
    Pending,
}

#[derive(Clone, Debug)]
pub(crate) struct Arrow {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) sent: RowIndex,
    pub(crate) ends: RowIndex,
    pub(crate) kind: usize,
    pub(crate) label: String,
    pub(crate) fate: Fate,
    pub(crate) is_copy: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MarkKind {
    /// A timer of that kind has run out.
    Fire(usize),
    Ask,
    Reply,
    Boot,
    Crash,
    /// A write: the row in which it was known to be durable, if it ever was.
    Persist(Option<RowIndex>),
    PeerLost,
    Note,
}

#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) row: RowIndex,
    pub(crate) lane: Option<usize>,
    pub(crate) kind: MarkKind,
    pub(crate) label: String,
}

/// A change of a node's state.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) row: RowIndex,
    pub(crate) lane: usize,
    /// The place of its role in [`Model::roles`].
    pub(crate) role: usize,
    /// What changed: the words, if they did, or else the details that did.
    pub(crate) label: String,
    pub(crate) is_detail: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpanKind {
    Down,
    Paused,
}

#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) lane: usize,
    pub(crate) rows: Range<RowIndex>,
    pub(crate) kind: SpanKind,
}

#[derive(Clone, Debug)]
pub(crate) struct FaultSpan {
    pub(crate) rows: Range<RowIndex>,
    pub(crate) label: String,
}

/// What readers show and hide together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) name: String,
    pub(crate) is_timer: bool,
    pub(crate) is_routine: bool,
    pub(crate) count: usize,
    pub(crate) is_shown: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) row: RowIndex,
    pub(crate) rule: String,
    pub(crate) what: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) clock: Clock,
    pub(crate) lanes: Vec<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) arrows: Vec<Arrow>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) states: Vec<State>,
    pub(crate) roles: Vec<String>,
    pub(crate) spans: Vec<Span>,
    pub(crate) faults: Vec<FaultSpan>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) failed: Option<Failed>,
    /// How long a message takes, usually: nanoseconds, or steps.
    pub(crate) delay: u64,
}

impl Model {
    /// All of a log.
    pub(crate) fn new(log: &StepLog) -> Model {
        let mut builder = Builder::new(log);
        for (row, step) in (0..).zip(log.steps()) {
            builder.step(row, step);
        }
        builder.finish()
    }

    /// Only those rows; what reaches into them from outside is cut at their edge.
    pub(crate) fn cut(mut self, rows: Range<usize>) -> Model {
        let (first, count) = (rows.start as RowIndex, rows.len() as RowIndex);
        let shift = |row: RowIndex| (row - first).clamp(-1, count);
        let is_inside = |from: RowIndex, to: RowIndex| to >= first && from < first + count;
        self.rows = self.rows.drain(rows).collect();
        self.arrows.retain(|arrow| is_inside(arrow.sent, arrow.ends));
        for arrow in &mut self.arrows {
            (arrow.sent, arrow.ends) = (shift(arrow.sent), shift(arrow.ends));
        }
        self.marks.retain(|mark| is_inside(mark.row, mark.row));
        for mark in &mut self.marks {
            mark.row = shift(mark.row);
            if let MarkKind::Persist(Some(durable)) = &mut mark.kind {
                *durable = shift(*durable);
            }
        }
        // Of each lane, the last state before the first row is what it begins with.
        let mut begins: BTreeMap<usize, State> = BTreeMap::new();
        for state in self.states.iter().filter(|state| state.row < first && !state.is_detail) {
            begins.insert(state.lane, state.clone());
        }
        self.states.retain(|state| is_inside(state.row, state.row));
        self.states.splice(0..0, begins.into_values());
        self.states.iter_mut().for_each(|state| state.row = shift(state.row));
        self.spans.retain(|span| is_inside(span.rows.start, span.rows.end));
        self.spans.iter_mut().for_each(|span| {
            span.rows = shift(span.rows.start)..shift(span.rows.end);
        });
        self.faults.retain(|fault| is_inside(fault.rows.start, fault.rows.end));
        self.faults.iter_mut().for_each(|fault| {
            fault.rows = shift(fault.rows.start)..shift(fault.rows.end);
        });
        self.failed = self.failed.filter(|failed| is_inside(failed.row, failed.row));
        if let Some(failed) = &mut self.failed {
            failed.row = shift(failed.row);
        }
        self
    }
}

struct Builder<'a> {
    log: &'a StepLog,
    lanes: BTreeMap<NodeId, usize>,
    model: Model,
    kinds: BTreeMap<(bool, String, bool), usize>,
    /// By message: the arrow it is drawn as.
    arrows: Vec<Option<usize>>,
    /// By message: whether it is routine.
    routine: Vec<bool>,
    views: Vec<String>,
    /// By lane: writes that are not durable yet, each with its number and its mark.
    unsynced: Vec<Vec<(u64, usize)>>,
    down_since: Vec<Option<RowIndex>>,
    paused_since: Vec<Option<RowIndex>>,
    /// By fault: its span.
    faults: BTreeMap<u32, usize>,
    delays: Vec<u64>,
    sent_at: Vec<u64>,
}

impl<'a> Builder<'a> {
    fn new(log: &'a StepLog) -> Self {
        let mut nodes = log.nodes().to_vec();
        for node in log.events().iter().filter_map(|event| event.what.node()) {
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        let count = nodes.len();
        Builder {
            log,
            model: Model {
                clock: log.clock(),
                lanes: nodes.iter().map(ToString::to_string).collect(),
                rows: Vec::new(),
                arrows: Vec::new(),
                marks: Vec::new(),
                states: Vec::new(),
                roles: Vec::new(),
                spans: Vec::new(),
                faults: Vec::new(),
                kinds: Vec::new(),
                failed: None,
                delay: 1,
            },
            lanes: nodes.into_iter().zip(0..).collect(),
            kinds: BTreeMap::new(),
            arrows: vec![None; log.messages()],
            routine: vec![false; log.messages()],
            views: vec![String::new(); count],
            unsynced: vec![Vec::new(); count],
            // A node that has not booted yet is down.
            down_since: vec![Some(-1); count],
            paused_since: vec![None; count],
            faults: BTreeMap::new(),
            delays: Vec::new(),
            sent_at: vec![0; log.messages()],
        }
    }

    fn step(&mut self, row: RowIndex, step: Step<'_>) {
        let at = u64::try_from(step.at().as_nanos()).unwrap_or(u64::MAX);
        let lane = step.node().map(|node| self.lanes[&node]);
        let is_routine = step.passes_routine_on(
            |message| self.routine[message.0 as usize],
            lane.map(|lane| self.views[lane].as_str()),
        );
        for event in step.events {
            self.event(row, at, event, is_routine);
        }
        self.model.rows.push(Row {
            at,
            lane,
            lines: text::parts(self.log, step),
            view: lane.map(|lane| self.views[lane].clone()).unwrap_or_default(),
        });
        let failing = self.log.failing();
        if let Some(failing) =
            failing.filter(|failing| failing.event.is_some_and(|event| step.contains(event)))
        {
            let (rule, what) = (failing.rule.clone(), failing.what.clone());
            self.model.failed = Some(Failed { row, rule, what });
        }
    }

    fn event(&mut self, row: RowIndex, at: u64, event: &Event, is_routine: bool) {
        let lane = event.what.node().map(|node| self.lanes[&node]);
        match &event.what {
            What::Boot { .. } => {
                let lane = self.mark(row, lane, MarkKind::Boot, "boot");
                if let Some(since) = self.down_since[lane].take() {
                    self.model.spans.push(Span { lane, rows: since..row, kind: SpanKind::Down });
                }
                self.views[lane].clear();
            }
            What::Crash { .. } => {
                let lane = self.mark(row, lane, MarkKind::Crash, "crash");
                self.end_pause(lane, row);
                self.down_since[lane] = Some(row);
                self.unsynced[lane].clear();
                self.views[lane] = "down".to_owned();
            }
            What::Pause { .. } => {
                let lane = lane.expect("a pause has a node");
                self.paused_since[lane].get_or_insert(row);
            }
            What::Resume { .. } => self.end_pause(lane.expect("a resumption has a node"), row),
            What::Fire { timer, .. } => {
                let kind = self.kind(true, &timer.kind, timer.is_routine);
                self.mark(row, lane, MarkKind::Fire(kind), &timer.text);
            }
            What::Ask { request, .. } => {
                self.mark(row, lane, MarkKind::Ask, &request.text);
            }
            What::Reply { response, .. } => {
                self.mark(row, lane, MarkKind::Reply, &response.text);
            }
            What::PeerLost { peer, .. } => {
                self.mark(row, lane, MarkKind::PeerLost, &format!("lost {peer}"));
            }
            What::Persist { number, record, .. } => {
                let lane = self.mark(row, lane, MarkKind::Persist(None), &record.text);
                self.unsynced[lane].push((*number, self.model.marks.len() - 1));
            }
            What::Synced { upto, .. } => self.synced(row, lane.expect("a sync has a node"), *upto),
            What::Send { message, .. } => self.send(row, at, *message, is_routine),
            What::Duplicate { message, copy } => {
                let is_routine = self.routine[message.0 as usize];
                self.send(row, at, *copy, is_routine);
            }
            What::Deliver { message, .. } => {
                self.delays.push(at - self.sent_at[message.0 as usize]);
                self.end(row, *message, Fate::Arrived);
            }
            What::Lose { message, why } => self.end(row, *message, Fate::Lost(*why)),
            What::View { view, .. } => self.view(row, lane.expect("a view has a node"), view),
            What::FaultBegins { fault, what } => {
                self.faults.insert(*fault, self.model.faults.len());
                let label = format!("fault {fault}: {what}");
                self.model.faults.push(FaultSpan { rows: row..row, label });
            }
            What::FaultEnds { fault } => {
                if let Some(fault) = self.faults.get(fault) {
                    self.model.faults[*fault].rows.end = row;
                }
            }
            What::Note { what } => {
                self.model.marks.push(Mark {
                    row,
                    lane: None,
                    kind: MarkKind::Note,
                    label: what.clone(),
                });
            }
            What::Arm { .. } | What::Disarm { .. } | What::Release { .. } | What::Choose { .. } => {
            }
        }
    }

    /// Adds a mark at a node. Returns the node's lane.
    fn mark(&mut self, row: RowIndex, lane: Option<usize>, kind: MarkKind, label: &str) -> usize {
        self.model.marks.push(Mark { row, lane, kind, label: label.to_owned() });
        lane.expect("what happens at a node has a lane")
    }

    fn end_pause(&mut self, lane: usize, row: RowIndex) {
        if let Some(since) = self.paused_since[lane].take() {
            self.model.spans.push(Span { lane, rows: since..row, kind: SpanKind::Paused });
        }
    }

    fn synced(&mut self, row: RowIndex, lane: usize, upto: u64) {
        let marks = &mut self.model.marks;
        self.unsynced[lane].retain(|(number, mark)| {
            if *number <= upto {
                marks[*mark].kind = MarkKind::Persist(Some(row));
            }
            *number > upto
        });
    }

    fn kind(&mut self, is_timer: bool, name: &str, is_routine: bool) -> usize {
        let next = self.model.kinds.len();
        let place = *self.kinds.entry((is_timer, name.to_owned(), is_routine)).or_insert(next);
        if place == next {
            let name = name.to_owned();
            let kind = Kind { name, is_timer, is_routine, count: 0, is_shown: true };
            self.model.kinds.push(kind);
        }
        self.model.kinds[place].count += 1;
        place
    }

    fn send(&mut self, row: RowIndex, at: u64, id: MessageId, is_routine: bool) {
        let message = self.log.message(id);
        let is_routine = is_routine || message.label.is_routine;
        let kind = self.kind(false, &message.label.kind, is_routine);
        // A receiver that is no node of this run gets no lane, and its message no arrow.
        if let Some(to) = self.lanes.get(&message.to) {
            self.arrows[id.0 as usize] = Some(self.model.arrows.len());
            self.model.arrows.push(Arrow {
                from: self.lanes[&message.from],
                to: *to,
                sent: row,
                ends: RowIndex::MAX,
                kind,
                label: message.label.text.clone(),
                fate: Fate::Pending,
                is_copy: message.copy_of.is_some(),
            });
        }
        self.routine[id.0 as usize] = is_routine;
        self.sent_at[id.0 as usize] = at;
    }

    fn end(&mut self, row: RowIndex, id: MessageId, fate: Fate) {
        if let Some(arrow) = self.arrows[id.0 as usize] {
            let arrow = &mut self.model.arrows[arrow];
            (arrow.ends, arrow.fate) = (row, fate);
        }
    }

    fn view(&mut self, row: RowIndex, lane: usize, view: &str) {
        let before = std::mem::replace(&mut self.views[lane], view.to_owned());
        if before == view {
            return;
        }
        let (words, words_before) = (words(view), words(&before));
        let is_detail = words == words_before;
        let label = if is_detail { details_that_differ(&before, view) } else { words };
        let role = role(view);
        let known = self.model.roles.iter().position(|known| *known == role);
        let role = known.unwrap_or_else(|| {
            self.model.roles.push(role);
            self.model.roles.len() - 1
        });
        self.model.states.push(State { row, lane, role, label, is_detail });
    }

    fn finish(mut self) -> Model {
        let end = self.model.rows.len() as RowIndex;
        for arrow in &mut self.model.arrows {
            arrow.ends = arrow.ends.min(end);
        }
        for lane in 0..self.model.lanes.len() {
            self.end_pause(lane, end);
            if let Some(since) = self.down_since[lane] {
                self.model.spans.push(Span { lane, rows: since..end, kind: SpanKind::Down });
            }
        }
        self.delays.sort_unstable();
        self.model.delay = self.delays.get(self.delays.len() / 2).copied().unwrap_or(1).max(1);
        for is_timer in [false, true] {
            let routine = |kind: &Kind| kind.is_timer == is_timer && kind.is_routine;
            let count: usize =
                self.model.kinds.iter().filter(|kind| routine(kind)).map(|kind| kind.count).sum();
            for kind in self.model.kinds.iter_mut().filter(|kind| routine(kind)) {
                kind.is_shown = count <= ROUTINE_SHOWN_MAX;
            }
        }
        self.model
    }
}

/// The words of a view that are not details.
fn words(view: &str) -> String {
    view.split(' ').filter(|word| !word.contains('=')).collect::<Vec<_>>().join(" ")
}

fn details_that_differ(before: &str, view: &str) -> String {
    let before: Vec<&str> = before.split(' ').collect();
    let words = view.split(' ').filter(|word| word.contains('='));
    words.filter(|word| !before.contains(word)).collect::<Vec<_>>().join(" ")
}

/// What a node is, by the first word of its view: `leader` of `leader@3 commit=7`. The name of a group may come first.
fn role(view: &str) -> String {
    let is_group = |word: &str| {
        word.strip_prefix('g').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let word = view.split(' ').find(|word| !is_group(word)).unwrap_or_default();
    word.split(['@', '=', '(', '{', ';']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
