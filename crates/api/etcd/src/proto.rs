//! The wire format: messages and clients, generated from `proto/`.
//!
//! Field numbers and names are etcd's; that is what makes a stock client understand them.

/// What keys hold.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code answers to its generator's style"
)]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Permissions.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code answers to its generator's style"
)]
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// The requests, the answers, and the clients of each service.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code answers to its generator's style"
)]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// Locks.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code answers to its generator's style"
)]
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// Elections.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code answers to its generator's style"
)]
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}
