//! Deterministic simulation: virtual time, network and disk with faults
