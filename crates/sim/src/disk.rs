//! The disk: what a node finds again after a crash.
//!
//! A disk takes records in order and makes them durable by syncs, which take virtual time. Records that arrive
//! while a sync is under way wait for the next one. A crash spares what was synced. Of the rest it may spare any
//! prefix, since a disk writes ahead of being asked; what it spared, the node finds and may act on.

use std::collections::VecDeque;
use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use quorate_core::Protocol;
use thiserror::Error;

use crate::rng::{Ppm, Rng};

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

/// A disk of one simulated node. It outlives the node's crashes.
pub trait SimDisk<P: Protocol> {
    /// Why a disk can't be read or written.
    type Error: Display;

    /// Takes a record. It goes with the next sync that begins.
    fn persist(&mut self, record: P::Record) -> Result<(), Self::Error>;
    /// Begins to make durable what was persisted so far.
    fn begin_sync(&mut self) -> Result<(), Self::Error>;
    /// Ends the sync that began last: what was persisted before it began is durable.
    fn end_sync(&mut self) -> Result<(), Self::Error>;
    /// Loses some of what was not durable.
    fn crash(&mut self, rng: &mut Rng) -> Damage;
    /// May forget the records before the one of this number.
    fn release(&mut self, before: u64) -> Result<(), Self::Error>;
    /// What a node that boots finds, and the number of the last record in its log. All of it is durable from here on.
    fn recover(&mut self) -> Result<(P::Durable, u64), Self::Error>;
}

/// A disk that keeps records as they are: the fast one.
pub struct RecordDisk<P: Protocol> {
    records: VecDeque<P::Record>,
    /// How many records before those were given up.
    released: u64,
    /// How many records are durable.
    synced: usize,
    /// How many will be once the sync under way ends.
    syncing: usize,
}

impl<P: Protocol> RecordDisk<P> {
    /// An empty disk.
    pub fn new() -> Self {
        RecordDisk { records: VecDeque::new(), released: 0, synced: 0, syncing: 0 }
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

    fn end_sync(&mut self) -> Result<(), Never> {
        self.synced = self.syncing;
        Ok(())
    }

    fn crash(&mut self, rng: &mut Rng) -> Damage {
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

    fn recover(&mut self) -> Result<(P::Durable, u64), Never> {
        self.synced = self.records.len();
        self.syncing = self.synced;
        let mut durable = P::Durable::default();
        for (number, record) in (self.released + 1..).zip(&self.records) {
            P::fold(&mut durable, number, record.clone());
        }
        Ok((durable, self.released + self.records.len() as u64))
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

    #[test]
    fn a_crash_spares_what_was_synced_and_any_prefix_of_the_rest() -> Result<(), Never> {
        let mut found = BTreeSet::new();
        for seed in 0..100 {
            let mut disk = RecordDisk::<Diary>::new();
            disk.persist(1)?;
            disk.begin_sync()?;
            disk.persist(2)?;
            disk.end_sync()?;
            disk.persist(3)?;
            let damage = disk.crash(&mut Rng::new(seed));
            let (durable, _) = disk.recover()?;
            assert_eq!(durable.len() as u64 + damage.records_lost, 3);
            assert_eq!(damage.is_torn, durable.len() == 2);
            found.insert(durable);
        }
        assert_eq!(found, BTreeSet::from([vec![1], vec![1, 2], vec![1, 2, 3]]));
        Ok(())
    }

    #[test]
    fn what_a_node_found_at_boot_survives_its_next_crash() -> Result<(), Never> {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let mut disk = RecordDisk::<Diary>::new();
            disk.persist(1)?;
            disk.crash(&mut rng);
            let found = disk.recover()?;
            disk.crash(&mut rng);
            assert_eq!(disk.recover()?, found);
        }
        Ok(())
    }
}
