//! The store as its callers see it: etcd's answers rule by rule, and at random against a model too simple to be
//! wrong.

mod arbitrary;
mod ask;
mod compaction;
mod model;
mod model_check;
mod reads;
mod transactions;
mod validation;
mod wire;
mod writes;
