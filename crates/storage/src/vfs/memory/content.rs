//! What one file of a [`MemoryVfs`](super::MemoryVfs) holds: the bytes as readers see them, and how
//! to take back each change that no sync has made durable.
//!
//! Keeping the changes and not a second copy of the file makes thousands of simulated disks cheap:
//! a change costs its own size, and only until the next sync.

use std::io;

use crate::vfs::SECTOR_BYTES;

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    bytes: Vec<u8>,
    /// Changes since the last sync, oldest first, and doomed ones from before it.
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
struct Change {
    length_before: usize,
    kind: Kind,
    /// A sync of this change has failed: it can be read, and will never be durable.
    is_doomed: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Write { offset: usize, before: Vec<u8>, after: Vec<u8> },
    Length { to: usize, removed: Vec<u8> },
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buffer.len());
        let found = self.bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    pub(super) fn write(&mut self, data: &[u8], offset: u64) {
        let offset = index(offset);
        let length_before = self.bytes.len();
        self.reach(offset + data.len());
        let target = &mut self.bytes[offset..offset + data.len()];
        let kind = Kind::Write { offset, before: target.to_vec(), after: data.to_vec() };
        target.copy_from_slice(data);
        self.changes.push(Change { length_before, kind, is_doomed: false });
    }

    pub(super) fn set_len(&mut self, bytes: u64) {
        let to = index(bytes);
        let length_before = self.bytes.len();
        let removed = self.bytes.get(to..).unwrap_or_default().to_vec();
        self.bytes.resize(to, 0);
        let kind = Kind::Length { to, removed };
        self.changes.push(Change { length_before, kind, is_doomed: false });
    }

    pub(super) fn sync(&mut self) {
        if self.changes.iter().any(|change| change.is_doomed) {
            // A doomed change will be taken back at the next crash, and must not take with it what
            // was written over it since and is durable now.
            for later in 0..self.changes.len() {
                let (earlier, rest) = self.changes.split_at_mut(later);
                if !rest[0].is_doomed {
                    for change in earlier.iter_mut().filter(|change| change.is_doomed) {
                        change.spare(&rest[0]);
                    }
                }
            }
        }
        self.changes.retain(|change| change.is_doomed);
    }

    pub(super) fn fail_sync(&mut self) {
        for change in &mut self.changes {
            change.is_doomed = true;
        }
    }

    pub(super) fn has_unsynced_write(&self) -> bool {
        self.changes.iter().any(Change::is_live_write)
    }

    /// Has the oldest write that waits for a sync be read, and never be durable; returns its data.
    pub(super) fn doom_oldest_write(&mut self) -> Vec<u8> {
        let Some(change) = self.changes.iter_mut().find(|change| change.is_live_write()) else {
            return Vec::new();
        };
        change.is_doomed = true;
        match &change.kind {
            Kind::Write { after, .. } => after.clone(),
            Kind::Length { .. } => Vec::new(),
        }
    }

    /// Has readers see what the disk has, and what still waits for a sync, but no doomed change.
    pub(super) fn drop_doomed(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        for change in changes.iter().rev() {
            self.undo(change);
        }
        for change in changes.into_iter().filter(|change| !change.is_doomed) {
            match change.kind {
                Kind::Write { offset, after, .. } => self.write(&after, offset as u64),
                Kind::Length { to, .. } => self.set_len(to as u64),
            }
        }
    }

    pub(super) fn corrupt(&mut self, offset: u64, xor: u8) {
        assert!(offset < self.len(), "the byte to corrupt lies beyond the file's end");
        self.alter(index(offset), |byte| *byte ^= xor);
    }

    /// Puts data where it lies at once, as far as the file reaches, whatever is synced or not.
    pub(super) fn overwrite_durably(&mut self, data: &[u8], offset: u64) {
        let offset = index(offset);
        let reach = self.bytes.len().saturating_sub(offset).min(data.len());
        for (at, new) in (offset..).zip(&data[..reach]) {
            self.alter(at, |byte| *byte = *new);
        }
    }

    /// Changes a byte in every version of it that a crash could leave.
    fn alter(&mut self, offset: usize, change_byte: impl Fn(&mut u8)) {
        change_byte(&mut self.bytes[offset]);
        for change in &mut self.changes {
            if let Kind::Write { offset: start, before, after } = &mut change.kind
                && (*start..*start + after.len()).contains(&offset)
            {
                change_byte(&mut before[offset - *start]);
                change_byte(&mut after[offset - *start]);
            }
        }
    }

    pub(super) fn crash(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        let changes = std::mem::take(&mut self.changes);
        for change in changes.iter().rev() {
            self.undo(change);
        }
        for change in changes.iter().filter(|change| !change.is_doomed) {
            self.redo_some(change, choose);
        }
    }

    fn undo(&mut self, change: &Change) {
        match &change.kind {
            Kind::Write { offset, before, .. } => {
                self.reach(offset + before.len());
                self.bytes[*offset..offset + before.len()].copy_from_slice(before);
            }
            Kind::Length { to, removed } => {
                self.reach(to + removed.len());
                self.bytes[*to..to + removed.len()].copy_from_slice(removed);
            }
        }
        self.bytes.resize(change.length_before, 0);
    }

    fn redo_some(&mut self, change: &Change, choose: &mut dyn FnMut(u64) -> u64) {
        match &change.kind {
            Kind::Write { offset, after, .. } => {
                for surviving in survivors(*offset, after.len(), choose) {
                    self.reach(surviving.end);
                    self.bytes[surviving.clone()]
                        .copy_from_slice(&after[surviving.start - offset..surviving.end - offset]);
                }
            }
            Kind::Length { to, .. } => {
                if choose(2) == 1 {
                    self.bytes.resize(*to, 0);
                }
            }
        }
    }

    fn reach(&mut self, length: usize) {
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
    }
}

