//! The database as a state machine: revisions, transactions, shards
