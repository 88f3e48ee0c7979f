//! Reading a log back: which records there are, what a crash has torn, and what has rotted since.
//!
//! Everything is read and judged before anything is changed, so that a refusal leaves the directory
//! as it was found. The judgement, in the order in which it is made:
//!
//! 1. Every segment but the last was synced whole before the next one got its name. Whatever is
//!    missing or bad in it *was* durable: corruption. So was a segment that is gone, between two
//!    others or, if the log has noted it, behind the last.
//! 2. In the last segment the valid records from its start up to the first bad place are the log.
//!    If any valid record beyond that place says that the segment was durable past it when that
//!    record was written, the place has rotted: corruption.
//! 3. Otherwise the bad place belongs to the last batch, whose sync never answered. It is a torn
//!    tail: everything from there on is zeroed, so that no remains can ever be taken for records.
//!
//! Then the part of the log that no record vouches for is written once more and synced. The caller
//! will act on what it was handed, so it has to be durable; and if a sync of it had failed before,
//! the operating system may serve these bytes from memory while the disk never got them, in which
//! case a sync alone would not write them either.
//!
//! All of this can be cut short at any point and done again: zeroing only ever removes what was
//! already judged torn, and rewriting changes no byte.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Retained;
use super::error::{Attempt, LogError, Result};
use super::options::LogOptions;
use super::pool::{Pool, write_zeros};
use super::reach::Reach;
use super::record::{self, ALIGNMENT, Found, Kind, Sequence};
use super::segment::{HEADER_BYTES, Header, Index, Name, Place, REACH_NAME};
use crate::mutant::Mutant;
use crate::vfs::{Vfs, VfsFile};

/// How much of the remains is looked at, and zeroed if need be, at a time.
const REMAINS_BYTES: usize = 1 << 16;

/// What opening a log has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The first record that the log still has; one past `last` if it has none.
    pub first: Sequence,
    /// The last record, which is durable like all before it.
    pub last: Sequence,
    /// How many bytes after the last record were zeroed: what a crash has torn, or what the earlier
    /// life of a recycled segment had left there.
    pub zeroed_bytes: u64,
    /// Whether there was no log and one was created.
    pub is_new: bool,
}

/// A log that was read back, ready to be appended to.
pub(super) struct Tail<F> {
    pub(super) file: F,
    pub(super) path: PathBuf,
    pub(super) header: Header,
    /// Where the next record goes.
    pub(super) end: u64,
    pub(super) next: Sequence,
    /// Whether the last thing in the log says that everything before it is durable.
    pub(super) is_marked: bool,
    pub(super) retained: VecDeque<Retained>,
    pub(super) pool: Pool<F>,
    pub(super) reach: Reach,
    pub(super) recovered: Recovered,
}

/// The log's directory, sorted by what its names stand for.
#[derive(Default)]
struct Listing {
    segments: Vec<Index>,
    free: Vec<Index>,
    /// The names of files that were going to become segments.
    preparing: Vec<String>,
    has_reach: bool,
}

/// One segment as it was read.
struct Segment<F> {
    file: F,
    path: PathBuf,
    header: Header,
    /// The first record of the whole log.
    log_first: Sequence,
    bytes: Bytes,
    /// The records up to the first bad place, watermarks included.
    found: Vec<Found>,
    /// The first bad place.
    end: usize,
    /// The sequence expected there.
    next: Sequence,
}

