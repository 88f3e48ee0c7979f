//! The disk that runs the real write-ahead log: what production writes, on a disk that tears and loses.
//!
//! A crash cuts the log off in the middle of its writes: some of a batch's changes are made, the rest never are, and
//! of what was made but not synced the disk keeps, loses or tears each write. Then the log opens again, and may be
//! cut off in that, too. The disk counts for itself what was synced, and reports a log that lost any of it.

use std::fmt::Display;

use bytes::Bytes;
use quorate_core::Protocol;
use quorate_storage::{Log, LogError, LogId, LogOptions, MemoryVfs, Sequence};
use thiserror::Error;

use crate::disk::{Damage, SimDisk};
use crate::rng::Rng;

/// How a protocol's records lie on a disk.
pub trait RecordCodec<P: Protocol> {
    /// Why bytes are no record.
    type Error: Display;

    /// Appends a record's bytes.
    fn encode(&self, record: &P::Record, into: &mut Vec<u8>);
    /// Reads a record from its bytes, all of them.
    fn decode(&self, bytes: Bytes) -> Result<P::Record, Self::Error>;
}

/// Why a [`LogDisk`] can't be read or written.
#[derive(Debug, Error)]
pub enum LogDiskError {
    /// The log failed, though its disk didn't.
    #[error("the log failed on a disk that keeps what it synced: {0}")]
    Log(#[from] LogError),
    /// The log lost what it had called durable.
    #[error("the log synced {synced} records and gave {found} back; look at its recovery")]
    Lost {
        /// How many records were durable.
        synced: u64,
        /// How many were found.
        found: u64,
    },
    /// The log gave back what is no record.
    #[error("record {sequence} cannot be read back: {why}; look at the codec, then at the log")]
    Unreadable {
        /// Its place.
        sequence: u64,
        /// What the codec says.
        why: String,
    },
}

/// What a log gave back when it was opened.
type Opened<P> = (Log<MemoryVfs>, <P as Protocol>::Durable);

/// What a node's records are folded onto at each of its boots.
type Base<P> = Box<dyn Fn() -> <P as Protocol>::Durable>;

/// A disk with a real log on it.
pub struct LogDisk<P: Protocol, C> {
    codec: C,
    options: LogOptions,
    vfs: MemoryVfs,
    base: Base<P>,
    /// None before the first boot, and between a crash and the next boot.
    log: Option<Log<MemoryVfs>>,
    /// What was found after a crash, for the boot that follows.
    found: Option<Result<Opened<P>, LogDiskError>>,
    /// Records that came while a sync was under way, encoded.
    pending: Vec<Vec<u8>>,
    is_syncing: bool,
    /// How many records the log has taken, and how many it has synced, over all boots.
    appended: u64,
    synced: u64,
}

/// The most changes of the disk after which a crash cuts off a sync or an opening. One batch in one segment makes
/// two, and a step to the next segment some more.
const CHANGES_MAX: u64 = 8;

const DIRECTORY: &str = "/log";

impl<P: Protocol, C: RecordCodec<P>> LogDisk<P, C> {
    /// An empty disk, with a log of small segments, so that short runs see it go from one to the next.
    pub fn new(codec: C) -> Self
    where
        P::Durable: Default + 'static,
    {
        let mut options = LogOptions::new(LogId(1));
        options.segment_bytes = 16 << 10;
        LogDisk::with_options(codec, options, P::Durable::default)
    }

    /// An empty disk, for a log that is kept in that way. No record may be larger than a segment. What the log holds is
    /// folded onto a `base` at each boot.
    pub fn with_options(
        codec: C,
        options: LogOptions,
        base: impl Fn() -> P::Durable + 'static,
    ) -> Self {
        LogDisk {
            codec,
            options,
            vfs: MemoryVfs::new(),
            base: Box::new(base),
            log: None,
            found: None,
            pending: Vec::new(),
            is_syncing: false,
            appended: 0,
            synced: 0,
        }
    }

    fn open(&self) -> Result<Opened<P>, LogDiskError> {
        let mut durable = (self.base)();
        let mut unreadable = None;
        let fold = |sequence: Sequence, bytes: Bytes| match self.codec.decode(bytes) {
            Ok(record) => P::fold(&mut durable, sequence.0, record),
            Err(error) => {
                unreadable.get_or_insert((sequence.0, error.to_string()));
            }
        };
        let (log, _) = Log::open(self.vfs.clone(), DIRECTORY, self.options.clone(), fold)?;
        if let Some((sequence, why)) = unreadable {
            return Err(LogDiskError::Unreadable { sequence, why });
        }
        let found = log.durable().0;
        if found < self.synced {
            return Err(LogDiskError::Lost { synced: self.synced, found });
        }
        Ok((log, durable))
    }

    /// The log. A node that runs has booted, and booting opens it.
    fn log(&mut self) -> &mut Log<MemoryVfs> {
        self.log.as_mut().expect("a node writes only between its boot and its crash")
    }

    /// Loses power, perhaps in the middle of writing what waited for a sync.
    fn lose_power(&mut self, rng: &mut Rng) {
        if let Some(mut log) = self.log.take() {
            self.vfs.stop_after(rng.below(CHANGES_MAX));
            // Whether it got through is for the next opening to find out.
            let _ = log.sync();
        }
        self.vfs.crash(&mut |bound| rng.below(bound));
    }
}

impl<P: Protocol, C: RecordCodec<P>> SimDisk<P> for LogDisk<P, C> {
    type Error = LogDiskError;

    fn persist(&mut self, record: P::Record) -> Result<(), LogDiskError> {
        let mut bytes = Vec::new();
        self.codec.encode(&record, &mut bytes);
        self.appended += 1;
        if self.is_syncing {
            self.pending.push(bytes);
        } else {
            self.log().append(&bytes)?;
        }
        Ok(())
    }

    fn begin_sync(&mut self) -> Result<(), LogDiskError> {
        self.is_syncing = true;
        Ok(())
    }

    fn end_sync(&mut self) -> Result<(), LogDiskError> {
        self.is_syncing = false;
        self.log().sync()?;
        self.synced = self.appended - self.pending.len() as u64;
        for bytes in std::mem::take(&mut self.pending) {
            self.log().append(&bytes)?;
        }
        Ok(())
    }

    fn crash(&mut self, rng: &mut Rng) -> Damage {
        self.pending.clear();
        self.is_syncing = false;
        self.lose_power(rng);
        // Sometimes the power fails again while the log opens.
        if rng.below(4) == 0 {
            self.vfs.stop_after(rng.below(CHANGES_MAX));
            drop(self.open());
            self.vfs.crash(&mut |bound| rng.below(bound));
        }
        let opened = self.open();
        let spared = opened.as_ref().map_or(self.synced, |(log, _)| log.durable().0);
        self.found = Some(opened);
        Damage {
            records_lost: self.appended - spared,
            is_torn: self.synced < spared && spared < self.appended,
        }
    }

    fn release(&mut self, before: u64) -> Result<(), LogDiskError> {
        Ok(self.log().release_before(Sequence(before))?)
    }

    fn recover(&mut self) -> Result<(P::Durable, u64), LogDiskError> {
        let opened = self.found.take().unwrap_or_else(|| self.open());
        let (log, durable) = opened?;
        let last = log.durable().0;
        self.log = Some(log);
        self.appended = last;
        self.synced = last;
        Ok((durable, last))
    }
}
