//! What a simulated node does about its disk: waits for room, tries again to boot, loses its memory and regains it.

use std::ops::Range;
use std::time::Duration;

use quorate_core::{NodeId, Protocol};

use crate::disk::{DiskFault, Loss, Ruin, SimDisk};
use crate::failure::Broken;
use crate::node::{Event, Ruined};
use crate::simulation::{Simulation, disk_failed};
use crate::workload::Workload;

/// How long after it found no room a node tries again to sync.
const ROOM_AFTER: Duration = Duration::from_millis(20);

/// How long after a boot that came to nothing the process is started again.
const BOOTS_AFTER: Range<Duration> = Duration::from_millis(10)..Duration::from_millis(200);

impl<P, D, W> Simulation<P, D, W>
where
    P: Protocol,
    P::Message: Clone,
    D: SimDisk<P>,
    W: Workload<P>,
{
    pub(crate) fn afflict(&mut self, node: NodeId, fault: DiskFault) {
        self.disks[node.0 as usize - 1].afflict(fault, &mut self.shared.rng);
    }

    /// The disk is full: the node goes on, and what waits for the disk waits until there is room, as in production.
    pub(crate) fn put_off_sync(&mut self, place: usize) {
        self.shared.counters.syncs_put_off += 1;
        let process = &mut self.processes[place];
        process.is_blocked = false;
        let retry = Event::SyncEnds { node: process.place, boot: process.boot };
        self.shared.queue.schedule(self.shared.now + ROOM_AFTER, retry);
        if process.has_work() {
            process.rouse(&mut self.shared);
        }
    }

    /// A boot comes to nothing.
    pub(crate) fn refuse_boot(&mut self, place: usize, why: &str) {
        let process = &self.processes[place];
        let again = Event::Boot { node: process.place, boot: process.boot };
        let id = process.id();
        self.shared.counters.boots_refused += 1;
        let after = self.shared.rng.duration(&BOOTS_AFTER);
        self.shared.queue.schedule(self.shared.now + after, again);
        self.note(format_args!("{id} cannot boot: {why}"));
    }

    /// A disk is to be ruined, if it may.
    pub(crate) fn ruin(&mut self, node: NodeId, ruin: Ruin, after: Duration, down: Duration) {
        let process = &self.processes[node.0 as usize - 1];
        if !process.is_up || !self.shared.ruined.may_strike(node, self.hosts.len()) {
            self.note(format_args!("{node} is spared"));
            return;
        }
        let crash = Event::Crash { node: process.place, boot: process.boot, down };
        self.shared.counters.ruins += 1;
        self.shared.ruined.now = Some(node);
        self.shared.ruined.is_lost = false;
        self.shared.queue.schedule(self.shared.now + after, crash);
        self.afflict(node, DiskFault::Ruin(ruin));
    }

    /// A node boots, and has lost its memory, or has not.
    pub(crate) fn note_loss(&mut self, node: NodeId, loss: Option<Loss>) {
        let Ruined { now, is_lost, ever, .. } = &mut self.shared.ruined;
        match loss {
            None if *now == Some(node) && !*is_lost => *now = None,
            None => return,
            Some(_) => {
                *now = Some(node);
                *is_lost = true;
                ever.insert(node);
            }
        }
        match loss {
            None => self.note(format_args!("the disk of {node} has come to no harm")),
            Some(Loss::Known) => {
                self.shared.counters.losses_known += 1;
                self.note(format_args!("{node} has lost its memory, and knows it"));
            }
            Some(Loss::Unknown) => {
                self.shared.counters.losses_unknown += 1;
                self.note(format_args!("{node} has lost its memory, and cannot know it"));
            }
        }
    }

    /// The workload has said that the damaged node is whole again.
    pub(crate) fn mend(&mut self) -> Result<(), Broken> {
        self.shared.ruined.is_to_mend = false;
        let Some(node) = self.shared.ruined.now.filter(|_| self.shared.ruined.is_lost) else {
            return Ok(());
        };
        let regained = self.disks[node.0 as usize - 1].regain();
        // If it was not durable, the node stays damaged until the workload says so again.
        if regained.map_err(|error| disk_failed(node, error))? {
            self.shared.ruined.now = None;
            self.shared.counters.losses_mended += 1;
            self.note(format_args!("{node} is whole again"));
        }
        Ok(())
    }
}