/// Reads the log in `dir` and hands over its records; `None` if there is none.
pub(super) fn recover<V: Vfs>(
    vfs: &V,
    dir: &Path,
    options: &LogOptions,
    on_record: &mut dyn FnMut(Sequence, Bytes),
) -> Result<Option<Tail<V::File>>> {
    let listing = Listing::read(vfs, dir)?;
    let reach = listing.read_reach(vfs, dir, options)?;
    let Some((&last, complete)) = listing.segments.split_last() else {
        // The segment in use is never released: where there are free files there was a log.
        let gone = reach.noted().or(listing.free.first().map(|index| index.next()));
        if let Some(index) = gone {
            let place = Place { readable_from: None, sequence: Sequence(1) };
            return Err(missing(dir, index, place));
        }
        // The very first segment was being made.
        Pool::new(dir, options.segment_bytes, 0).adopt(vfs, &[], &listing.preparing)?;
        return Ok(None);
    };

    let mut retained = VecDeque::new();
    let mut previous: Option<Segment<V::File>> = None;
    for &index in complete.iter().chain([&last]) {
        let segment = Segment::read(vfs, dir, index, options, previous.as_ref())?;
        if let Some(previous) = previous.take() {
            previous.check_complete(&segment.header)?;
            previous.hand_over(on_record);
        }
        retained.push_back(Retained::of(&segment.header));
        previous = Some(segment);
    }
    let mut segment = previous.expect("there is a last segment");
    if reach.noted().is_some_and(|noted| noted > last) {
        return Err(missing(dir, last.next(), segment.place()));
    }
    if !options.has(Mutant::CutsRot) {
        segment.check_torn()?;
    }

    let remains = segment.remains();
    if options.has(Mutant::LosesTail) && !remains.is_empty() {
        segment.lose_last_record();
    }
    segment.hand_over(on_record);
    let zeroed_bytes = segment.make_durable(&remains)?;
    let mut pool = Pool::new(dir, options.segment_bytes, options.free_segments_max);
    pool.adopt(vfs, &listing.free, &listing.preparing)?;
    // A process that was killed between a rename and the sync of it has left a name that can be
    // seen and is not durable.
    vfs.sync_dir(dir).attempt("sync directory", dir)?;

    let recovered = Recovered {
        first: retained[0].first,
        last: Sequence(segment.next.0 - 1),
        zeroed_bytes,
        is_new: false,
    };
    let is_marked = match segment.found.last() {
        Some(found) => found.stamp.kind == Kind::Watermark,
        // An empty segment vouches for all before it by being there.
        None => true,
    };
    Ok(Some(Tail {
        file: segment.file,
        path: segment.path,
        header: segment.header,
        end: segment.end as u64,
        next: segment.next,
        is_marked,
        retained,
        pool,
        reach,
        recovered,
    }))
}

impl Listing {
    fn read<V: Vfs>(vfs: &V, dir: &Path) -> Result<Self> {
        let mut listing = Self::default();
        for name in vfs.list(dir).attempt("list", dir)? {
            match Name::parse(&name) {
                Name::Segment(index) => listing.segments.push(index),
                Name::Free(index) => listing.free.push(index),
                Name::Preparing => listing.preparing.push(name),
                Name::Reach => listing.has_reach = true,
                Name::Foreign => {}
            }
        }
        // Zero-padded names sort like their numbers; the seam promises sorted names, but a gap that
        // is only a matter of order must not be taken for a missing segment.
        listing.segments.sort_unstable();
        Ok(listing)
    }

    fn read_reach<V: Vfs>(&self, vfs: &V, dir: &Path, options: &LogOptions) -> Result<Reach> {
        if !self.has_reach || options.has(Mutant::MissesNothing) {
            return Ok(Reach::default());
        }
        twice(&dir.join(REACH_NAME), || Reach::read(vfs, dir, options.log_id))
    }
}

impl<F: VfsFile> Segment<F> {
    fn read<V: Vfs<File = F>>(
        vfs: &V,
        dir: &Path,
        index: Index,
        options: &LogOptions,
        previous: Option<&Self>,
    ) -> Result<Self> {
        let nothing = Place { readable_from: None, sequence: Sequence(1) };
        let place = previous.map_or(nothing, Self::place);
        if let Some(previous) = previous
            && previous.header.index.next() != index
        {
            return Err(missing(dir, previous.header.index.next(), place));
        }
        let path = index.path(dir);
        let (file, bytes) = twice(&path, || {
            let file = vfs.open(&path)?;
            let length = usize::try_from(file.len()?).expect("a segment fits into memory");
            let mut bytes = vec![0; length];
            file.read_at(&mut bytes, 0)?;
            Ok((file, bytes))
        })?;
        let header = Header::decode(&path, &bytes, (options.log_id, index, place))?;
        let log_first = place.readable_from.unwrap_or(header.first);
        if previous.is_some_and(|previous| previous.header.epoch >= header.epoch) {
            let what = "its epoch is not later than the segment's before it";
            return Err(LogError::NotALog { file: path, what });
        }

        let (mut found, mut end, mut next) = (Vec::new(), HEADER_BYTES as usize, header.first);
        while let Some(record) = record::find(&bytes, end, options.log_id, header.epoch) {
            let (expected, after) = match record.stamp.kind {
                Kind::Data => (next, next.next()),
                Kind::Watermark => (Sequence(next.0 - 1), next),
            };
            if record.stamp.sequence != expected {
                break;
            }
            end = record.end;
            next = after;
            found.push(record);
        }
        Ok(Self { file, path, header, log_first, bytes: bytes.into(), found, end, next })
    }

