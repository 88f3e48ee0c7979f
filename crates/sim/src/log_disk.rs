//! The disk that runs the real write-ahead log: what production writes, on a disk that tears, loses, fails and rots.
//!
//! A crash cuts the log off in the middle of its writes: some of a batch's changes are made, the rest never are, and
//! of what was made but not synced the disk keeps, loses, tears or scatters each write. Then the log opens again, and
//! may be cut off in that, too. The disk counts for itself what was synced, and reports a log that lost any of it.
//!
//! # A log that is found out
//!
//! The disk knows what it was made to do. If the log refuses to open, or a call fails, and the disk was not made to do
//! anything that explains it, the log is wrong and the run has failed. If it was, the log does what production does: a
//! log that cannot be trusted is set aside, one that cannot be read is tried again later, and one that finds no room
//! waits for some. A log that has lost what it called durable without noticing has lost it unknown to the node: of a
//! phantom write or a misdirected one that was the last before the crash, of an older copy of the disk, and of an empty
//! disk nothing can be seen from here.

mod opening;

use std::fmt::Display;

use bytes::Bytes;
use quorate_core::Protocol;
use quorate_storage::vfs::{Harm, SECTOR_BYTES};
use quorate_storage::{
    DataDir, DataDirError, Log, LogError, LogId, LogOptions, MemoryVfs, Sequence,
};
use thiserror::Error;

use self::opening::{Opened, Opening};
use crate::disk::{Damage, DiskFault, Recovery, Ruin, SimDisk, SyncEnd};
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

/// Why a [`LogDisk`] can't be read or written, though its disk was not made to do anything that explains it.
#[derive(Debug, Error)]
pub enum LogDiskError {
    /// The log failed.
    #[error("the log failed on a disk that keeps what it synced: {0}")]
    Log(#[from] LogError),
    /// The data directory failed.
    #[error("the data directory failed on a disk that keeps what it synced: {0}")]
    DataDir(#[from] DataDirError),
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

/// What a node's records are folded onto at each of its boots.
type Base<P> = Box<dyn Fn() -> <P as Protocol>::Durable>;

/// A disk with a real log on it.
pub struct LogDisk<P: Protocol, C> {
    codec: C,
    options: LogOptions,
    vfs: MemoryVfs,
    base: Base<P>,
    /// What they are folded onto at the boots of a node that knows that it has lost its memory.
    lost_base: Option<Base<P>>,
    /// None before the first boot, and between a crash and the next boot.
    open: Option<(DataDir<MemoryVfs>, Log<MemoryVfs>)>,
    /// What was found after a crash, for the boot that follows.
    found: Option<Result<Box<Opened<P>>, LogDiskError>>,
    /// Records that came while a sync was under way, encoded.
    pending: Vec<Vec<u8>>,
    is_syncing: bool,
    /// How many records the log has taken, and how many it has synced, over all boots.
    appended: u64,
    synced: u64,
    /// Which log those were in, and how many logs there have been.
    log_id: Option<LogId>,
    logs: u128,
    /// The disk has failed a call of the log's. It does nothing more until the next boot.
    has_failed: bool,
    bad_reads: u32,
    /// How many faults there are that leave no room.
    fills: u32,
    /// What will be done to the disk when it next loses power.
    ruin: Option<Ruined>,
    /// The harm that was done before the last boot, at which everything was read and was well.
    outlived: Harm,
}

/// A ruin that waits for the next crash.
enum Ruined {
    Rot,
    OldCopy(MemoryVfs),
    Wiped,
}

/// The most changes of the disk after which a crash cuts off a sync or an opening. One batch in one segment makes
/// two, and a step to the next segment some more; an opening makes a dozen.
const CHANGES_MAX: u64 = 8;
const OPENING_CHANGES_MAX: u64 = 16;
/// How many sectors rot at once.
const ROTTEN_SECTORS_MAX: u64 = 8;

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

    /// An empty disk, for a log that is kept in that way, whatever id the options give it. No record may be larger than
    /// a segment. What the log holds is folded onto a `base` at each boot.
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
            lost_base: None,
            open: None,
            found: None,
            pending: Vec::new(),
            is_syncing: false,
            appended: 0,
            synced: 0,
            log_id: None,
            logs: 0,
            has_failed: false,
            bad_reads: 0,
            fills: 0,
            ruin: None,
            outlived: Harm::default(),
        }
    }

