//! One member of a cluster under test: its host, its disks, its timers.
//!
//! The log's disk keeps the records from the first that is still needed; at a start they are folded anew. The
//! application's state is on another, which may be ahead of the log or behind it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Host, Input, NodeId, Protocol, RequestId, Visible, World};
use quorate_protocols::consensus::raft::{self, Config, Raft, Record, Timer};

use crate::replica::{Durable, NOBODY, Replica, Request, State};

/// A member, up or down.
pub(crate) struct Member {
    pub(crate) config: Config,
    host: Option<Host<Replica>>,
    /// The durable records that are still needed, as far as the member said.
    records: VecDeque<Record>,
    /// The number of records that were released.
    released: u64,
    /// Whether the world knows that something is lost, and the member has yet to write that it does.
    memory_lost: bool,
    /// The application's durable state.
    saved: State,
    unsynced: VecDeque<Record>,
    /// The timers that are set.
    timers: BTreeMap<Timer, Range<Duration>>,
    last_request: RequestId,
    /// How many choices it has made, in all its runs, and its number in front.
    choices: u32,
}

/// What is on the disk of a member's log.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    records: VecDeque<Record>,
    released: u64,
}

/// What a member did in one step.
#[derive(Default)]
pub(crate) struct Deeds {
    /// Messages and answers that left it.
    pub(crate) visible: Vec<Visible<Replica>>,
    /// Records that its disk has yet to sync.
    pub(crate) written: Vec<Record>,
    /// Timers that it set.
    pub(crate) armed: Vec<(Timer, Range<Duration>)>,
    /// The numbers that it chose, each with its bound.
    pub(crate) chosen: Vec<(u32, u32)>,
    /// The first record that it still needs, if it gave up those before.
    pub(crate) released: Option<u64>,
}

struct Hands<'a> {
    deeds: Deeds,
    timers: &'a mut BTreeMap<Timer, Range<Duration>>,
    choices: &'a mut u32,
}

impl World<Replica> for Hands<'_> {
    fn persist(&mut self, record: Record) {
        self.deeds.written.push(record);
    }

    fn emit(&mut self, visible: Visible<Replica>) {
        self.deeds.visible.push(visible);
    }

    fn arm(&mut self, timer: Timer, after: Range<Duration>) {
        self.timers.insert(timer, after.clone());
        self.deeds.armed.push((timer, after));
    }

    fn disarm(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }

    fn choose(&mut self, bound: u32) -> u32 {
        // Not by chance, but never the same: each member makes but few choices.
        *self.choices += 1;
        let chosen = (u64::from(*self.choices) * 0x9e37_79b9 % u64::from(bound)) as u32;
        self.deeds.chosen.push((chosen, bound));
        chosen
    }

    fn release(&mut self, before: u64) {
        self.deeds.released = Some(before);
    }
}

impl Member {
    /// A member that has never started.
    pub(crate) fn new(config: Config) -> Self {
        let me = config.me.0;
        Member {
            config,
            host: None,
            records: VecDeque::new(),
            released: 0,
            memory_lost: false,
            saved: State::default(),
            unsynced: VecDeque::new(),
            timers: BTreeMap::new(),
            last_request: RequestId(0),
            choices: 1000 * me as u32,
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.config.me
    }

    /// The state, if it is up.
    pub(crate) fn raft(&self) -> Option<&Raft> {
        self.replica().map(Replica::raft)
    }

    /// The state with the application's, if it is up.
    pub(crate) fn replica(&self) -> Option<&Replica> {
        self.host.as_ref().map(Host::state)
    }

    /// The application's durable state.
    pub(crate) fn saved(&self) -> &State {
        &self.saved
    }

    pub(crate) fn is_up(&self) -> bool {
        self.host.is_some()
    }

    pub(crate) fn is_armed(&self, timer: Timer) -> bool {
        self.timers.contains_key(&timer)
    }

    pub(crate) fn armed(&self) -> impl Iterator<Item = Timer> + '_ {
        self.timers.keys().copied()
    }

    /// The number of records that are not durable yet.
    pub(crate) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// The number of the last durable record.
    pub(crate) fn last_record(&self) -> u64 {
        self.released + self.records.len() as u64
    }

    pub(crate) fn boot(&mut self) -> Deeds {
        assert!(!self.is_up(), "{} is up already", self.id());
        let mut durable = Durable { state: self.saved.clone(), ..Durable::default() };
        for (record, number) in self.records.iter().zip(self.released + 1..) {
            Replica::fold(&mut durable, number, record.clone());
        }
        durable.raft.memory_lost = self.memory_lost;
        let last = self.last_record();
        let mut hands =
            Hands { deeds: Deeds::default(), timers: &mut self.timers, choices: &mut self.choices };
        self.host = Some(Host::boot(&self.config, durable, last, &mut hands));
        self.last_request = RequestId(0);
        let deeds = hands.deeds;
        self.done(deeds)
    }

