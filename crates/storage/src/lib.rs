//! What a node keeps on its disk.
//!
//! # What lives here
//!
//! - [`vfs`]: the seam to the file system. [`DiskVfs`] is the operating system's; [`MemoryVfs`] keeps
//!   what was synced and loses, tears and rots the rest, as told.
//! - [`log`]: the segmented write-ahead log. It stores records of opaque bytes under dense
//!   [`Sequence`] numbers, makes a batch durable with one write and one `fdatasync`, and on opening
//!   tells a torn tail, which is cut, from rot in what was durable, which is reported.
//! - [`data_dir`]: the lock on a data directory, the file that says whose it is, and the mark of a
//!   node that has lost its memory.
//!
//! # What never may
//!
//! - What a record *means*. Groups, terms, entries and snapshots are the caller's.
//! - Threads, clocks, randomness, and any order that differs between two runs: the simulator runs
//!   this very code on a disk of its own and must see the same bytes each time. What has to be random
//!   (a log's id) is handed in.
//! - A touch of the disk that does not go through [`Vfs`].
//! - A second try after a failed write or sync. What is on the disk is not known any more; the log
//!   refuses everything from then on, and the process ends. A full disk is not such a failure: it is
//!   met before anything was written, and a second try is what it waits for.
//!
//! # The contract, in five sentences
//!
//! What [`Log::sync`] has answered survives any crash, byte for byte. What was appended after it
//! survives up to some record and not beyond: recovery hands over a prefix of what was appended,
//! never a gap. Recovery may be cut short anywhere and done again. Rot in what was durable is
//! reported with the file and the place, and nothing is changed on the disk; the one window in
//! which rot looks like a torn tail is described in [`log`]. Tests under `tests/` hold the
//! code to each of these; the bugs behind the feature `mutants` show that the first can fail.
//!
//! # What a disk can do, and what is done about it
//!
//! | the disk | the log |
//! |---|---|
//! | tears, loses or reorders what was not synced | cuts it |
//! | rots, loses or misdirects a write, a file is gone | [`LogError::Corrupt`], [`LogError::Missing`], [`LogError::NotALog`]; nothing is touched; [`DataDir::set_aside`] |
//! | does so to the last batch, and dies | takes it for torn: the window described in [`log`] |
//! | is an older copy of itself, or empty | does not notice |
//! | fails a sync, or a write | [`LogError::Io`], then [`LogError::Poisoned`]; the process ends |
//! | fails a read | reads again, then [`LogError::Unreadable`] |
//! | is full | [`LogError::Full`]; keeps the batch, and goes on once there is room |
//! | is slow | waits |
//!
//! # What to open first
//!
//! 1. `src/log.rs`: the life of a record, from `append` to `sync`.
//! 2. `src/log/recovery.rs`: how a torn tail is told from rot.
//! 3. `tests/crashes.rs`: what must hold, whatever the disk does.
//!
//! How long a sync takes on a given disk, beside the same writes without the log:
//! `cargo run --release -p quorate-storage --example sync_latency -- DIRECTORY`.

pub mod data_dir;
pub mod log;
mod mutant;
pub mod vfs;

pub use data_dir::{DataDir, DataDirError, Identity, MemoryLost, Origin, Restoring};
pub use log::{Log, LogError, LogId, LogOptions, Recovered, Sequence};
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use vfs::{DiskVfs, MemoryVfs, Vfs, VfsFile};
