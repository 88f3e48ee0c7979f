//! Storms: random schedules of every fault the model allows, then calm, in which everything must be resolved.
//!
//! A storm is a function of its seed. While it lasts, messages are lost, repeated and overtake each other, timers run
//! out when they please, disks lag, members crash and come back, logs are compacted and states are lost. After every
//! step the `properties` must hold, members that have applied as much must have come to the same state, and what clients
//! were told must be true. Then comes the `calm`.

mod calm;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{Input, Mutants, NodeId, RequestId, Visible};
use quorate_protocols::consensus::raft::properties::Properties;
use quorate_protocols::consensus::raft::{
    Config, Index, Lease, MUTANTS, Message, Origin, Raft, Refusal, Request, Response, Timer,
};

use crate::dice::Dice;
use crate::lease;
use crate::member::{Deeds, Member};
use crate::replica::{Replica, State};
use crate::scenarios::MUTANTS_TOLD;
use crate::weather::Weather;

/// The steps of one storm.
const STEPS: usize = 1500;

struct Letter {
    from: NodeId,
    to: NodeId,
    message: Message,
}

/// A request that was put to a member's run.
struct Asked {
    request: Request,
    /// The run.
    boot: u64,
    /// The newest index that anybody was told is committed, when it was asked.
    acknowledged: Index,
}

/// What a storm saw; the tests demand that it wasn't vacuous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    committed: usize,
    readable: usize,
    unknown: usize,
    refused: usize,
    terms_led: usize,
    crashes: usize,
    compacted: usize,
    installed: usize,
    changes: usize,
    pub(crate) wipes: usize,
    last: Index,
}

pub(crate) struct Storm {
    pub(crate) dice: Dice,
    weather: Weather,
    pub(crate) members: Vec<Member>,
    letters: Vec<Letter>,
    /// Pairs that don't hear each other, in this direction.
    cuts: BTreeSet<(NodeId, NodeId)>,
    now: Duration,
    deadlines: BTreeMap<(usize, Timer), Duration>,
    properties: Properties,
    /// What the entries up to an index come to.
    digests: BTreeMap<Index, u64>,
    asked: BTreeMap<(NodeId, RequestId), Asked>,
    /// Proposals of which a member said that they didn't happen.
    refused: Vec<Origin>,
    acknowledged: Index,
    payload: u64,
    /// The member whose memory is not whole.
    pub(crate) damaged: Option<usize>,
    pub(crate) tally: Tally,
}

impl Storm {
    /// The first `size` are the group in the beginning; the `spare` ones wait to be taken in, if there are any.
    fn new(seed: u64, size: usize, spare: usize, mutants: Mutants) -> Self {
        let mut dice = Dice(seed);
        let weather = Weather::draw(&mut dice, spare > 0);
        let voters: Vec<NodeId> = (1..=size as u64).map(NodeId).collect();
        let size = size + spare;
        let members = (1..=size as u64).map(|me| {
            let mut config = Config::new(NodeId(me), voters.clone());
            config.mutants = mutants;
            config.append_bytes_max = [8, 64, 1 << 20][dice.below(3)];
            config.entries_in_flight_max = [2, 8, 1 << 14][dice.below(3)];
            config.entries_kept = [0, 0, 3, 1000][dice.below(4)];
            // Clocks are perfect here: what they may be off by is measured in `lease`.
            config.lease = (seed % 4 == 3).then_some(Lease { drift_ppm: 0 });
            config.chunk_bytes_in_flight_max = [1, 4, 1 << 20][dice.below(3)];
            // Patience enough to see everything through, or so little that requests are given up.
            config.request_timeout = Duration::from_secs([1000, 1000, 2][dice.below(3)]);
            Member::new(config)
        });
        let members = members.collect();
        let mut storm = Storm {
            dice,
            weather,
            members,
            letters: Vec::new(),
            cuts: BTreeSet::new(),
            now: Duration::ZERO,
            deadlines: BTreeMap::new(),
            properties: Properties::default(),
            digests: BTreeMap::new(),
            asked: BTreeMap::new(),
            refused: Vec::new(),
            acknowledged: Index(0),
            payload: 0,
            damaged: None,
            tally: Tally::default(),
        };
        for at in 0..size {
            let deeds = storm.members[at].boot();
            storm.note_unanswerable(at, deeds);
        }
        storm
    }