    /// Stops at once. Of what was not synced, the first `kept` records happen to be on the disk all the same.
    pub(crate) fn crash(&mut self, kept: usize) {
        self.host = None;
        self.timers.clear();
        self.write(kept);
        self.unsynced.clear();
    }

    /// The next `count` records come to be on the disk.
    fn write(&mut self, count: usize) {
        for record in self.unsynced.drain(..count) {
            // From here on it knows by itself.
            self.memory_lost &= !matches!(record, Record::Reborn { .. });
            self.records.push_back(record);
        }
    }

    /// Makes the application's state durable, as it is now.
    pub(crate) fn save(&mut self) {
        if let Some(replica) = self.host.as_ref().map(Host::state)
            && !replica.raft().needs_snapshot()
        {
            self.saved = replica.state().clone();
        }
    }

    /// A member that is down: what is on its log's disk is as it was in `older`, or it is empty. Whether the member is
    /// told is the world's affair, and so is what becomes of the application's state.
    pub(crate) fn replace_disk(&mut self, older: Option<Disk>, is_told: bool) {
        assert!(!self.is_up(), "the disk of {} is in use", self.id());
        let Disk { records, released } = older.unwrap_or_default();
        self.records = records;
        self.released = released;
        self.memory_lost = is_told;
    }

    /// A member that is down: the application's state is as it was when it was copied, or on the first day.
    pub(crate) fn replace_saved(&mut self, older: Option<State>) {
        assert!(!self.is_up(), "the state of {} is in use", self.id());
        self.saved = older.unwrap_or_default();
    }

    /// A copy of what is on its log's disk.
    pub(crate) fn copy_disk(&self) -> Disk {
        Disk { records: self.records.clone(), released: self.released }
    }

    /// Has the log compacted up to the application's durable state.
    pub(crate) fn compact(&mut self) -> Deeds {
        let request = Request::Compact(self.saved.snapshot.index);
        self.input(Input::Ask { id: NOBODY, request })
    }

    /// Makes a state durable that has arrived. Whether there is one.
    pub(crate) fn save_arrived(&mut self) -> bool {
        let arrived = self.replica().and_then(Replica::arrived);
        let is_there = arrived.is_some();
        self.saved = arrived.unwrap_or_else(|| self.saved.clone());
        is_there
    }

    /// Puts the state in place that has arrived and is durable.
    pub(crate) fn install(&mut self) -> Deeds {
        self.input(Input::Ask { id: NOBODY, request: Request::Install })
    }

    /// The application's state turns out to be of no use.
    pub(crate) fn damage(&mut self) -> Deeds {
        self.saved = State::default();
        self.input(Input::Ask { id: NOBODY, request: Request::Damage })
    }

    pub(crate) fn input(&mut self, input: Input<Replica>) -> Deeds {
        let mut hands =
            Hands { deeds: Deeds::default(), timers: &mut self.timers, choices: &mut self.choices };
        if let Some(host) = &mut self.host {
            host.step(&self.config, input, &mut hands);
        }
        let deeds = hands.deeds;
        self.done(deeds)
    }

    pub(crate) fn fire(&mut self, timer: Timer) -> Deeds {
        assert!(self.timers.remove(&timer).is_some(), "{}'s {timer:?} is not set", self.id());
        self.input(Input::Fire(timer))
    }

    /// Puts a request to it; returns the request's name as well.
    pub(crate) fn ask(&mut self, request: raft::Request) -> (RequestId, Deeds) {
        self.last_request.0 += 1;
        let id = self.last_request;
        (id, self.input(Input::Ask { id, request: Request::Raft(request) }))
    }

    /// The disk makes the next `count` records durable.
    pub(crate) fn sync(&mut self, count: usize) -> Deeds {
        self.write(count);
        let Some(host) = &mut self.host else { return Deeds::default() };
        let mut hands =
            Hands { deeds: Deeds::default(), timers: &mut self.timers, choices: &mut self.choices };
        host.synced(&self.config, host.durable() + count as u64, &mut hands);
        let deeds = hands.deeds;
        self.done(deeds)
    }

    fn done(&mut self, deeds: Deeds) -> Deeds {
        self.unsynced.extend(deeds.written.iter().cloned());
        if let Some(before) = deeds.released {
            let count = before.saturating_sub(self.released + 1) as usize;
            self.records.drain(..count);
            self.released += count as u64;
        }
        deeds
    }
}
