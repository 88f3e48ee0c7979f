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
//! help a batch that was the last thing before a crash. Nothing that a batch says of itself closes
//! that window: a checksum over the whole batch, or the number of its records, tells that it is not
//! whole, which is what a torn batch and a rotten one have in common. What lies in a sector that
//! should hold the batch tells them apart only where it was zeros before, and not in a segment that
//! is used again. Only a second write, after the sync, could vouch for the first.
//!
//! Three more things look like health from here, since the log that is found is whole: a disk whose
//! older copy was put in its place, a disk that was emptied, and a last batch that the disk has
//! acknowledged and never written, or written elsewhere. (Written elsewhere, or not at all, and then
//! followed by another batch, it is found out.) A node that must survive these compares its log with
//! its peers' before it votes.
//!
//! A last segment whose file is gone is missed: see `reach.rs`. Until the log has noted that it went
//! on to that segment, which it does once that is half full, when it rests, and when it is opened,
//! it is not.
//!
//! # A full disk
//!
//! Segments are allocated ahead, so that only a new one needs room. A batch that needs a segment for
//! which there is no room is not begun: [`Log::sync`] answers [`LogError::Full`], keeps the batch,
//! and takes it up again when it is called again. Of a segment that is half full the next one is
//! allocated; if that fails, [`Log::is_full`] says so while there is still room for what is under
//! way, and [`Log::has_room`] says for how much. Room comes back as segments are released, or when
//! someone makes some.
//!
//! # Failure
//!
//! Any other failed write, and any failed sync, is final: what is on the disk is not known any more,
//! and a sync that succeeds after one that failed says nothing about the first. The log answers
//! [`LogError::Poisoned`] from then on; the caller ends the process.

mod error;
mod options;
mod pool;
mod reach;
mod record;
mod recovery;
mod segment;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;

#[cfg(feature = "mutants")]
pub use crate::mutant::Mutant;
pub use error::{LogError, Result};
pub use options::LogOptions;
pub use record::{LogId, RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES_MAX, Sequence};
pub use recovery::Recovered;

use error::Attempt;
use pool::Pool;
use reach::Reach;
use record::{ALIGNMENT, Epoch, Kind, Stamp};
use recovery::Tail;
use segment::{HEADER_BYTES, Header, Index};

#[cfg(not(feature = "mutants"))]
use crate::mutant::Mutant;
use crate::vfs::{SECTOR_BYTES, Vfs, VfsFile};

