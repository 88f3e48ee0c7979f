//! How the log of a simulated node opens, and what becomes of one that doesn't.

use std::path::Path;

use bytes::Bytes;
use quorate_core::Protocol;
use quorate_storage::data_dir::{Identity, Origin};
use quorate_storage::{DataDir, DataDirError, Log, LogId, MemoryVfs, Sequence};

use super::{LogDisk, LogDiskError, RecordCodec};
use crate::disk::Loss;

const DIRECTORY: &str = "/node";
const IDENTITY: Identity = Identity { cluster_id: 1, node_id: 1, origin: Origin::Founded };

/// What an opening has found.
pub(super) struct Opened<P: Protocol> {
    pub(super) data_dir: DataDir<MemoryVfs>,
    pub(super) log: Log<MemoryVfs>,
    pub(super) durable: P::Durable,
}

/// How an opening ended.
pub(super) enum Opening<P: Protocol> {
    Done(Box<Opened<P>>),
    /// A fault was in the way that may pass.
    Refused(String),
}

impl<P: Protocol> Opened<P> {
    /// The number of the last record.
    pub(super) fn last(&self) -> u64 {
        self.log.durable().0
    }
}

/// Why an opening failed.
enum Failed {
    Fault(String),
    Itself(LogDiskError),
}

impl<P: Protocol, C: RecordCodec<P>> LogDisk<P, C> {
    pub(super) fn open(&mut self) -> Result<Opening<P>, LogDiskError> {
        match self.open_or_begin_anew() {
            Ok(opened) => Ok(Opening::Done(Box::new(opened))),
            Err(Failed::Fault(why)) => Ok(Opening::Refused(why)),
            Err(Failed::Itself(error)) => Err(error),
        }
    }

    /// What an opening shows to be lost of what the last boot has left; an error if nothing explains it.
    pub(super) fn loss(&self, opened: &Opened<P>) -> Result<Option<Loss>, LogDiskError> {
        let is_another_log = self.log_id.is_some_and(|log_id| log_id != opened.data_dir.log_id());
        let (synced, found) = (self.synced, opened.last());
        if is_another_log && opened.data_dir.memory_lost().is_some() {
            Ok(Some(Loss::Known))
        } else if found >= synced && !is_another_log {
            Ok(None)
        } else if self.is_marred() {
            Ok((synced > 0).then_some(Loss::Unknown))
        } else {
            Err(LogDiskError::Lost { synced, found })
        }
    }

    fn open_or_begin_anew(&mut self) -> Result<Opened<P>, Failed> {
        let mut data_dir = self.open_data_dir()?;
        let errors = self.vfs.errors();
        match self.open_log(&data_dir) {
            Ok((log, durable)) => Ok(Opened { data_dir, log, durable }),
            Err(LogDiskError::Log(error))
                if error.is_damage() && self.is_marred() && self.vfs.errors() == errors =>
            {
                self.set_aside(&mut data_dir, &error)?;
                let (log, durable) =
                    self.open_log(&data_dir).map_err(|error| self.blame(errors, error))?;
                Ok(Opened { data_dir, log, durable })
            }
            Err(error) => Err(self.blame(errors, error)),
        }
    }

    /// Opens the data directory. If what says whose it is has rotted, does what the message asks of a person: removes
    /// it, and has the node begin anew.
    fn open_data_dir(&mut self) -> Result<DataDir<MemoryVfs>, Failed> {
        let errors = self.vfs.errors();
        match self.try_data_dir() {
            Ok(data_dir) => Ok(data_dir),
            Err(error @ (DataDirError::Corrupt { .. } | DataDirError::NotADataDir { .. }))
                if self.is_marred() && self.vfs.errors() == errors =>
            {
                self.vfs.wipe();
                let data_dir = self.try_data_dir();
                let mut data_dir = data_dir.map_err(|error| self.blame(errors, error))?;
                self.set_aside(&mut data_dir, &error)?;
                Ok(data_dir)
            }
            Err(error) => Err(self.blame(errors, error)),
        }
    }

    fn try_data_dir(&mut self) -> Result<DataDir<MemoryVfs>, DataDirError> {
        let log_id = self.next_log_id();
        DataDir::open(&self.vfs, Path::new(DIRECTORY), &IDENTITY, log_id)
    }

    fn set_aside(
        &mut self,
        data_dir: &mut DataDir<MemoryVfs>,
        why: &dyn std::fmt::Display,
    ) -> Result<(), Failed> {
        let (errors, log_id) = (self.vfs.errors(), self.next_log_id());
        let aside = data_dir.set_aside(&self.vfs, log_id, &why.to_string());
        aside.map(drop).map_err(|error| self.blame(errors, error))
    }

    fn open_log(
        &self,
        data_dir: &DataDir<MemoryVfs>,
    ) -> Result<(Log<MemoryVfs>, P::Durable), LogDiskError> {
        let base = match &self.lost_base {
            Some(lost_base) if data_dir.memory_lost().is_some() => lost_base,
            _ => &self.base,
        };
        let mut durable = base();
        let mut unreadable = None;
        let fold = |sequence: Sequence, bytes: Bytes| match self.codec.decode(bytes) {
            Ok(record) => P::fold(&mut durable, sequence.0, record),
            Err(error) => {
                unreadable.get_or_insert((sequence.0, error.to_string()));
            }
        };
        let mut options = self.options.clone();
        options.log_id = data_dir.log_id();
        let (log, _) = Log::open(self.vfs.clone(), data_dir.log_dir(), options, fold)?;
        match unreadable {
            None => Ok((log, durable)),
            Some((sequence, why)) => Err(LogDiskError::Unreadable { sequence, why }),
        }
    }

    /// Tells a failure that the disk was made to return from one of the log's own.
    fn blame<E>(&self, errors_before: u64, error: E) -> Failed
    where
        LogDiskError: From<E>,
    {
        let error = LogDiskError::from(error);
        if self.vfs.errors() > errors_before {
            Failed::Fault(error.to_string())
        } else {
            Failed::Itself(error)
        }
    }

    fn next_log_id(&mut self) -> LogId {
        self.logs += 1;
        LogId(self.logs)
    }
}