impl Change {
    fn is_live_write(&self) -> bool {
        !self.is_doomed && matches!(self.kind, Kind::Write { .. })
    }

    /// Makes taking back this change leave `durable`, a later one, as it is.
    fn spare(&mut self, durable: &Change) {
        match (&mut self.kind, &durable.kind) {
            (Kind::Write { offset, before, .. }, Kind::Write { offset: start, after, .. }) => {
                let from = (*offset).max(*start);
                let to = (*offset + before.len()).min(*start + after.len());
                if from < to {
                    before[from - *offset..to - *offset]
                        .copy_from_slice(&after[from - *start..to - *start]);
                }
                self.length_before = self.length_before.max(*start + after.len());
            }
            (Kind::Length { .. }, Kind::Write { offset: start, after, .. }) => {
                self.length_before = self.length_before.max(*start + after.len());
            }
            (_, Kind::Length { to, .. }) => self.length_before = *to,
        }
    }
}

/// The parts of a write that a crash spares: none, all, one side of a sector boundary, or any sectors.
fn survivors(
    offset: usize,
    length: usize,
    choose: &mut dyn FnMut(u64) -> u64,
) -> Vec<std::ops::Range<usize>> {
    let sector = index(SECTOR_BYTES);
    let end = offset + length;
    let boundaries = (end.saturating_sub(1) / sector).saturating_sub(offset / sector);
    let boundary = |number: usize| (offset / sector + number) * sector;
    match choose(if boundaries == 0 { 2 } else { 4 }) {
        0 => Vec::new(),
        1 => std::iter::once(offset..end).collect(),
        2 => {
            let boundary = boundary(1 + index(choose(boundaries as u64)));
            let spared = if choose(2) == 0 { offset..boundary } else { boundary..end };
            std::iter::once(spared).collect()
        }
        _ => {
            let sectors = (0..=boundaries)
                .map(|number| boundary(number).max(offset)..boundary(number + 1).min(end));
            sectors.filter(|_| choose(2) == 1).collect()
        }
    }
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a file in memory is addressable")
}