/// Batches end on such a boundary, so that the page cache never has to read what is overwritten.
const PAGE_BYTES: u64 = 4096;

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
    reach: Reach,
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
            reach: tail.reach,
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
        match log.write_watermark() {
            // A log that cannot be marked can be read, and be written to as far as there is room.
            Err(LogError::Full { .. }) => {}
            outcome => drop(outcome?),
        }
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
    /// new it returns at once. [`LogError::Full`] leaves everything as it was, to be tried again;
    /// any other failure is final.
    pub fn sync(&mut self) -> Result<Sequence> {
        self.check_alive()?;
        if !self.buffer.is_empty() {
            let outcome = self.write_batch();
            if self.options.has(Mutant::IgnoresFull)
                && matches!(outcome, Err(LogError::Full { .. }))
            {
                self.buffer.clear();
                self.cuts.clear();
            } else {
                self.note_failure(outcome)?;
            }
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
            let outcome = self.sync();
            if matches!(outcome, Err(LogError::Full { .. })) {
                // The mark was all that there was. Another one is made when it is tried again.
                self.buffer.clear();
                self.cuts.clear();
            }
            outcome?;
            self.is_marked = true;
        }
        self.note_reach()?;
        Ok(self.durable)
    }

    /// Syncs and marks the log as closed in good order, if there is room for the mark.
    pub fn close(mut self) -> Result<()> {
        self.sync()?;
        match self.write_watermark() {
            Err(LogError::Full { .. }) => Ok(()),
            outcome => outcome.map(drop),
        }
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
    /// for callers with time to spare; returns whether more is left. [`LogError::Full`] leaves
    /// everything as it was, to be tried again.
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

    /// Whether there was no room for the next segment when it was last tried to allocate one. What is
    /// left of the segment in use is for what is under way; the moment to take in nothing more.
    pub fn is_full(&self) -> bool {
        self.pool.is_full()
    }

    /// Whether records of so many bytes in all, each of them counted with
    /// [`RECORD_OVERHEAD_BYTES_MAX`], fit in after those that wait, as far as is known: as long as no
    /// segment was refused room, anything does.
    pub fn has_room(&self, bytes: u64) -> bool {
        if !self.is_full() {
            return true;
        }
        let (start, capacity) = self.last_piece();
        let ready = self.pool.ready().saturating_sub(self.cuts.len()) as u64;
        let room = (capacity - start) + ready * (self.options.segment_bytes - HEADER_BYTES);
        // A mark that everything is durable is to fit in as well.
        bytes + record::HEADER_BYTES as u64 <= room
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
        // All the room that the batch needs comes first, so that a full disk is met before anything
        // has changed.
        self.pool.reserve(&self.vfs, self.cuts.len())?;
        let mut start = 0;
        for cut in 0..self.cuts.len() {
            let Cut { at, first } = self.cuts[cut];
            if start < at {
                self.write_piece(start, at, cut == 0)?;
            }
            self.rotate(first)?;
            start = at;
        }
        let length = self.buffer.len();
        let end = self.active.end + (length - start) as u64;
        let padded = end.next_multiple_of(PAGE_BYTES).min(self.active.header.capacity);
        self.buffer.resize(length + (padded - end) as usize, 0);
        let written = self.write_piece(start, self.buffer.len(), self.cuts.is_empty());
        self.buffer.truncate(length);
        written?;
        // The padding is room for the next batch and no part of this one.
        self.active.end = end;
        self.buffer.clear();
        self.cuts.clear();
        if self.active.end > self.active.header.capacity / 2 {
            self.prepare_ahead(length as u64)?;
        }
        Ok(())
    }

    /// Writes and syncs a piece of the batch. If it is the first one and there is no room for it (on
    /// a file system that takes room even for what is overwritten), nothing has happened.
    fn write_piece(&mut self, start: usize, end: usize, is_first: bool) -> Result<()> {
        let active = &mut self.active;
        assert_eq!(active.end % ALIGNMENT as u64, 0, "a record must begin aligned");
        let piece = &self.buffer[start..end];
        let written = active.file.write_at(piece, active.end);
        if is_first {
            written.attempt_in_room("write", &active.path)?;
        } else {
            written.attempt("write", &active.path)?;
        }
        if !self.options.has(Mutant::SkipsSync) {
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
        if !self.options.has(Mutant::ForgetsDirectory) {
            self.vfs.sync_dir(&self.dir).attempt("sync directory", &self.dir)?;
        }
        self.active = Active { file, path, header, end: HEADER_BYTES };
        self.retained.push_back(Retained::of(&header));
        Ok(())
    }

    /// Does what has to be done before the next segment is needed, in pace with a batch that is
    /// durable already: a full disk is no failure of that.
    fn prepare_ahead(&mut self, written: u64) -> Result<()> {
        if self.reach.is_behind(self.active.header.index) {
            return self.note_reach();
        }
        match self.pool.keep_pace(&self.vfs, written) {
            Err(LogError::Full { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    fn note_reach(&mut self) -> Result<()> {
        let index = self.active.header.index;
        let outcome = self.reach.note(&self.vfs, &self.dir, self.options.log_id, index);
        self.note_failure(outcome)
    }

    fn check_alive(&self) -> Result<()> {
        match &self.poison {
            None => Ok(()),
            Some(cause) => Err(LogError::Poisoned { dir: self.dir.clone(), cause: cause.clone() }),
        }
    }

    fn note_failure<T>(&mut self, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|error| {
            if !matches!(error, LogError::Full { .. }) {
                self.poison = Some(error.to_string());
            }
        })
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
    vfs.sync_dir(dir).attempt("sync directory", dir)?;
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
        reach: Reach::default(),
        recovered,
    })
}
