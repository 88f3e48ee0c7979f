//! The file-system seam, the write-ahead log and the lock on a data directory
