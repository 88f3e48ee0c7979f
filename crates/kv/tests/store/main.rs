//! The store as its callers see it: etcd's answers rule by rule, and at random against a model too simple to be
//! wrong.

mod arbitrary;
mod ask;
mod auth;
mod compaction;
mod crashes;
mod model;
mod model_check;
mod prepared;
mod reads;
mod snapshots;
mod transactions;
mod validation;
mod wire;
mod writes;
