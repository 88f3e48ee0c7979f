//! Drives a Host over TCP, timers and the log, with group commit