    /// A boot answers nobody, so nothing can be wrong with its answers.
    fn note_unanswerable(&mut self, at: usize, deeds: Deeds) {
        assert!(deeds.visible.is_empty(), "a member spoke before its boot was durable");
        self.set_timers(at, deeds.armed);
    }

    fn set_timers(&mut self, at: usize, armed: Vec<(Timer, std::ops::Range<Duration>)>) {
        let member = &self.members[at];
        self.deadlines.retain(|(of, timer), _| *of != at || member.is_armed(*timer));
        for (timer, after) in armed {
            let spread = (after.end.saturating_sub(after.start)).as_micros() as u64;
            let extra = if spread == 0 { 0 } else { self.dice.roll() % spread };
            let due = self.now + after.start + Duration::from_micros(extra);
            self.deadlines.insert((at, timer), due);
        }
    }

    /// Carries out what a member did, and checks all promises.
    fn took_step(&mut self, at: usize, deeds: Deeds) -> Result<(), String> {
        let from = self.members[at].id();
        self.set_timers(at, deeds.armed);
        // What the member knows to be committed must be on record before its answers are judged.
        self.observe()?;
        for visible in deeds.visible {
            match visible {
                Visible::Send { to, message } => self.letters.push(Letter { from, to, message }),
                Visible::Reply { id, response } => self.judge(at, id, response)?,
            }
        }
        self.same_state(at)?;
        self.install(at)
    }

    /// State machine safety, as it shows in the states.
    fn same_state(&mut self, at: usize) -> Result<(), String> {
        let Some(State { snapshot, digest }) = self.members[at].replica().map(Replica::state)
        else {
            return Ok(());
        };
        let index = snapshot.index;
        if index > Index(0) && *self.digests.entry(index).or_insert(*digest) != *digest {
            let node = self.members[at].id();
            return Err(format!("state machine safety: {node} has another state at {index}"));
        }
        Ok(())
    }

    /// A state that has arrived is made durable, and put in place unless the member crashes in between.
    fn install(&mut self, at: usize) -> Result<(), String> {
        if !self.members[at].save_arrived() {
            return Ok(());
        }
        self.tally.installed += 1;
        if self.dice.chance(5 * self.weather.crash) {
            return self.crash(at);
        }
        let deeds = self.members[at].install();
        self.took_step(at, deeds)
    }

    fn observe(&mut self) -> Result<(), String> {
        let up: Vec<(NodeId, &Raft)> =
            self.members.iter().filter_map(|m| Some((m.id(), m.raft()?))).collect();
        self.properties.observe(&up)
    }

    fn judge(&mut self, at: usize, id: RequestId, response: Response) -> Result<(), String> {
        let member = &self.members[at];
        let node = member.id();
        if !member.is_up() {
            return Err(format!("{node} answered while it was down"));
        }
        let Some(asked) = self.asked.remove(&(node, id)) else {
            return Err(format!("{node} answered {id} twice, or unasked"));
        };
        let origin = Origin { node, boot: asked.boot, request: id };
        match (asked.request, response) {
            (Request::Propose(_), Response::Committed(index)) => {
                if self.properties.committed(index).and_then(|entry| entry.origin) != Some(origin) {
                    return Err(format!("{node} said that {id} is at {index}, which it is not"));
                }
                self.acknowledged = self.acknowledged.max(index);
                self.tally.committed += 1;
            }
            (Request::Read, Response::Readable(index)) => {
                if index < asked.acknowledged {
                    return Err(format!(
                        "linearizable reads: {node} let {id} read at {index}, though {} was \
                         acknowledged before",
                        asked.acknowledged
                    ));
                }
                self.tally.readable += 1;
            }
            (Request::Propose(_), Response::Unknown) => self.tally.unknown += 1,
            (Request::Propose(_), Response::Refused(Refusal::NoLeader)) => {
                self.refused.push(origin);
                self.tally.refused += 1;
            }
            (Request::Read, Response::Refused(Refusal::NoLeader))
            | (Request::Transfer(_), Response::Refused(Refusal::NotLeader { .. })) => {
                self.tally.refused += 1;
            }
            (Request::Transfer(_), Response::Transferring) => {}
            (Request::ChangeMembership(_), Response::Changed(index)) => {
                if self.properties.committed(index).is_none_or(|entry| entry.membership.is_none()) {
                    return Err(format!("{node} said that {id} is at {index}, which it is not"));
                }
                self.tally.changes += 1;
            }
            (Request::Transfer(_), Response::Refused(Refusal::NoSuchMember))
            | (Request::ChangeMembership(_), Response::Refused(_) | Response::Unknown) => {}
            (request, _) => {
                return Err(format!("{node} answered {request:?} with {response:?}"));
            }
        }
        Ok(())
    }

