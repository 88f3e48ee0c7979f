//! How snapshots look on the wire: what they stand for, and their pieces.

use std::sync::Arc;

use bytes::Bytes;
use quorate_core::NodeId;
use quorate_protocols::consensus::raft::{self, Index, InstallSnapshot, Snapshot, Term};

use super::WireError;
use super::membership::WireMembership;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireSnapshot {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(message, optional, tag = "3")]
    membership: Option<WireMembership>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireInstallSnapshot {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    transfer: u64,
    #[prost(message, optional, tag = "3")]
    snapshot: Option<WireSnapshot>,
    #[prost(uint64, tag = "4")]
    number: u64,
    #[prost(bytes = "bytes", tag = "5")]
    bytes: Bytes,
    #[prost(bool, tag = "6")]
    is_last: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireChunksTaken {
    #[prost(uint64, tag = "1")]
    pub(super) transfer: u64,
    #[prost(uint64, tag = "2")]
    pub(super) next: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireCompacted {
    #[prost(message, optional, tag = "1")]
    snapshot: Option<WireSnapshot>,
    #[prost(bool, tag = "2")]
    keeps_tail: bool,
    #[prost(uint64, tag = "3")]
    boot: u64,
    #[prost(uint64, tag = "4")]
    term: u64,
    #[prost(uint64, optional, tag = "5")]
    vote: Option<u64>,
    #[prost(uint64, tag = "6")]
    commit: u64,
}

impl From<&Snapshot> for WireSnapshot {
    fn from(snapshot: &Snapshot) -> Self {
        let Snapshot { index, term, membership } = snapshot;
        let membership = Some((&**membership).into());
        WireSnapshot { index: index.0, term: term.0, membership }
    }
}

/// What a message or record says of the snapshot that it is about.
pub(super) fn required(snapshot: Option<WireSnapshot>) -> Result<Snapshot, WireError> {
    let WireSnapshot { index, term, membership } =
        snapshot.ok_or(WireError::Unknown("snapshot"))?;
    let membership = membership.ok_or(WireError::Unknown("membership of a snapshot"))?;
    Ok(Snapshot { index: Index(index), term: Term(term), membership: Arc::new(membership.into()) })
}

impl From<&InstallSnapshot> for WireInstallSnapshot {
    fn from(install: &InstallSnapshot) -> Self {
        WireInstallSnapshot {
            term: install.term.0,
            transfer: install.transfer,
            snapshot: Some((&install.snapshot).into()),
            number: install.number,
            bytes: install.bytes.clone(),
            is_last: install.is_last,
        }
    }
}

impl TryFrom<WireInstallSnapshot> for InstallSnapshot {
    type Error = WireError;

    fn try_from(install: WireInstallSnapshot) -> Result<Self, WireError> {
        Ok(InstallSnapshot {
            term: Term(install.term),
            transfer: install.transfer,
            snapshot: required(install.snapshot)?,
            number: install.number,
            bytes: install.bytes,
            is_last: install.is_last,
        })
    }
}

/// Everything that [`raft::Record::Compacted`] says.
pub(super) fn compacted(
    snapshot: &Snapshot,
    keeps_tail: bool,
    (boot, term, vote): (u64, Term, Option<NodeId>),
    commit: Index,
) -> WireCompacted {
    WireCompacted {
        snapshot: Some(snapshot.into()),
        keeps_tail,
        boot,
        term: term.0,
        vote: vote.map(|node| node.0),
        commit: commit.0,
    }
}

impl TryFrom<WireCompacted> for raft::Record {
    type Error = WireError;

    fn try_from(compacted: WireCompacted) -> Result<Self, WireError> {
        Ok(raft::Record::Compacted {
            snapshot: required(compacted.snapshot)?,
            keeps_tail: compacted.keeps_tail,
            boot: compacted.boot,
            term: Term(compacted.term),
            vote: compacted.vote.map(NodeId),
            commit: Index(compacted.commit),
        })
    }
}
