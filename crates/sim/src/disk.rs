//! The disk: what a node finds again after a crash.
//!
//! A disk takes records in order and makes them durable by syncs, which take virtual time. Records that arrive
//! while a sync is under way wait for the next one. A crash spares what was synced. Of the rest it may spare any
//! prefix, since a disk writes ahead of being asked; what it spared, the node finds and may act on.
//!
//! A disk can be told to do worse ([`DiskFault`]). It may fail a sync or some reads, which ends the process and loses
//! nothing. It may be full for a while, which ends nothing. And it may be [ruined](Ruin): then what the node held
//! durably is gone, and it boots as one that has lost its memory.

use std::collections::VecDeque;
use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use quorate_core::Protocol;
use thiserror::Error;

use crate::rng::{Ppm, Rng};
use crate::wire::Version;

/// How disks behave in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskMix {
    /// How long a sync takes.
    pub sync: Range<Duration>,
    /// How often a sync stalls.
    pub stall: Ppm,
    /// How much longer a sync takes that stalls.
    pub stall_delay: Range<Duration>,
    /// Whether a node does nothing else while it syncs, as the production loop does. If not, it takes inputs
    /// meanwhile, and more orders of events are seen.
    pub inline: bool,
}

impl DiskMix {
    /// A disk that is always quick.
    pub fn calm() -> Self {
        DiskMix {
            sync: Duration::from_micros(50)..Duration::from_micros(150),
            stall: Ppm::NEVER,
            stall_delay: Duration::ZERO..Duration::ZERO,
            inline: true,
        }
    }

    /// Disks of the seed's own.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let quickest =
            rng.duration_by_magnitude(&(Duration::from_micros(10)..Duration::from_millis(5)));
        DiskMix {
            sync: quickest..quickest * *rng.pick(&[2, 4, 16]),
            stall: *rng.pick(&[Ppm::NEVER, Ppm(1_000), Ppm(10_000)]),
            stall_delay: Duration::from_millis(10)..Duration::from_secs(1),
            inline: rng.happens(Ppm::percent(50)),
        }
    }
}

/// What a crash did to a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Records that were persisted and are gone.
    pub records_lost: u64,
    /// Whether a part of what was not synced survived, and another part didn't.
    pub is_torn: bool,
}

/// What a disk can be told to do wrong, besides losing what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// The next sync fails.
    FailSync,
    /// So many reads fail at the next boots.
    FailReads {
        /// How many.
        times: u32,
    },
    /// There is no room, until [`DiskFault::MakeRoom`] was said as often as this.
    Fill,
    /// There is room again.
    MakeRoom,
    /// What was durable is spoilt, by the next crash at the latest.
    Ruin(Ruin),
}

/// What spoils what was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ruin {
    /// Some sectors rot while the node is down.
    Rot,
    /// A write lands elsewhere, over something or nothing.
    Misdirected,
    /// A sync is answered and never happens. If it was the last one before the crash, nobody can tell.
    Phantom,
    /// After the next crash the disk is as it was when this was said. Nobody can tell.
    OldCopy,
    /// After the next crash the disk is empty. Nobody can tell.
    Wiped,
}

/// Whether a node whose memory is gone can know it by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The log was found out: it was set aside, and the node is told that it remembers nothing.
    Known,
    /// What was found is whole, and older than what the node had. Only its peers can know.
    Unknown,
}

/// How a sync ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncEnd {
    /// What was persisted before it began is durable.
    Durable,
    /// There was no room. All is kept; the sync goes on, and is to be ended again later.
    Full,
    /// It failed: the process ends.
    Failed,
}

/// What a node that boots finds.
pub enum Recovery<P: Protocol> {
    /// All of it is durable from here on.
    Found {
        /// What its records were folded to.
        durable: P::Durable,
        /// The number of the last record in its log.
        last: u64,
        /// What was lost since the last boot, of what was durable.
        loss: Option<Loss>,
    },
    /// It cannot start: the process ends, and is started again later.
    Refused {
        /// What it says.
        why: String,
    },
}

/// A disk of one simulated node. It outlives the node's crashes.
pub trait SimDisk<P: Protocol> {
    /// Why a disk can't be read or written, without a fault that explains it.
    type Error: Display;

