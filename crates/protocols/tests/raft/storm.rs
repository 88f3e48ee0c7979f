//! Storms: random schedules of every fault the model allows, then calm, in which everything must be resolved.
//!
//! A storm is a function of its seed. While it lasts, messages are lost, repeated and overtake each other, timers run
//! out when they please, disks lag, members crash and come back. After every step the `properties` must hold, and what
//! clients were told must be true. Then everything heals, time passes in order, and what is pending must be answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use quorate_core::{Input, Mutants, NodeId, RequestId, Visible};
use quorate_protocols::consensus::raft::properties::Properties;
use quorate_protocols::consensus::raft::{
    Change, Config, Index, MUTANTS, Message, Origin, Raft, Refusal, Request, Response, Standing,
    Timer,
};

use crate::dice::Dice;
use crate::member::{Deeds, Member};
use crate::scenarios::MUTANTS_TOLD;

/// The steps of one storm.
const STEPS: usize = 1500;
/// How long the calm may take to resolve everything: many election timeouts.
const CALM: Duration = Duration::from_secs(20);

/// How often what happens, each in a thousand; drawn anew for each storm.
struct Weather {
    lost: usize,
    repeated: usize,
    overtaking: usize,
    crash: usize,
    /// Crashes of members whose disk has work to do.
    crash_writing: usize,
    restart: usize,
    lagging_disk: usize,
    early_timer: usize,
    cut: usize,
    /// Elections that nobody needs.
    unrest: usize,
    /// Changes of who takes part, and disks that are lost.
    churn: usize,
    wipe: usize,
}

struct Letter {
    from: NodeId,
    to: NodeId,
    message: Message,
}

/// A request that was put to a member's run.
struct Asked {
    request: Request,
    /// The newest index that anybody was told is committed, when it was asked.
    acknowledged: Index,
}

/// What a storm saw; the tests demand that it wasn't vacuous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    committed: usize,
    readable: usize,
    unknown: usize,
    refused: usize,
    terms_led: usize,
    crashes: usize,
    changes: usize,
    wipes: usize,
    last: Index,
}

struct Storm {
    dice: Dice,
    weather: Weather,
    members: Vec<Member>,
    letters: Vec<Letter>,
    /// Pairs that don't hear each other, in this direction.
    cuts: BTreeSet<(NodeId, NodeId)>,
    now: Duration,
    deadlines: BTreeMap<(usize, Timer), Duration>,
    properties: Properties,
    asked: BTreeMap<(NodeId, u64, RequestId), Asked>,
    /// Proposals of which a member said that they didn't happen.
    refused: Vec<Origin>,
    acknowledged: Index,
    payload: u64,
    /// The member whose memory is not whole.
    damaged: Option<usize>,
    tally: Tally,
}

