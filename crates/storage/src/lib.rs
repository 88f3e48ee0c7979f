//! What a node keeps on its disk: the seam to the file system and the write-ahead log.

pub mod log;
pub mod vfs;

#[cfg(feature = "mutants")]
pub use log::Mutant;
pub use log::{Log, LogError, LogId, LogOptions, Recovered, Sequence};
pub use vfs::{DiskVfs, MemoryVfs, Vfs, VfsFile};
