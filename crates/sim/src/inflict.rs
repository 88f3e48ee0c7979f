//! What faults do to a running simulation, and how they end.

use std::time::Duration;

use quorate_core::{NodeId, Protocol};

use crate::disk::{DiskFault, DiskMix, SimDisk};
use crate::faults::{Fault, Scheduled};
use crate::node::Event;
use crate::rng::Ppm;
use crate::simulation::Simulation;
use crate::time::Time;
use crate::workload::Workload;

/// How likely a crash loses what is on its way between the dead node and each other: half of the time the network
/// still has it, half of the time it lay in the dead node's own buffers.
const CRASH_RESETS: Ppm = Ppm::percent(50);

/// How long a crash waits at the most for the write that it is to strike.
const AMBUSH_WAITS: Duration = Duration::from_secs(1);

fn place_of(node: NodeId) -> usize {
    node.0 as usize - 1
}

impl<P, D, W> Simulation<P, D, W>
where
    P: Protocol,
    P::Message: Clone,
    D: SimDisk<P>,
    W: Workload<P>,
{
    /// A fault begins: one of the schedule, or one that the workload inflicts.
    pub(crate) fn strike(&mut self, fault: u32) {
        if self.shared.is_healed {
            return;
        }
        let scheduled = self.shared.faults[fault as usize].clone();
        self.shared.digest.add(u64::from(scheduled.index));
        self.shared.log(|log| log.fault_begins(scheduled.index, &scheduled.fault.to_string()));
        let now = self.shared.now;
        match scheduled.fault {
            Fault::Crash { node, down, mid_write: false } => self.crash(place_of(node), down),
            Fault::Crash { node, down, mid_write: true } => {
                self.processes[place_of(node)].ambush = Some((now + AMBUSH_WAITS, down));
            }
            Fault::Blackout { down } => {
                for place in 0..self.hosts.len() {
                    let down = self.shared.rng.duration(&(Duration::ZERO..down));
                    self.crash(place, down);
                }
            }
            Fault::Pause { node, lasts } => self.pause(place_of(node), lasts),
            Fault::Slow { node, lasts, turn } => {
                let process = &mut self.processes[place_of(node)];
                process.slow_until = now + lasts;
                process.slow_turn = turn;
                self.shared.counters.slow_spells += 1;
            }
            Fault::Partition { side, lasts } => {
                self.shared.counters.partitions += 1;
                self.each_across(&side, true, |simulation, a, b| simulation.cut(a, b));
                self.cease_after(fault, lasts);
            }
            Fault::OneWay { unheard, lasts } => {
                self.shared.counters.one_way_partitions += 1;
                self.each_across(&unheard, false, |simulation, a, b| simulation.cut(a, b));
                self.cease_after(fault, lasts);
            }
            Fault::Flap { lasts, .. } => self.flap(fault, true, now + lasts),
            Fault::Loss { loss, lasts } => {
                self.shared.counters.loss_spells += 1;
                self.shared.network.begin_loss(fault, loss);
                self.cease_after(fault, lasts);
            }
            Fault::Clog { extra, lasts } => {
                self.shared.counters.clogs += 1;
                self.shared.network.begin_clog(fault, extra);
                self.cease_after(fault, lasts);
            }
            Fault::Reset { ends: (a, b) } => {
                self.shared.counters.resets += 1;
                self.shared.network.reset(place_of(a), place_of(b));
                self.hint(place_of(a), b);
                self.hint(place_of(b), a);
            }
            Fault::FalseAlarm { node, peer } => self.tell(place_of(node), peer),
            Fault::Stall { node, lasts } => {
                self.processes[place_of(node)].stalled_until = now + lasts;
                self.shared.counters.stalls += 1;
            }
            Fault::FailSync { node, down } => {
                self.processes[place_of(node)].down_after_failure = down;
                self.afflict(node, DiskFault::FailSync);
            }
            Fault::BadReads { node, times, down } => {
                self.afflict(node, DiskFault::FailReads { times });
                self.crash(place_of(node), down);
            }
            Fault::FullDisk { node, lasts } => {
                self.shared.counters.full_spells += 1;
                self.afflict(node, DiskFault::Fill);
                self.cease_after(fault, lasts);
            }
            Fault::ClockJump { node, is_ahead, by } => {
                self.shared.counters.clock_jumps += 1;
                self.processes[place_of(node)].jump(is_ahead, by, &mut self.shared);
            }
            Fault::Ruin { node, ruin, after, down } => self.ruin(node, ruin, after, down),
            Fault::ChangeVersion { node, to, down } => {
                self.change_version(place_of(node), to, down);
            }
        }
    }

    /// A fault that lasts has lasted.
    pub(crate) fn cease(&mut self, fault: u32) {
        if self.shared.is_healed {
            return;
        }
        let index = self.shared.faults[fault as usize].index;
        self.shared.log(|log| log.fault_ends(index));
        let mend = |simulation: &mut Self, a, b| simulation.shared.network.mend(a, b);
        match self.shared.faults[fault as usize].fault.clone() {
            Fault::Partition { side, .. } => self.each_across(&side, true, mend),
            Fault::OneWay { unheard, .. } => self.each_across(&unheard, false, mend),
            Fault::FullDisk { node, .. } => self.afflict(node, DiskFault::MakeRoom),
            _ => self.shared.network.end_spell(fault),
        }
    }

    /// A flapping link changes: it is cut if `is_cut`, and else mended.
    pub(crate) fn flap(&mut self, fault: u32, is_cut: bool, until: Time) {
        if self.shared.is_healed {
            return;
        }
        let Fault::Flap { ends: (a, b), period, .. } = self.shared.faults[fault as usize].fault
        else {
            unreachable!("only a flap flaps")
        };
        let (a, b) = (place_of(a), place_of(b));
        if is_cut {
            self.shared.counters.flaps += 1;
            self.cut(a, b);
            self.cut(b, a);
        } else {
            self.shared.network.mend(a, b);
            self.shared.network.mend(b, a);
        }
        let next = self.shared.now + period;
        if !is_cut && next >= until {
            let index = self.shared.faults[fault as usize].index;
            self.shared.log(|log| log.fault_ends(index));
        }
        if is_cut || next < until {
            let flap = Event::Flap { fault, is_cut: !is_cut, until };
            self.shared.queue.schedule(next, flap);
        }
    }

    /// Stops a node. Its disk keeps what it must, and the node boots again after a time.
    pub(crate) fn crash(&mut self, place: usize, down: Duration) {
        let Some(host) = self.hosts[place].take() else { return };
        let shared = &mut self.shared;
        shared.counters.crashes += 1;
        shared.counters.crashes_mid_write += u64::from(host.persisted() > host.durable());
        let damage = self.disks[place].crash(&mut shared.rng);
        shared.counters.torn += u64::from(damage.is_torn);
        shared.counters.records_lost += damage.records_lost;
        shared.digest.add(damage.records_lost ^ 7 << 32);
        let process = &mut self.processes[place];
        let id = process.id();
        let orphans = process.crash();
        shared.counters.orphaned += orphans.len() as u64;
        let boot = Event::Boot { node: process.place, boot: process.boot };
        shared.queue.schedule(shared.now + down, boot);
        for other in (0..self.hosts.len()).filter(|other| *other != place) {
            if self.shared.rng.happens(CRASH_RESETS) {
                self.shared.network.reset(place, other);
            }
            self.hint(other, id);
        }
        let lost = damage.records_lost;
        self.shared.log(|log| log.crash(id, Some(down), lost));
        self.clients(|workload, clients| workload.crashed(id, &orphans, clients));
    }

    fn pause(&mut self, place: usize, lasts: Duration) {
        let process = &mut self.processes[place];
        if !process.is_up {
            return;
        }
        self.shared.counters.pauses += 1;
        self.shared.log(|log| log.pause(process.id(), Some(lasts)));
        let until = self.shared.now + lasts;
        process.paused_until = process.paused_until.max(until);
        let resume = Event::Resume { node: process.place, boot: process.boot };
        self.shared.queue.schedule(process.paused_until, resume);
    }

    /// A pause may be over.
    pub(crate) fn resume(&mut self, place: usize) {
        let process = &mut self.processes[place];
        if process.paused_until == self.shared.now && !self.shared.is_healed {
            self.shared.log(|log| log.resume(process.id()));
        }
        process.rouse(&mut self.shared);
    }

    /// Makes everything well: all links carry, all nodes run, disks are quick, nothing more goes wrong.
    pub(crate) fn heal(&mut self) {
        let shared = &mut self.shared;
        shared.is_healed = true;
        shared.network.heal();
        shared.mix.disk = DiskMix { inline: shared.mix.disk.inline, ..DiskMix::calm() };
        let now = shared.now;
        self.disks.iter_mut().for_each(SimDisk::heal);
        for process in &mut self.processes {
            if process.paused_until > now {
                shared.log(|log| log.resume(process.id()));
            }
            process.paused_until = now;
            process.slow_until = now;
            process.stalled_until = now;
            process.ambush = None;
            let (node, boot) = (process.place, process.boot);
            let revive = if process.is_up {
                Event::Resume { node, boot }
            } else {
                Event::Boot { node, boot }
            };
            shared.queue.schedule(now, revive);
        }
        let shared = &mut self.shared;
        for Scheduled { index, at, fault } in &shared.faults {
            let lasts = fault.lasts().filter(|lasts| *at <= now && *at + *lasts > now);
            if let (Some(trace), Some(_)) = (&mut shared.trace, lasts) {
                trace.at(now).fault_ends(*index);
            }
        }
        shared.log(|log| log.note("all is well"));
        self.clients(|workload, clients| workload.healed(clients));
    }

    /// Visits the links from one side to the other, and if `both_ways` those back.
    fn each_across(
        &mut self,
        side: &[NodeId],
        both_ways: bool,
        mut visit: impl FnMut(&mut Self, usize, usize),
    ) {
        for near in side.iter().copied().map(place_of) {
            for far in 0..self.hosts.len() {
                if !side.contains(&NodeId(far as u64 + 1)) {
                    visit(self, near, far);
                    if both_ways {
                        visit(self, far, near);
                    }
                }
            }
        }
    }

    /// Cuts a directed link. Both ends may hear of it, as a connection needs both directions.
    fn cut(&mut self, from: usize, to: usize) {
        self.shared.network.cut(from, to);
        self.hint(from, NodeId(to as u64 + 1));
        self.hint(to, NodeId(from as u64 + 1));
    }

    fn cease_after(&mut self, fault: u32, lasts: Duration) {
        self.shared.queue.schedule(self.shared.now + lasts, Event::Cease { fault });
    }

    /// Tells a node that it lost a peer, as often as the mix says.
    fn hint(&mut self, place: usize, peer: NodeId) {
        if self.shared.rng.happens(self.shared.mix.hints) {
            self.tell(place, peer);
        }
    }

    fn tell(&mut self, place: usize, peer: NodeId) {
        let delay = self.shared.rng.duration(&self.shared.mix.network.delay);
        let hint = Event::Hint { node: place as u32, peer };
        self.shared.queue.schedule(self.shared.now + delay, hint);
    }

    /// Tells of what the log of a run has no other word for.
    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.shared.log(|log| log.note(&what.to_string()));
    }
}