impl Storm {
    /// The first `size` are the group in the beginning; the `spare` ones wait to be taken in, if there are any.
    fn new(seed: u64, size: usize, spare: usize, mutants: Mutants) -> Self {
        let mut dice = Dice(seed);
        let weather = Weather {
            lost: [0, 10, 100, 300][dice.below(4)],
            repeated: [0, 20, 100][dice.below(3)],
            overtaking: [0, 100, 500][dice.below(3)],
            crash: [0, 2, 8, 30][dice.below(4)],
            crash_writing: [0, 0, 50, 200][dice.below(4)],
            restart: [30, 300][dice.below(2)],
            lagging_disk: [100, 500, 900][dice.below(3)],
            early_timer: [20, 80, 200][dice.below(3)],
            cut: [0, 4, 15][dice.below(3)],
            unrest: [0, 0, 30, 200][dice.below(4)],
            churn: if spare > 0 { [20, 60][dice.below(2)] } else { 0 },
            wipe: if spare > 0 { [0, 3, 20][dice.below(3)] } else { 0 },
        };
        let voters: Vec<NodeId> = (1..=size as u64).map(NodeId).collect();
        let size = size + spare;
        let members = (1..=size as u64).map(|me| {
            let mut config = Config::new(NodeId(me), voters.clone());
            config.mutants = mutants;
            config.append_bytes_max = [8, 64, 1 << 20][dice.below(3)];
            config.entries_in_flight_max = [2, 8, 1 << 14][dice.below(3)];
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
        Ok(())
    }

    fn observe(&mut self) -> Result<(), String> {
        let up: Vec<(NodeId, &Raft)> =
            self.members.iter().filter_map(|m| Some((m.id(), m.raft()?))).collect();
        self.properties.observe(&up)
    }

    fn judge(&mut self, at: usize, id: RequestId, response: Response) -> Result<(), String> {
        let member = &self.members[at];
        let node = member.id();
        let Some(boot) = member.raft().map(Raft::boot) else {
            return Err(format!("{node} answered while it was down"));
        };
        let origin = Origin { node, boot, request: id };
        let Some(asked) = self.asked.remove(&(node, boot, id)) else {
            return Err(format!("{node} answered {id} twice, or unasked"));
        };
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

    fn put(&mut self, at: usize, request: Request) -> Result<(), String> {
        let Some(boot) = self.members[at].raft().map(Raft::boot) else { return Ok(()) };
        let acknowledged = self.acknowledged;
        let (id, deeds) = self.members[at].ask(request.clone());
        self.asked.insert((self.members[at].id(), boot, id), Asked { request, acknowledged });
        self.took_step(at, deeds)
    }

    fn crash(&mut self, at: usize) -> Result<(), String> {
        let kept = self.dice.below(self.members[at].unsynced() + 1);
        self.members[at].crash(kept);
        self.deadlines.retain(|(member, _), _| *member != at);
        let id = self.members[at].id();
        // Nobody is left to answer.
        self.asked.retain(|(node, _, _), _| *node != id);
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

    /// Some change of who takes part, whether it makes sense or not. Three voters are left, so that one may be lost.
    fn churn(&mut self, at: usize) -> Result<(), String> {
        let Some(raft) = self.members[at].raft() else { return Ok(()) };
        let voters = raft.membership().voters();
        let learners: Vec<NodeId> =
            raft.membership().nodes().into_iter().filter(|node| !voters.contains(node)).collect();
        let strange: Vec<NodeId> =
            self.members.iter().map(Member::id).filter(|id| !voters.contains(id)).collect();
        let may_lose = voters.len() > 3;
        let mut changes = Vec::new();
        let pick = |dice: &mut Dice, of: &[NodeId]| of.get(dice.below(of.len().max(1))).copied();
        let voters: Vec<NodeId> = voters.into_iter().collect();
        if let Some(node) = pick(&mut self.dice, &learners) {
            changes.push(Change::Promote { node });
        }
        if let Some(node) = pick(&mut self.dice, &voters)
            && (may_lose || !changes.is_empty())
            && self.dice.chance(500)
        {
            let is_demoted = self.dice.chance(300);
            changes.push(if is_demoted {
                Change::Demote { node }
            } else {
                Change::Remove { node }
            });
        }
        if let Some(node) = pick(&mut self.dice, &strange)
            && self.dice.chance(500)
        {
            let context = Bytes::from_static(b"spare");
            changes = vec![Change::AddLearner { node, context }];
        }
        let change = if changes.len() == 1 { changes.remove(0) } else { Change::All(changes) };
        self.put(at, Request::ChangeMembership(change))
    }

    /// A member that all agree on loses its disk, unless another has not got over that yet.
    fn wipe(&mut self, at: usize) -> Result<(), String> {
        if self.damaged.is_some_and(|at| !self.is_whole(at)) {
            return Ok(());
        }
        self.crash(at)?;
        self.members[at].replace_disk(None, true);
        self.damaged = Some(at);
        self.tally.wipes += 1;
        Ok(())
    }

    /// Whether the newest membership that anybody knows to be committed names the member as it is, or not at all.
    fn is_whole(&self, at: usize) -> bool {
        let Some(raft) = self.members[at].raft() else { return false };
        let rafts = self.members.iter().filter_map(Member::raft);
        let newest = rafts.max_by_key(|raft| raft.commit());
        let membership = newest.map(|raft| raft.committed_membership());
        let member = membership.and_then(|membership| membership.get(self.members[at].id()));
        member.is_none_or(|m| m.life == raft.life() && m.standing != Standing::Recovering)
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
            return self.fire(at, Timer::Flush);
        }
        if armed.is_empty() {
            return Ok(());
        }
        let timer = armed[self.dice.below(armed.len())];
        let is_due = self.deadlines.get(&(at, timer)).is_some_and(|due| *due <= self.now);
        if is_due || self.dice.chance(self.weather.early_timer) {
            self.fire(at, timer)
        } else {
            Ok(())
        }
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

    /// Nothing fails any more, and time passes in order, until it comes to `end`.
    fn calm(&mut self, end: Duration) -> Result<(), String> {
        while self.now < end {
            if let Some(at) = (0..self.members.len()).find(|at| self.members[*at].unsynced() > 0) {
                self.sync(at, self.members[at].unsynced())?;
            } else if let Some(at) =
                (0..self.members.len()).find(|at| self.members[*at].is_armed(Timer::Flush))
            {
                self.fire(at, Timer::Flush)?;
            } else if !self.letters.is_empty() {
                let letter = self.letters.remove(0);
                self.deliver(letter)?;
            } else if let Some((&(at, timer), &due)) =
                self.deadlines.iter().min_by_key(|(_, due)| **due)
            {
                self.now = self.now.max(due);
                self.fire(at, timer)?;
            } else {
                return Err("no timer is set anywhere: nothing will ever happen again".into());
            }
        }
        Ok(())
    }

    fn heal(&mut self) {
        self.cuts.clear();
        for at in 0..self.members.len() {
            if !self.members[at].is_up() {
                self.boot(at);
            }
        }
    }

    /// After the storm: everything is resolved, one leads, and all hold and know the same.
    fn settles(&mut self) -> Result<(), String> {
        self.heal();
        self.calm(self.now + CALM)?;
        self.all_resolved("after the storm")?;
        // The cluster works as if nothing had been.
        let committed = self.tally.committed;
        let inside = self.inside();
        for at in inside.iter().copied() {
            self.ask(at, false)?;
            self.ask(at, true)?;
        }
        self.calm(self.now + Duration::from_secs(1))?;
        self.all_resolved("in the calm")?;
        if self.tally.committed != committed + inside.len() {
            return Err("liveness: a proposal failed in the calm".into());
        }
        let leaders: Vec<NodeId> = self
            .members
            .iter()
            .filter(|m| m.raft().is_some_and(Raft::is_leader))
            .map(Member::id)
            .collect();
        if leaders.len() != 1 {
            return Err(format!("liveness: {leaders:?} lead in the calm"));
        }
        let last = self.properties.commit();
        for member in inside.iter().map(|at| &self.members[*at]) {
            if member
                .raft()
                .is_none_or(|raft| raft.commit() != last || raft.log().last_index() != last)
            {
                return Err(format!("liveness: {} lags behind {last} in the calm", member.id()));
            }
        }
        Ok(())
    }

    /// The members that take part in the end, all of them whole.
    fn inside(&self) -> Vec<usize> {
        let rafts = self.members.iter().filter_map(Member::raft);
        let newest = rafts.max_by_key(|raft| raft.commit());
        let Some(membership) = newest.map(|raft| raft.committed_membership()) else {
            return Vec::new();
        };
        (0..self.members.len())
            .filter(|at| membership.get(self.members[*at].id()).is_some())
            .collect()
    }

    fn all_resolved(&mut self, when: &str) -> Result<(), String> {
        // Who takes no part may wait for ever.
        let inside: Vec<NodeId> =
            self.inside().into_iter().map(|at| self.members[at].id()).collect();
        self.asked.retain(|(node, _, _), _| inside.contains(node));
        if let Some(at) = self.damaged.filter(|at| !self.is_whole(*at)) {
            return Err(format!("liveness: {} was not taken in again", self.members[at].id()));
        }
        match self.asked.first_key_value() {
            Some(((node, _, id), _)) => Err(format!(
                "liveness: {} requests, {id} of {node} first, are unanswered {when}",
                self.asked.len()
            )),
            None => Ok(()),
        }
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
    let sum = ride_all(0..300, 3, 0);
    assert!(sum.committed > 3000 && sum.readable > 1000, "hardly anything happened: {sum:?}");
    assert!(sum.unknown > 0 && sum.refused > 0, "nothing was ever given up: {sum:?}");
    assert!(sum.crashes > 300 && sum.terms_led > 600, "it was hardly a storm: {sum:?}");
}

#[test]
fn five_members_keep_every_promise_through_storms() {
    let sum = ride_all(0..200, 5, 0);
    assert!(sum.committed > 2000 && sum.readable > 700, "hardly anything happened: {sum:?}");
    assert!(sum.crashes > 200 && sum.terms_led > 300, "it was hardly a storm: {sum:?}");
}

#[test]
fn members_that_come_and_go_and_lose_their_disks_keep_every_promise() {
    let sum = ride_all(0..300, 3, 2);
    println!("{sum:?}");
    assert!(sum.committed > 2000 && sum.readable > 700, "hardly anything happened: {sum:?}");
    assert!(sum.changes > 300 && sum.wipes > 100, "it was hardly a storm: {sum:?}");
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
const SEEDS_TO_FIND_A_MUTANT: u64 = 300;

#[test]
fn every_mutant_without_a_scenario_breaks_a_promise_in_some_storm() {
    let mut missed = Vec::new();
    let told = |mutant: &str| MUTANTS_TOLD.iter().any(|(name, _)| *name == mutant);
    for mutant in MUTANTS.iter().filter(|mutant| !told(mutant)) {
        let found = (0..SEEDS_TO_FIND_A_MUTANT).find_map(|seed| {
            let size = if seed % 2 == 0 { 3 } else { 5 };
            // An assertion of the protocol's own that fails is a bug found as well.
            match std::panic::catch_unwind(|| ride(seed, size, 0, Mutants::only(mutant))) {
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
