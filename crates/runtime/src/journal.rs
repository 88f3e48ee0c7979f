//! A protocol's records in the log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quorate_core::Protocol;
use quorate_storage::log::{Log, LogError, LogOptions, Sequence};
use quorate_storage::vfs::Vfs;
use tracing::{info, warn};

use crate::codec::Codec;
use crate::error::DriverError;
use crate::metrics::Metrics;

/// How long after its last sync a log counts as resting.
const REST_AFTER: Duration = Duration::from_millis(500);
/// How long after it found no room on the disk the log tries again.
const ROOM_AFTER: Duration = Duration::from_millis(100);

/// The log of a node, and the buffer that records are encoded in.
pub(crate) struct Journal<V: Vfs> {
    log: Log<V>,
    buffer: BytesMut,
    /// The first failure to append; the next sync reports it.
    failure: Option<LogError>,
    metrics: Arc<Metrics>,
    last_sync: Instant,
    /// When to try again to write what there was no room for.
    retry_at: Option<Instant>,
}

impl<V: Vfs> Journal<V> {
    /// Opens the log and folds what it holds onto `durable`.
    pub(crate) fn open<P: Protocol, C: Codec<P>>(
        vfs: V,
        dir: PathBuf,
        options: LogOptions,
        mut durable: P::Durable,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, P::Durable), DriverError> {
        let mut undecodable = None;
        let (log, _) = Log::open(vfs, dir.clone(), options, |sequence, bytes| {
            // The log hands out slices of whole segments; a payload that is kept must not keep its segment.
            match C::decode_record(Bytes::copy_from_slice(&bytes)) {
                Ok(record) if undecodable.is_none() => {
                    P::fold(&mut durable, sequence.0, record);
                }
                Ok(_) => {}
                Err(error) => {
                    undecodable.get_or_insert((sequence, error));
                }
            }
        })?;
        if let Some((sequence, source)) = undecodable {
            return Err(DriverError::Record { dir, sequence, source });
        }
        let journal = Journal {
            log,
            buffer: BytesMut::new(),
            failure: None,
            metrics,
            last_sync: Instant::now(),
            retry_at: None,
        };
        Ok((journal, durable))
    }

    pub(crate) fn append<P: Protocol, C: Codec<P>>(&mut self, record: &P::Record) {
        self.buffer.clear();
        C::encode_record(record, &mut self.buffer);
        if let Err(error) = self.log.append(&self.buffer) {
            self.failure.get_or_insert(error);
        }
    }

    /// The number of the last durable record.
    pub(crate) fn last(&self) -> u64 {
        self.log.durable().0
    }

    /// Gives up the records before the one of this number.
    pub(crate) fn release(&mut self, before: u64) {
        // What is given up makes room.
        self.retry_at = self.retry_at.map(|_| Instant::now());
        if let Err(error) = self.log.release_before(Sequence(before)) {
            self.failure.get_or_insert(error);
        }
    }

    /// Makes all records durable. Returns the number of the last, or none if there is no room for them: then all are
    /// kept, and the call is to be repeated (see [`Journal::retry_at`]).
    pub(crate) fn sync(&mut self) -> Result<Option<u64>, DriverError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure.into());
        }
        let started = Instant::now();
        if self.retry_at.is_some_and(|retry_at| started < retry_at) {
            return Ok(None);
        }
        let outcome = self.log.sync();
        self.note_room();
        match outcome {
            Ok(last) => {
                self.retry_at = None;
                self.last_sync = Instant::now();
                self.metrics.synced(self.last_sync - started);
                Ok(Some(last.0))
            }
            Err(LogError::Full { .. }) => {
                self.retry_at = Some(started + ROOM_AFTER);
                Metrics::count(&self.metrics.syncs_put_off);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// When to call [`Journal::sync`] again, if the last call found no room.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// To be called when there is nothing to sync: marks a log that rests as durable to its end, so that rot there will
    /// never be taken for a torn tail, and does a bounded piece of the work that can be done ahead.
    pub(crate) fn rest(&mut self) -> Result<(), DriverError> {
        if self.last_sync.elapsed() >= REST_AFTER {
            let outcome = self.log.write_watermark().and_then(|_| self.log.prepare_step());
            self.note_room();
            match outcome {
                Ok(_) | Err(LogError::Full { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn note_room(&self) {
        let is_full = self.log.is_full();
        if self.metrics.note_disk_full(is_full) {
            if is_full {
                warn!("no room on the disk for more of the log; make room, and the node goes on");
            } else {
                info!("there is room on the disk again");
            }
        }
    }

    pub(crate) fn close(self) -> Result<(), DriverError> {
        Ok(self.log.close()?)
    }
}
