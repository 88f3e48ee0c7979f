//! The kernel: ids, time, Protocol, Out, Host and quorums
