//! The write-ahead log: records of opaque bytes, numbered densely, durable after [`Log::sync`].
//!
//! # One batch
//!
//! [`Log::append`] copies a record into a buffer and touches no disk. [`Log::sync`] writes the
//! buffer in one piece over space that is already allocated and zeroed, and asks for one
//! `fdatasync`. Where the batch runs over the end of a segment, the first part is written and
//! synced first, then the next segment is opened, then the rest follows. The last write of a batch
//! is padded with zeros to a whole page, so that overwriting a recycled file never has to read the
//! old page first.
//!
//! # Segments
//!
//! Files of a fixed length, named by their index. Ahead of need a fresh one is filled with zeros a
//! piece at a time ([`Log::prepare_step`], and by itself during `sync` once the segment in use is
//! half full); the very first one is filled when the log is created. [`Log::release_before`] gives
//! up segments; a few are kept and used again as they are. Each life of a file has its own epoch,
//! which every record in it carries, so that what an earlier life has left there is never taken for
//! a record.
//!
//! # What recovery can tell, and what it cannot
//!
//! Every record carries how much of its segment was durable when it was written. With that,
//! [recovery](Log::open) tells a torn tail, which it cuts, from rot in what was once durable, which
//! it reports and never cuts. See [`LogError::Corrupt`].
//!
//! One window remains. The records of the *last* synced batch are vouched for only by what is
//! written after them: the next batch, the next segment, or a watermark. If the process dies before
//! any of these, and a record of that very batch then rots, it looks like a batch whose sync never
//! answered, and it is cut together with what follows it in that batch. [`Log::close`] and every
//! open write a watermark, and [`Log::write_watermark`] lets an idle caller do so; none of them can
//! help a batch that was the last thing before a crash. Nor can a last segment be missed whose file
//! someone has removed. A node that must survive these compares its log with its peers' before it
//! votes.
//!
//! # Failure
//!
//! Any failed write or sync is final: what is on the disk is not known any more, and a sync that
//! succeeds after one that failed says nothing about the first. The log answers
//! [`LogError::Poisoned`] from then on; the caller ends the process.

mod error;
mod pool;
mod record;
mod recovery;
mod segment;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;

pub use error::{LogError, Result};
pub use record::{LogId, RECORD_BYTES_MAX, Sequence};
pub use recovery::Recovered;

use error::Attempt;
use pool::Pool;
use record::{ALIGNMENT, Epoch, Kind, Stamp};
use recovery::Tail;
use segment::{HEADER_BYTES, Header, Index};

use crate::vfs::{SECTOR_BYTES, Vfs, VfsFile};

/// Batches end on such a boundary, so that the page cache never has to read what is overwritten.
const PAGE_BYTES: u64 = 4096;

/// How a log is kept. Begin with [`LogOptions::new`] and change what needs to be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogOptions {
    /// Which log this is. A log that is there must carry the same id.
    pub log_id: LogId,
    /// The length of each new segment: a multiple of 512, at least 1024. 64 MiB unless changed.
    pub segment_bytes: u64,
    /// How many released segments are kept for use again. 2 unless changed.
    pub free_segments_max: usize,
    /// A deliberate bug, for tests of the tests.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

/// Deliberate bugs, each of which a test of durability has to catch.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Recovery cuts one valid record too many when it meets a torn tail.
    LosesTail,
    /// `sync` answers without having synced.
    SkipsSync,
}