    fn refusals_hold(&self) -> Result<(), String> {
        match self.refused.iter().find(|origin| self.properties.is_committed(origin)) {
            Some(origin) => {
                Err(format!("{} refused {}, and it happened", origin.node, origin.request))
            }
            None => Ok(()),
        }
    }

    fn fire(&mut self, at: usize, timer: Timer) -> Result<(), String> {
        self.deadlines.remove(&(at, timer));
        let deeds = self.members[at].fire(timer);
        self.took_step(at, deeds)
    }

    fn sync(&mut self, at: usize, count: usize) -> Result<(), String> {
        let deeds = self.members[at].sync(count);
        self.took_step(at, deeds)
    }

    fn deliver(&mut self, letter: Letter) -> Result<(), String> {
        let at = letter.to.0 as usize - 1;
        if self.cuts.contains(&(letter.from, letter.to)) || !self.members[at].is_up() {
            return Ok(());
        }
        let deeds =
            self.members[at].input(Input::Deliver { from: letter.from, message: letter.message });
        self.took_step(at, deeds)
    }

    fn ask(&mut self, at: usize, is_read: bool) -> Result<(), String> {
        self.payload += 1;
        let request = if is_read {
            Request::Read
        } else {
            Request::Propose(Bytes::from(format!(
                "{:>width$}",
                self.payload,
                width = 1 + (self.payload % 9) as usize
            )))
        };
        self.put(at, request)
    }

    pub(crate) fn put(&mut self, at: usize, request: Request) -> Result<(), String> {
        let Some(boot) = self.members[at].raft().map(Raft::boot) else { return Ok(()) };
        let acknowledged = self.acknowledged;
        let (id, deeds) = self.members[at].ask(request.clone());
        self.asked.insert((self.members[at].id(), id), Asked { request, boot, acknowledged });
        self.took_step(at, deeds)
    }

    pub(crate) fn crash(&mut self, at: usize) -> Result<(), String> {
        let kept = self.dice.below(self.members[at].unsynced() + 1);
        self.members[at].crash(kept);
        self.deadlines.retain(|(member, _), _| *member != at);
        let id = self.members[at].id();
        // Nobody is left to answer.
        self.asked.retain(|(node, _), _| *node != id);
        self.tally.crashes += 1;
        self.observe()
    }

    fn boot(&mut self, at: usize) {
        let deeds = self.members[at].boot();
        self.note_unanswerable(at, deeds);
    }