    /// Judges a segment that another one follows.
    fn check_complete(&self, following: &Header) -> Result<()> {
        if self.next == following.first {
            return Ok(());
        }
        let what = format!(
            "no valid record is there, although the next segment begins with record {}",
            following.first
        );
        Err(self.corrupt(what))
    }

    /// Judges the last segment: is what lies beyond its records a torn tail?
    fn check_torn(&self) -> Result<()> {
        let mut offset = self.end + ALIGNMENT;
        while offset < self.bytes.len() {
            let record = record::find(&self.bytes, offset, self.header.log_id, self.header.epoch);
            let Some(record) = record else {
                offset += ALIGNMENT;
                continue;
            };
            if record.stamp.synced > self.end as u64 {
                let what = format!(
                    "no valid record is there, although record {} at byte {offset} was written \
                     when the first {} bytes were durable",
                    record.stamp.sequence, record.stamp.synced
                );
                return Err(self.corrupt(what));
            }
            offset = record.end;
        }
        Ok(())
    }

    fn corrupt(&self, what: String) -> LogError {
        LogError::Corrupt {
            file: self.path.clone(),
            offset: self.end as u64,
            sequence: self.next,
            readable_from: Some(self.log_first),
            what,
        }
    }

    /// Where the log is whole up to, as far as this segment goes.
    fn place(&self) -> Place {
        Place { readable_from: Some(self.log_first), sequence: self.next }
    }

    fn hand_over(&self, on_record: &mut dyn FnMut(Sequence, Bytes)) {
        for found in self.found.iter().filter(|found| found.stamp.kind == Kind::Data) {
            on_record(found.stamp.sequence, self.bytes.slice(found.payload.clone()));
        }
    }

    /// The pieces beyond the records in which anything but zeros lies.
    fn remains(&self) -> Vec<std::ops::Range<usize>> {
        let mut remains: Vec<std::ops::Range<usize>> = Vec::new();
        let mut start = self.end;
        while start < self.bytes.len() {
            let end = (start + REMAINS_BYTES).min(self.bytes.len());
            if self.bytes[start..end].iter().any(|&byte| byte != 0) {
                remains.push(start..end);
            }
            start = end;
        }
        remains
    }

    /// Zeroes what lies beyond the records and makes sure that the records are on the disk; returns
    /// how many bytes were zeroed.
    fn make_durable(&self, remains: &[std::ops::Range<usize>]) -> Result<u64> {
        for range in remains {
            write_zeros(&self.file, range.start as u64, range.end as u64)
                .attempt("zero the torn tail of", &self.path)?;
        }
        let vouched = self.found.last().map_or(HEADER_BYTES, |found| found.stamp.synced);
        let unvouched = usize::try_from(vouched).unwrap_or(self.end).min(self.end)..self.end;
        self.file
            .write_at(&self.bytes[unvouched.clone()], unvouched.start as u64)
            .attempt("write again the last records of", &self.path)?;
        self.file.sync_data().attempt("sync", &self.path)?;
        Ok(remains.iter().map(|range| range.len() as u64).sum())
    }

    /// The deliberate bug of [`Mutant::LosesTail`](super::Mutant::LosesTail).
    fn lose_last_record(&mut self) {
        while let Some(lost) = self.found.pop() {
            self.end = lost.payload.start - record::HEADER_BYTES;
            if lost.stamp.kind == Kind::Data {
                self.next = lost.stamp.sequence;
                break;
            }
        }
    }
}

fn missing(dir: &Path, index: Index, place: Place) -> LogError {
    let Place { readable_from, sequence } = place;
    LogError::Missing { file: index.path(dir), sequence, readable_from }
}

/// Reads a file, and if that fails once more: some failures pass, and what is read is checked.
fn twice<T>(file: &Path, mut read: impl FnMut() -> io::Result<T>) -> Result<T> {
    let unreadable = |source| LogError::Unreadable { file: file.to_owned(), source };
    read().or_else(|_| read()).map_err(unreadable)
}
