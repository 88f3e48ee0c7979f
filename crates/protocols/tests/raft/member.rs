//! One member of a cluster under test: its host, its disk, its timers.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Host, Input, NodeId, Protocol, RequestId, Visible, World};
use quorate_protocols::consensus::raft::{Config, Durable, Raft, Record, Request, Timer};

/// A member, up or down.
pub(crate) struct Member {
    pub(crate) config: Config,
    host: Option<Host<Raft>>,
    durable: Durable,
    /// The number of the last durable record.
    last_record: u64,
    unsynced: VecDeque<Record>,
    /// The timers that are set.
    timers: BTreeMap<Timer, Range<Duration>>,
    last_request: RequestId,
}

/// What a member did in one step.
#[derive(Default)]
pub(crate) struct Deeds {
    /// Messages and answers that left it.
    pub(crate) visible: Vec<Visible<Raft>>,
    /// Records that its disk has yet to sync.
    pub(crate) written: Vec<Record>,
    /// Timers that it set.
    pub(crate) armed: Vec<(Timer, Range<Duration>)>,
    /// The first record that it still needs, if it gave up those before.
    pub(crate) released: Option<u64>,
}

struct Hands<'a> {
    deeds: Deeds,
    timers: &'a mut BTreeMap<Timer, Range<Duration>>,
}

impl World<Raft> for Hands<'_> {
    fn persist(&mut self, record: Record) {
        self.deeds.written.push(record);
    }

    fn emit(&mut self, visible: Visible<Raft>) {
        self.deeds.visible.push(visible);
    }

    fn arm(&mut self, timer: Timer, after: Range<Duration>) {
        self.timers.insert(timer, after.clone());
        self.deeds.armed.push((timer, after));
    }

    fn disarm(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }

    fn choose(&mut self, _: u32) -> u32 {
        unreachable!("this protocol makes no choices")
    }

    fn release(&mut self, before: u64) {
        self.deeds.released = Some(before);
    }
}

impl Member {
    /// A member that has never started.
    pub(crate) fn new(config: Config) -> Self {
        Member {
            config,
            host: None,
            durable: Durable::default(),
            last_record: 0,
            unsynced: VecDeque::new(),
            timers: BTreeMap::new(),
            last_request: RequestId(0),
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.config.me
    }

    /// The state, if it is up.
    pub(crate) fn raft(&self) -> Option<&Raft> {
        self.host.as_ref().map(Host::state)
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

    pub(crate) fn boot(&mut self) -> Deeds {
        assert!(!self.is_up(), "{} is up already", self.id());
        let mut hands = Hands { deeds: Deeds::default(), timers: &mut self.timers };
        self.host =
            Some(Host::boot(&self.config, self.durable.clone(), self.last_record, &mut hands));
        self.last_request = RequestId(0);
        let deeds = hands.deeds;
        self.done(deeds)
    }

    /// Stops at once. Of what was not synced, the first `kept` records happen to be on the disk all the same.
    pub(crate) fn crash(&mut self, kept: usize) {
        self.host = None;
        self.timers.clear();
        for record in self.unsynced.drain(..).take(kept) {
            self.last_record += 1;
            Raft::fold(&mut self.durable, self.last_record, record);
        }
    }

    pub(crate) fn input(&mut self, input: Input<Raft>) -> Deeds {
        let mut hands = Hands { deeds: Deeds::default(), timers: &mut self.timers };
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
    pub(crate) fn ask(&mut self, request: Request) -> (RequestId, Deeds) {
        self.last_request.0 += 1;
        let id = self.last_request;
        (id, self.input(Input::Ask { id, request }))
    }

    /// The disk makes the next `count` records durable.
    pub(crate) fn sync(&mut self, count: usize) -> Deeds {
        let Some(host) = &mut self.host else { return Deeds::default() };
        for record in self.unsynced.drain(..count) {
            self.last_record += 1;
            Raft::fold(&mut self.durable, self.last_record, record);
        }
        let mut hands = Hands { deeds: Deeds::default(), timers: &mut self.timers };
        host.synced(&self.config, host.durable() + count as u64, &mut hands);
        let deeds = hands.deeds;
        self.done(deeds)
    }

    fn done(&mut self, deeds: Deeds) -> Deeds {
        self.unsynced.extend(deeds.written.iter().cloned());
        deeds
    }
}