impl LogOptions {
    /// The defaults, for the log with this id.
    pub fn new(log_id: LogId) -> Self {
        Self {
            log_id,
            segment_bytes: 64 << 20,
            free_segments_max: 2,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    #[cfg(feature = "mutants")]
    fn loses_tail(&self) -> bool {
        self.mutant == Some(Mutant::LosesTail)
    }

    #[cfg(not(feature = "mutants"))]
    fn loses_tail(&self) -> bool {
        false
    }

    #[cfg(feature = "mutants")]
    fn skips_sync(&self) -> bool {
        self.mutant == Some(Mutant::SkipsSync)
    }

    #[cfg(not(feature = "mutants"))]
    fn skips_sync(&self) -> bool {
        false
    }
}

/// A write-ahead log in a directory of its own.
///
/// Its life: [`Log::open`] hands over what there is; then any number of [`append`](Log::append),
/// [`sync`](Log::sync) and [`release_before`](Log::release_before); then [`close`](Log::close), or
/// a crash.
///
/// Invariants:
/// - `durable < next`; records from `durable + 1` up to `next - 1` are in `buffer` and nowhere else.
/// - Every segment before the one in use is complete and durable.
/// - No record spans two segments.
#[derive(Debug)]
pub struct Log<V: Vfs> {
    vfs: V,
    dir: PathBuf,
    options: LogOptions,
    active: Active<V::File>,
    /// All segments with records that are not released, oldest first; the last is the one in use.
    retained: VecDeque<Retained>,
    pool: Pool<V::File>,
    /// Framed records that are not written yet. Reused.
    buffer: Vec<u8>,
    /// Where in `buffer` each further segment begins. Reused.
    cuts: Vec<Cut>,
    next: Sequence,
    durable: Sequence,
    /// Whether everything durable is vouched for by something after it.
    is_marked: bool,
    poison: Option<String>,
}

/// The segment in use.
#[derive(Debug)]
struct Active<F> {
    file: F,
    path: PathBuf,
    header: Header,
    /// How far the segment is written and durable.
    end: u64,
}

/// A segment that holds records which are not released.
#[derive(Clone, Copy, Debug)]
struct Retained {
    index: Index,
    first: Sequence,
    capacity: u64,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    at: usize,
    first: Sequence,
}

impl<V: Vfs> Log<V> {
    /// Opens the log in `dir`, or creates one there, and hands each of its records to `on_record`,
    /// in order.
    ///
    /// The records of one segment share one allocation: who keeps a small one for long should copy
    /// it. If this fails, what was handed over is to be forgotten; until it has returned, nothing
    /// may leave the node on account of a record.
    pub fn open(
        vfs: V,
        dir: impl Into<PathBuf>,
        options: LogOptions,
        mut on_record: impl FnMut(Sequence, Bytes),
    ) -> Result<(Self, Recovered)> {
        assert!(
            options.segment_bytes >= 2 * HEADER_BYTES
                && options.segment_bytes.is_multiple_of(SECTOR_BYTES),
            "a segment is some whole sectors long and has room for a record"
        );
        let dir = dir.into();
        vfs.create_dir_all(&dir).attempt("create directory", &dir)?;
        let tail = match recovery::recover(&vfs, &dir, &options, &mut on_record)? {
            Some(tail) => tail,
            None => create(&vfs, &dir, &options)?,
        };
        let recovered = tail.recovered;
        let mut log = Self {
            active: Active { file: tail.file, path: tail.path, header: tail.header, end: tail.end },
            retained: tail.retained,
            pool: tail.pool,
            buffer: Vec::new(),
            cuts: Vec::new(),
            next: tail.next,
            durable: recovered.last,
            is_marked: tail.is_marked,
            poison: None,
            vfs,
            dir,
            options,
        };
        log.write_watermark()?;
        Ok((log, recovered))
    }

    /// Takes a record into the next batch and returns its place. It is durable once a later
    /// [`Log::sync`] has returned that place or a later one. Refuses with [`LogError::TooLarge`]
    /// what is longer than [`Log::record_bytes_max`].
    pub fn append(&mut self, record: &[u8]) -> Result<Sequence> {
        self.append_parts(&[record])
    }

    /// Like [`Log::append`], for a record that lies in pieces.
    pub fn append_parts(&mut self, parts: &[&[u8]]) -> Result<Sequence> {
        self.check_alive()?;
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        let bytes_max = self.record_bytes_max();
        if bytes > bytes_max {
            return Err(LogError::TooLarge { bytes, bytes_max });
        }
        let sequence = self.next;
        self.push(Kind::Data, sequence, parts);
        self.next = sequence.next();
        self.is_marked = false;
        Ok(sequence)
    }

    /// Makes everything appended so far durable; returns the last record's place. Without anything
    /// new it returns at once. Any failure is final.
    pub fn sync(&mut self) -> Result<Sequence> {
        self.check_alive()?;
        if !self.buffer.is_empty() {
            let outcome = self.write_batch();
            self.note_failure(outcome)?;
            self.durable = Sequence(self.next.0 - 1);
        }
        Ok(self.durable)
    }

    /// Syncs, and then writes and syncs a mark that everything so far is durable, so that rot in it
    /// will be told from a torn tail (see the [module](self)). Free of cost if the mark is there.
    pub fn write_watermark(&mut self) -> Result<Sequence> {
        self.sync()?;
        if !self.is_marked {
            self.push(Kind::Watermark, self.durable, &[]);
            self.sync()?;
            self.is_marked = true;
        }
        Ok(self.durable)
    }

    /// Syncs and marks the log as closed in good order.
    pub fn close(mut self) -> Result<()> {
        self.write_watermark().map(drop)
    }

    /// Gives up the records before `sequence`, as far as they fill whole segments. When this
    /// returns that is durable.
    pub fn release_before(&mut self, sequence: Sequence) -> Result<()> {
        self.check_alive()?;
        // One directory sync for each segment and oldest first: were two pending at once, a crash
        // could keep the later removal and lose the earlier, which is a gap.
        while self.retained.len() > 1 && self.retained[1].first <= sequence {
            let released = self.retained.pop_front().expect("there are two");
            let outcome = self.pool.give(&self.vfs, released.index, released.capacity);
            self.note_failure(outcome)?;
        }
        Ok(())
    }

    /// Does one bounded piece of the work that has to be done before the next segment is needed,
    /// for callers with time to spare; returns whether more is left.
    pub fn prepare_step(&mut self) -> Result<bool> {
        self.check_alive()?;
        let outcome = self.pool.step(&self.vfs);
        self.note_failure(outcome)
    }

    /// The first record that the log still has, or will have.
    pub fn first(&self) -> Sequence {
        self.retained[0].first
    }

    /// The place of the next record to be appended.
    pub fn next(&self) -> Sequence {
        self.next
    }

    /// The last record that is durable.
    pub fn durable(&self) -> Sequence {
        self.durable
    }

    /// How many bytes are waiting for the next [`Log::sync`].
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The longest record that can be appended: a segment without its own and the record's header,
    /// and never more than [`RECORD_BYTES_MAX`].
    pub fn record_bytes_max(&self) -> u64 {
        let room = self.options.segment_bytes - HEADER_BYTES - record::HEADER_BYTES as u64;
        room.min(RECORD_BYTES_MAX)
    }

    fn push(&mut self, kind: Kind, sequence: Sequence, parts: &[&[u8]]) {
        let payload = parts.iter().map(|part| part.len()).sum();
        let framed = record::framed_bytes(payload) as u64;
        let (start, capacity) = self.last_piece();
        if start + framed > capacity {
            self.cuts.push(Cut { at: self.buffer.len(), first: self.next });
        }
        let stamp = Stamp { epoch: self.epoch(), kind, sequence, synced: self.synced_bytes() };
        record::frame(&mut self.buffer, self.options.log_id, stamp, parts);
    }

    /// How far the segment is filled in which the batch now ends, and how long that segment is.
    fn last_piece(&self) -> (u64, u64) {
        match self.cuts.last() {
            None => (self.active.end + self.buffer.len() as u64, self.active.header.capacity),
            Some(cut) => {
                (HEADER_BYTES + (self.buffer.len() - cut.at) as u64, self.options.segment_bytes)
            }
        }
    }

    /// The epoch of the segment in which the batch now ends.
    fn epoch(&self) -> Epoch {
        self.cuts.iter().fold(self.active.header.epoch, |epoch, _| epoch.next())
    }

    /// How much of the segment in which the batch now ends will be durable when it is written.
    fn synced_bytes(&self) -> u64 {
        if self.cuts.is_empty() { self.active.end } else { HEADER_BYTES }
    }

    fn write_batch(&mut self) -> Result<()> {
        let mut start = 0;
        for cut in 0..self.cuts.len() {
            let Cut { at, first } = self.cuts[cut];
            if start < at {
                self.write_piece(start, at)?;
            }
            self.rotate(first)?;
            start = at;
        }
        let length = self.buffer.len();
        let end = self.active.end + (length - start) as u64;
        let padded = end.next_multiple_of(PAGE_BYTES).min(self.active.header.capacity);
        self.buffer.resize(length + (padded - end) as usize, 0);
        self.write_piece(start, self.buffer.len())?;
        // The padding is room for the next batch and no part of this one.
        self.active.end = end;
        let written = length as u64;
        self.buffer.clear();
        self.cuts.clear();
        if self.active.end > self.active.header.capacity / 2 {
            self.pool.keep_pace(&self.vfs, written)?;
        }
        Ok(())
    }

    fn write_piece(&mut self, start: usize, end: usize) -> Result<()> {
        let active = &mut self.active;
        assert_eq!(active.end % ALIGNMENT as u64, 0, "a record must begin aligned");
        let piece = &self.buffer[start..end];
        active.file.write_at(piece, active.end).attempt("write", &active.path)?;
        if !self.options.skips_sync() {
            active.file.sync_data().attempt("sync", &active.path)?;
        }
        active.end += piece.len() as u64;
        Ok(())
    }

    /// Goes on to the next segment, which will begin with `first`. The one in use must be synced.
    fn rotate(&mut self, first: Sequence) -> Result<()> {
        let (file, path) = self.pool.take(&self.vfs)?;
        let header = Header {
            log_id: self.options.log_id,
            index: self.active.header.index.next(),
            first,
            epoch: self.active.header.epoch.next(),
            capacity: self.options.segment_bytes,
        };
        let path = segment::activate(&self.vfs, &self.dir, &file, &path, &header)?;
        self.active = Active { file, path, header, end: HEADER_BYTES };
        self.retained.push_back(Retained::of(&header));
        Ok(())
    }

    fn check_alive(&self) -> Result<()> {
        match &self.poison {
            None => Ok(()),
            Some(cause) => Err(LogError::Poisoned { dir: self.dir.clone(), cause: cause.clone() }),
        }
    }

    fn note_failure<T>(&mut self, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|error| self.poison = Some(error.to_string()))
    }
}

impl Retained {
    fn of(header: &Header) -> Self {
        Self { index: header.index, first: header.first, capacity: header.capacity }
    }
}

/// Creates the first segment of a log.
fn create<V: Vfs>(vfs: &V, dir: &Path, options: &LogOptions) -> Result<Tail<V::File>> {
    let mut pool = Pool::new(dir, options.segment_bytes, options.free_segments_max);
    // Once in a log's life nothing waits behind this, so the first segment is zeroed at once too.
    while pool.step(vfs)? {}
    let (file, path) = pool.take(vfs)?;
    let header = Header {
        log_id: options.log_id,
        index: Index(1),
        first: Sequence(1),
        epoch: Epoch(1),
        capacity: options.segment_bytes,
    };
    let path = segment::activate(vfs, dir, &file, &path, &header)?;
    let recovered =
        Recovered { first: Sequence(1), last: Sequence(0), zeroed_bytes: 0, is_new: true };
    Ok(Tail {
        file,
        path,
        header,
        end: HEADER_BYTES,
        next: Sequence(1),
        is_marked: true,
        retained: VecDeque::from([Retained::of(&header)]),
        pool,
        recovered,
    })
}