    /// Takes a record. It goes with the next sync that begins.
    fn persist(&mut self, record: P::Record) -> Result<(), Self::Error>;
    /// Begins to make durable what was persisted so far.
    fn begin_sync(&mut self) -> Result<(), Self::Error>;
    /// Ends the sync that began last.
    fn end_sync(&mut self) -> Result<SyncEnd, Self::Error>;
    /// Loses some of what was not durable.
    fn crash(&mut self, rng: &mut Rng) -> Damage;
    /// May forget the records before the one of this number.
    fn release(&mut self, before: u64) -> Result<(), Self::Error>;
    /// What a node that boots finds.
    fn recover(&mut self) -> Result<Recovery<P>, Self::Error>;

    /// The node that boots next is of that version, and so is what it writes.
    fn write_as(&mut self, _version: Version) {}
    /// Does something wrong, if it is one of what this disk can do.
    fn afflict(&mut self, fault: DiskFault, rng: &mut Rng);
    /// Does nothing wrong from here on. What is spoilt stays spoilt.
    fn heal(&mut self);
    /// The node knows again what it has to know: the mark that it has lost its memory goes. Returns whether that is
    /// durable; if not, it is to be said again.
    fn regain(&mut self) -> Result<bool, Self::Error>;
}

/// A disk that keeps records as they are: the fast one. It can't be ruined.
pub struct RecordDisk<P: Protocol> {
    records: VecDeque<P::Record>,
    /// How many records before those were given up.
    released: u64,
    /// How many records are durable.
    synced: usize,
    /// How many will be once the sync under way ends.
    syncing: usize,
    fails_next_sync: bool,
    bad_reads: u32,
    /// How many faults there are that leave no room.
    fills: u32,
}

impl<P: Protocol> RecordDisk<P> {
    /// An empty disk.
    pub fn new() -> Self {
        RecordDisk {
            records: VecDeque::new(),
            released: 0,
            synced: 0,
            syncing: 0,
            fails_next_sync: false,
            bad_reads: 0,
            fills: 0,
        }
    }
}

impl<P: Protocol> Default for RecordDisk<P> {
    fn default() -> Self {
        RecordDisk::new()
    }
}

/// What a [`RecordDisk`] fails with: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Never {}

