//! A protocol's records in the log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quorate_core::Protocol;
use quorate_storage::log::{Log, LogError, LogOptions, Sequence};
use quorate_storage::vfs::Vfs;

use crate::codec::Codec;
use crate::error::DriverError;
use crate::metrics::Metrics;

/// How long after its last sync a log counts as resting.
const REST_AFTER: Duration = Duration::from_millis(500);

/// The log of a node, and the buffer that records are encoded in.
pub(crate) struct Journal<V: Vfs> {
    log: Log<V>,
    buffer: BytesMut,
    /// The first failure to append; the next sync reports it.
    failure: Option<LogError>,
    metrics: Arc<Metrics>,
    last_sync: Instant,
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
        if let Err(error) = self.log.release_before(Sequence(before)) {
            self.failure.get_or_insert(error);
        }
    }

    /// Makes all records durable. Returns the number of the last.
    pub(crate) fn sync(&mut self) -> Result<u64, DriverError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure.into());
        }
        let started = Instant::now();
        let last = self.log.sync()?;
        self.last_sync = Instant::now();
        self.metrics.synced(self.last_sync - started);
        Ok(last.0)
    }

    /// To be called when there is nothing to sync: marks a log that rests as durable to its end, so that rot there will
    /// never be taken for a torn tail, and does a bounded piece of the work that can be done ahead.
    pub(crate) fn rest(&mut self) -> Result<(), DriverError> {
        if self.last_sync.elapsed() >= REST_AFTER {
            self.log.write_watermark()?;
            self.log.prepare_step()?;
        }
        Ok(())
    }

    pub(crate) fn close(self) -> Result<(), DriverError> {
        Ok(self.log.close()?)
    }
}