    /// One step of the storm.
    fn blow(&mut self) -> Result<(), String> {
        self.now += Duration::from_millis(1);
        let at = self.dice.below(self.members.len());
        if !self.members[at].is_up() {
            if self.dice.chance(self.weather.restart) {
                self.boot(at);
            }
            return Ok(());
        }
        let is_writing = self.members[at].unsynced() > 0;
        if self.dice.chance(self.weather.crash)
            || (is_writing && self.dice.chance(self.weather.crash_writing))
        {
            return self.crash(at);
        }
        if self.dice.chance(self.weather.cut) {
            self.change_cuts();
        }
        if self.dice.chance(self.weather.saved) {
            self.members[at].save();
        }
        if self.dice.chance(self.weather.compacted) {
            return self.compact(at);
        }
        if self.dice.chance(self.weather.damaged) && self.all_are_well() {
            let deeds = self.members[at].damage();
            return self.took_step(at, deeds);
        }
        let is_slow = self.dice.chance(self.weather.lagging_disk);
        if is_writing && !is_slow {
            let count = 1 + self.dice.below(self.members[at].unsynced());
            self.sync(at, count)?;
        }
        if self.dice.chance(self.weather.unrest) && self.members[at].is_armed(Timer::Election) {
            return self.fire(at, Timer::Election);
        }
        if self.dice.chance(self.weather.churn) {
            return self.churn(at);
        }
        if self.dice.chance(self.weather.wipe) {
            return self.wipe(at);
        }
        match self.dice.below(1000) {
            0..40 => self.ask(at, false),
            40..60 => self.ask(at, true),
            60..64 => self.hint(at),
            64..300 => self.some_timer(at),
            _ => self.some_letter(),
        }
    }

    fn compact(&mut self, at: usize) -> Result<(), String> {
        let first = |member: &Member| member.raft().map(|raft| raft.log().first_index());
        let before = first(&self.members[at]);
        let deeds = self.members[at].compact();
        self.tally.compacted += usize::from(first(&self.members[at]) > before);
        self.took_step(at, deeds)
    }

    /// Whether every member is up and has a state of use, and nobody's memory is not whole: one may lose something then.
    pub(crate) fn all_are_well(&self) -> bool {
        self.members.len() > 1
            && self.damaged.is_none_or(|at| self.is_whole_to_all(at))
            && self.members.iter().all(|m| m.raft().is_some_and(|raft| !raft.needs_snapshot()))
    }

    fn change_cuts(&mut self) {
        if self.dice.chance(400) {
            self.cuts.clear();
            return;
        }
        let size = self.members.len();
        let alone = NodeId(1 + self.dice.below(size) as u64);
        let both_ways = self.dice.chance(700);
        for peer in (1..=size as u64).map(NodeId).filter(|peer| *peer != alone) {
            self.cuts.insert((alone, peer));
            if both_ways {
                self.cuts.insert((peer, alone));
            }
        }
    }

    fn hint(&mut self, at: usize) -> Result<(), String> {
        let peer = NodeId(1 + self.dice.below(self.members.len()) as u64);
        if peer == self.members[at].id() {
            let to = NodeId(1 + self.dice.below(self.members.len()) as u64);
            return self.put(at, Request::Transfer(to));
        }
        let deeds = self.members[at].input(Input::Lost { peer });
        self.took_step(at, deeds)
    }

    fn some_timer(&mut self, at: usize) -> Result<(), String> {
        let armed: Vec<Timer> = self.members[at].armed().collect();
        if armed.contains(&Timer::Flush) {
            // As in every world: timers that are due fire before the end of a batch.
            for timer in armed.into_iter().filter(|timer| matches!(timer, Timer::Lease(_))) {
                if self.deadlines.get(&(at, timer)).is_some_and(|due| *due <= self.now) {
                    self.fire(at, timer)?;
                }
            }
            return self.fire(at, Timer::Flush);
        }
        if armed.is_empty() {
            return Ok(());
        }
        let timer = armed[self.dice.below(armed.len())];
        let is_due = self.deadlines.get(&(at, timer)).is_some_and(|due| *due <= self.now);
        // Nothing may rest on any timer's taking its time, but for what a lease rests on.
        let is_early = self.dice.chance(self.weather.early_timer) && timer != Timer::Promise;
        if is_due || is_early { self.fire(at, timer) } else { Ok(()) }
    }

    fn some_letter(&mut self) -> Result<(), String> {
        if self.letters.is_empty() {
            return Ok(());
        }
        let overtakes = self.dice.chance(self.weather.overtaking);
        let at = if overtakes { self.dice.below(self.letters.len()) } else { 0 };
        let letter = self.letters.remove(at);
        if self.dice.chance(self.weather.lost) {
            return Ok(());
        }
        if self.dice.chance(self.weather.repeated) {
            let Letter { from, to, message } = &letter;
            self.letters.push(Letter { from: *from, to: *to, message: message.clone() });
        }
        self.deliver(letter)
    }
}