    /// Gives a node that knows that it has lost its memory something else to fold its records onto, at each boot until
    /// it is said to be whole: so it is told.
    pub fn with_lost_base(mut self, base: impl Fn() -> P::Durable + 'static) -> Self {
        self.lost_base = Some(Box::new(base));
        self
    }

    /// The log. A node that runs has booted, and booting opens it.
    fn log(&mut self) -> &mut Log<MemoryVfs> {
        &mut self.open.as_mut().expect("a node writes only between its boot and its crash").1
    }

    /// Has the log do something. What the disk was made to fail ends the process, which learns of it at the next sync.
    fn attempt<T>(
        &mut self,
        act: impl FnOnce(&mut Log<MemoryVfs>) -> Result<T, LogError>,
    ) -> Result<Option<T>, LogDiskError> {
        if self.has_failed {
            return Ok(None);
        }
        let errors = self.vfs.errors();
        match act(self.log()) {
            Ok(done) => Ok(Some(done)),
            Err(_) if self.vfs.errors() > errors => {
                self.has_failed = true;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is harm that can explain a log that is not as it was.
    fn is_marred(&self) -> bool {
        self.vfs.harm() != self.outlived
    }

    /// Loses power, perhaps in the middle of writing what waited for a sync, and comes back as it is then.
    fn lose_power(&mut self, rng: &mut Rng) {
        if let Some((_, mut log)) = self.open.take() {
            self.vfs.stop_after(rng.below(CHANGES_MAX));
            // Whether it got through is for the next opening to find out.
            let _ = log.sync();
        }
        self.vfs.crash(&mut |bound| rng.below(bound));
        match self.ruin.take() {
            None => {}
            Some(Ruined::Rot) => self.rot(rng),
            Some(Ruined::OldCopy(copy)) => self.vfs.restore(&copy),
            Some(Ruined::Wiped) => self.vfs.wipe(),
        }
        // A fault that has found nothing to strike is over; those that last are not.
        self.vfs.relent();
        self.limit_room();
        let files = self.files();
        if self.bad_reads > 0 && !files.is_empty() {
            let (path, _) = rng.pick(&files);
            self.vfs.fail_reads(path, 0..u64::MAX, Some(self.bad_reads));
        }
    }

    fn limit_room(&self) {
        let used = self.vfs.used_bytes();
        self.vfs.set_capacity((self.fills > 0).then_some(used));
    }

    /// The files that have something in them.
    fn files(&self) -> Vec<(std::path::PathBuf, u64)> {
        let mut files = self.vfs.files();
        files.retain(|(_, bytes)| *bytes > 0);
        files
    }

    fn rot(&mut self, rng: &mut Rng) {
        let files = self.files();
        for _ in 0..=rng.below(ROTTEN_SECTORS_MAX) {
            if let Some((path, bytes)) = (!files.is_empty()).then(|| rng.pick(&files)) {
                let sector = rng.below(bytes.div_ceil(SECTOR_BYTES));
                self.vfs.rot(path, sector, &mut |bound| rng.below(bound));
            }
        }
    }

    fn be_ruined(&mut self, ruin: Ruin, rng: &mut Rng) {
        match ruin {
            Ruin::Rot => self.ruin = Some(Ruined::Rot),
            Ruin::Wiped => self.ruin = Some(Ruined::Wiped),
            Ruin::OldCopy => {
                let copy = self.vfs.duplicate();
                copy.crash(&mut |_| 0);
                self.ruin = Some(Ruined::OldCopy(copy));
            }
            Ruin::Phantom => self.vfs.feign_next_sync(),
            Ruin::Misdirected => {
                let files = self.files();
                if !files.is_empty() {
                    let (path, bytes) = rng.pick(&files);
                    let sector = rng.below(bytes.div_ceil(SECTOR_BYTES));
                    self.vfs.misdirect_next_sync(path, sector * SECTOR_BYTES);
                }
            }
        }
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
            self.attempt(|log| log.append(&bytes))?;
        }
        Ok(())
    }

    fn begin_sync(&mut self) -> Result<(), LogDiskError> {
        self.is_syncing = true;
        Ok(())
    }

    fn end_sync(&mut self) -> Result<SyncEnd, LogDiskError> {
        let synced = self.attempt(|log| match log.sync() {
            Err(LogError::Full { .. }) => Ok(false),
            outcome => outcome.map(|_| true),
        })?;
        match synced {
            None => return Ok(SyncEnd::Failed),
            Some(false) => return Ok(SyncEnd::Full),
            Some(true) => {}
        }
        self.is_syncing = false;
        self.synced = self.appended - self.pending.len() as u64;
        for bytes in std::mem::take(&mut self.pending) {
            self.attempt(|log| log.append(&bytes))?;
        }
        Ok(SyncEnd::Durable)
    }

    fn crash(&mut self, rng: &mut Rng) -> Damage {
        self.pending.clear();
        self.is_syncing = false;
        self.has_failed = false;
        self.lose_power(rng);
        // Sometimes the power fails again while the log opens.
        if rng.below(4) == 0 {
            self.vfs.stop_after(rng.below(OPENING_CHANGES_MAX));
            drop(self.open());
            self.vfs.crash(&mut |bound| rng.below(bound));
        }
        let opening = self.open();
        let spared = match &opening {
            Ok(Opening::Done(opened)) => opened.last(),
            _ => self.synced,
        };
        self.found = match opening {
            Ok(Opening::Done(opened)) => Some(Ok(opened)),
            Ok(Opening::Refused(_)) => None,
            Err(error) => Some(Err(error)),
        };
        Damage {
            records_lost: self.appended.saturating_sub(spared),
            is_torn: self.synced < spared && spared < self.appended,
        }
    }

    fn release(&mut self, before: u64) -> Result<(), LogDiskError> {
        self.attempt(|log| log.release_before(Sequence(before))).map(drop)
    }

    fn recover(&mut self) -> Result<Recovery<P>, LogDiskError> {
        let opening = match self.found.take() {
            Some(found) => found.map(Opening::Done),
            None => self.open(),
        };
        let opened = match opening? {
            Opening::Done(opened) => opened,
            Opening::Refused(why) => return Ok(Recovery::Refused { why }),
        };
        let loss = self.loss(&opened)?;
        let last = opened.last();
        let Opened { data_dir, log, durable } = *opened;
        self.appended = last;
        self.synced = last;
        self.log_id = Some(data_dir.log_id());
        self.outlived = self.vfs.harm();
        self.bad_reads = 0;
        self.open = Some((data_dir, log));
        Ok(Recovery::Found { durable, last, loss })
    }

    fn afflict(&mut self, fault: DiskFault, rng: &mut Rng) {
        match fault {
            DiskFault::FailSync => self.vfs.fail_next_sync(),
            DiskFault::FailReads { times } => self.bad_reads += times,
            DiskFault::Fill => {
                self.fills += 1;
                self.limit_room();
            }
            DiskFault::MakeRoom => {
                self.fills = self.fills.saturating_sub(1);
                self.limit_room();
            }
            DiskFault::Ruin(ruin) => self.be_ruined(ruin, rng),
        }
    }

    fn heal(&mut self) {
        self.fills = 0;
        self.bad_reads = 0;
        self.ruin = None;
        self.vfs.relent();
    }

    fn regain(&mut self) -> Result<bool, LogDiskError> {
        let Some((data_dir, _)) = self.open.as_mut().filter(|_| !self.has_failed) else {
            return Ok(false);
        };
        let errors = self.vfs.errors();
        match data_dir.regain_memory(&self.vfs) {
            Ok(()) => Ok(true),
            Err(_) if self.vfs.errors() > errors => {
                self.has_failed = true;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