impl<P: Protocol> SimDisk<P> for RecordDisk<P>
where
    P::Record: Clone,
    P::Durable: Default,
{
    type Error = Never;

    fn persist(&mut self, record: P::Record) -> Result<(), Never> {
        self.records.push_back(record);
        Ok(())
    }

    fn begin_sync(&mut self) -> Result<(), Never> {
        self.syncing = self.records.len();
        Ok(())
    }

    fn end_sync(&mut self) -> Result<SyncEnd, Never> {
        if std::mem::take(&mut self.fails_next_sync) {
            return Ok(SyncEnd::Failed);
        }
        if self.fills > 0 {
            return Ok(SyncEnd::Full);
        }
        self.synced = self.syncing;
        Ok(SyncEnd::Durable)
    }

    fn crash(&mut self, rng: &mut Rng) -> Damage {
        self.fails_next_sync = false;
        let unsynced = self.records.len() - self.synced;
        let spared = rng.below(unsynced as u64 + 1) as usize;
        self.records.truncate(self.synced + spared);
        Damage {
            records_lost: (unsynced - spared) as u64,
            is_torn: spared > 0 && spared < unsynced,
        }
    }

    fn release(&mut self, before: u64) -> Result<(), Never> {
        let count = before.saturating_sub(self.released + 1) as usize;
        self.records.drain(..count);
        self.released += count as u64;
        self.synced -= count;
        self.syncing = self.syncing.saturating_sub(count);
        Ok(())
    }

    fn recover(&mut self) -> Result<Recovery<P>, Never> {
        // As in production, a read is tried twice.
        if self.bad_reads > 1 {
            self.bad_reads -= 2;
            return Ok(Recovery::Refused { why: "the disk cannot be read".to_owned() });
        }
        self.bad_reads = 0;
        self.synced = self.records.len();
        self.syncing = self.synced;
        let mut durable = P::Durable::default();
        for (number, record) in (self.released + 1..).zip(&self.records) {
            P::fold(&mut durable, number, record.clone());
        }
        let last = self.released + self.records.len() as u64;
        Ok(Recovery::Found { durable, last, loss: None })
    }

    fn afflict(&mut self, fault: DiskFault, _: &mut Rng) {
        match fault {
            DiskFault::FailSync => self.fails_next_sync = true,
            DiskFault::FailReads { times } => self.bad_reads += times,
            DiskFault::Fill => self.fills += 1,
            DiskFault::MakeRoom => self.fills -= 1,
            DiskFault::Ruin(_) => {}
        }
    }

    fn heal(&mut self) {
        self.fails_next_sync = false;
        self.bad_reads = 0;
        self.fills = 0;
    }

    fn regain(&mut self) -> Result<bool, Never> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quorate_core::{Input, Out};

    use super::*;

    /// Remembers its records, and nothing else.
    struct Diary;

    impl Protocol for Diary {
        type Config = ();
        type Message = ();
        type Timer = ();
        type Record = u8;
        type Durable = Vec<u8>;
        type Request = ();
        type Response = ();

        fn fold(durable: &mut Vec<u8>, _: u64, record: u8) {
            durable.push(record);
        }
        fn recover(_: &(), _: Vec<u8>, _: &mut Out<'_, Self>) -> Self {
            Diary
        }
        fn step(&mut self, _: &(), _: Input<Self>, _: &mut Out<'_, Self>) {}
        fn view(&self) -> String {
            String::new()
        }
    }

    fn found(disk: &mut RecordDisk<Diary>) -> Option<Vec<u8>> {
        match disk.recover() {
            Ok(Recovery::Found { durable, .. }) => Some(durable),
            Ok(Recovery::Refused { .. }) => None,
        }
    }

    #[test]
    fn a_disk_that_is_full_or_fails_makes_nothing_durable_and_loses_nothing_of_what_was()
    -> Result<(), Never> {
        let mut rng = Rng::new(1);
        let mut disk = RecordDisk::<Diary>::new();
        disk.persist(1)?;
        disk.begin_sync()?;
        disk.afflict(DiskFault::Fill, &mut rng);
        assert_eq!(disk.end_sync()?, SyncEnd::Full);
        disk.afflict(DiskFault::MakeRoom, &mut rng);
        assert_eq!(disk.end_sync()?, SyncEnd::Durable);
        disk.persist(2)?;
        disk.begin_sync()?;
        disk.afflict(DiskFault::FailSync, &mut rng);
        assert_eq!(disk.end_sync()?, SyncEnd::Failed);
        disk.afflict(DiskFault::FailReads { times: 3 }, &mut rng);
        disk.crash(&mut rng);
        assert_eq!(found(&mut disk), None);
        assert!(found(&mut disk).is_some_and(|durable| durable[0] == 1));
        Ok(())
    }

    #[test]
    fn a_crash_spares_what_was_synced_and_any_prefix_of_the_rest() -> Result<(), Never> {
        let mut founds = BTreeSet::new();
        for seed in 0..100 {
            let mut disk = RecordDisk::<Diary>::new();
            disk.persist(1)?;
            disk.begin_sync()?;
            disk.persist(2)?;
            disk.end_sync()?;
            disk.persist(3)?;
            let damage = disk.crash(&mut Rng::new(seed));
            let durable = found(&mut disk).expect("it can be read");
            assert_eq!(durable.len() as u64 + damage.records_lost, 3);
            assert_eq!(damage.is_torn, durable.len() == 2);
            founds.insert(durable);
        }
        assert_eq!(founds, BTreeSet::from([vec![1], vec![1, 2], vec![1, 2, 3]]));
        Ok(())
    }

    #[test]
    fn what_a_node_found_at_boot_survives_its_next_crash() -> Result<(), Never> {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let mut disk = RecordDisk::<Diary>::new();
            disk.persist(1)?;
            disk.crash(&mut rng);
            let before = found(&mut disk).expect("it can be read");
            disk.crash(&mut rng);
            assert_eq!(found(&mut disk), Some(before));
        }
        Ok(())
    }
}