fn ride(seed: u64, size: usize, spare: usize, mutants: Mutants) -> Result<Tally, String> {
    let mut storm = Storm::new(seed, size, spare, mutants);
    for _ in 0..STEPS {
        storm.blow()?;
    }
    storm.settles()?;
    storm.refusals_hold()?;
    storm.tally.terms_led = storm.properties.terms_led();
    storm.tally.last = storm.properties.commit();
    Ok(storm.tally)
}

fn ride_all(seeds: std::ops::Range<u64>, size: usize, spare: usize) -> Tally {
    let mut sum = Tally::default();
    for seed in seeds {
        match ride(seed, size, spare, Mutants::NONE) {
            Ok(tally) => {
                sum.committed += tally.committed;
                sum.readable += tally.readable;
                sum.unknown += tally.unknown;
                sum.refused += tally.refused;
                sum.terms_led += tally.terms_led;
                sum.crashes += tally.crashes;
                sum.compacted += tally.compacted;
                sum.installed += tally.installed;
                sum.changes += tally.changes;
                sum.wipes += tally.wipes;
            }
            Err(broken) => panic!("{size} members, seed {seed}: {broken}"),
        }
    }
    sum
}

#[test]
fn three_members_keep_every_promise_through_storms() {
    let sum = ride_all(0..350, 3, 0);
    assert!(sum.committed > 3000 && sum.readable > 1000, "hardly anything happened: {sum:?}");
    assert!(sum.unknown > 0 && sum.refused > 0, "nothing was ever given up: {sum:?}");
    assert!(sum.crashes > 300 && sum.terms_led > 600, "it was hardly a storm: {sum:?}");
    assert!(sum.compacted > 400 && sum.installed > 80, "no log was ever behind: {sum:?}");
}

#[test]
fn five_members_keep_every_promise_through_storms() {
    let sum = ride_all(0..200, 5, 0);
    assert!(sum.committed > 2000 && sum.readable > 700, "hardly anything happened: {sum:?}");
    assert!(sum.crashes > 200 && sum.terms_led > 250, "it was hardly a storm: {sum:?}");
}

#[test]
fn members_that_come_and_go_and_lose_their_disks_keep_every_promise() {
    let sum = ride_all(0..300, 3, 2);
    assert!(sum.committed > 2000 && sum.readable > 700, "hardly anything happened: {sum:?}");
    assert!(sum.changes > 100 && sum.wipes > 100, "it was hardly a storm: {sum:?}");
}

#[test]
fn one_member_alone_keeps_every_promise() {
    ride_all(0..50, 1, 0);
}

#[test]
fn the_same_seed_gives_the_same_storm() {
    for seed in 0..5 {
        for spare in [0, 2] {
            let ride = || ride(seed, 3, spare, Mutants::NONE);
            assert_eq!(ride(), ride());
        }
    }
}

/// The seeds within which storms must find each bug.
const SEEDS_TO_FIND_A_MUTANT: u64 = 450;

#[test]
fn every_mutant_without_a_scenario_breaks_a_promise_in_some_storm() {
    let mut missed = Vec::new();
    let told = |mutant: &str| {
        MUTANTS_TOLD.iter().any(|(name, _)| *name == mutant) || mutant == lease::MUTANT_MEASURED
    };
    for mutant in MUTANTS.iter().filter(|mutant| !told(mutant)) {
        let found = (0..SEEDS_TO_FIND_A_MUTANT).find_map(|seed| {
            let (size, spare) = [(3, 0), (5, 0), (3, 2)][(seed % 3) as usize];
            // An assertion of the protocol's own that fails is a bug found as well.
            match std::panic::catch_unwind(|| ride(seed, size, spare, Mutants::only(mutant))) {
                Ok(Ok(_)) => None,
                Ok(Err(broken)) => Some((seed, broken)),
                Err(panic) => Some((seed, format!("panic: {:?}", panic.downcast_ref::<String>()))),
            }
        });
        match found {
            Some((seed, broken)) => println!("{mutant}: seed {seed}: {broken}"),
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "no storm of {SEEDS_TO_FIND_A_MUTANT} caught {missed:?}");
}
