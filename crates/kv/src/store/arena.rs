//! Where new records of the store lie in memory, and their keys.
//!
//! Each put makes five strings of bytes. They are short, go to the engine together, and leave its memory together: so they
//! share a chunk, which is freed with the last of them.

use bytes::{Bytes, BytesMut};

/// How large a chunk is: no more than this stays in memory for the sake of one string.
const CHUNK_BYTES: usize = 32 << 10;

/// What is longer has memory of its own, so that little of a chunk is left over.
const SHARED_BYTES_MAX: usize = CHUNK_BYTES / 16;

/// The chunk that is being filled.
#[derive(Debug, Default)]
pub(super) struct Arena {
    chunk: BytesMut,
}

impl Arena {
    /// What `write` appends, which must be no more than so many bytes.
    pub(super) fn lay(&mut self, bytes_max: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        if bytes_max > SHARED_BYTES_MAX {
            let mut own = BytesMut::with_capacity(bytes_max);
            write(&mut own);
            return own.freeze();
        }
        if self.chunk.capacity() < bytes_max {
            self.chunk = BytesMut::with_capacity(CHUNK_BYTES);
        }
        write(&mut self.chunk);
        self.chunk.split().freeze()
    }
}
