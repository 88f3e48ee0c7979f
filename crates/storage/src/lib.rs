//! What a node keeps on its disk, and the seam through which it is kept.

pub mod vfs;

pub use vfs::{DiskVfs, MemoryVfs, Vfs, VfsFile};
