//! The catalogue of protocols, each a deterministic state machine without I/O
