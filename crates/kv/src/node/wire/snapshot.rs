//! How snapshots look on the wire: what they stand for, and their pieces.

use std::sync::Arc;

use bytes::Bytes;
use quorate_core::NodeId;
use quorate_protocols::consensus::raft::{self, Index, InstallSnapshot, Snapshot, Term};

use super::WireError;
use super::membership::WireMembership;
use super::memory::{WireGreeting, WireMet, born_in, greeting, met, wire_greeting};

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
    #[prost(message, optional, tag = "7")]
    greeting: Option<WireGreeting>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireChunksTaken {
    #[prost(uint64, tag = "1")]
    pub(super) transfer: u64,
    #[prost(uint64, tag = "2")]
    pub(super) next: u64,
}

/// Everything that [`raft::Record::Compacted`] says.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireCompacted {
    #[prost(message, optional, tag = "1")]
    pub(super) snapshot: Option<WireSnapshot>,
    #[prost(bool, tag = "2")]
    pub(super) keeps_tail: bool,
    #[prost(uint64, tag = "3")]
    pub(super) boot: u64,
    #[prost(uint64, tag = "4")]
    pub(super) term: u64,
    #[prost(uint64, optional, tag = "5")]
    pub(super) vote: Option<u64>,
    #[prost(uint64, tag = "6")]
    pub(super) commit: u64,
    #[prost(uint64, tag = "7")]
    pub(super) life: u64,
    #[prost(message, repeated, tag = "8")]
    pub(super) met: Vec<WireMet>,
    #[prost(uint64, optional, tag = "9")]
    pub(super) born: Option<u64>,
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
            greeting: wire_greeting(install.greeting),
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
            greeting: greeting(install.greeting),
        })
    }
}

impl TryFrom<WireCompacted> for raft::Record {
    type Error = WireError;

    fn try_from(compacted: WireCompacted) -> Result<Self, WireError> {
        Ok(raft::Record::Compacted {
            snapshot: required(compacted.snapshot)?,
            keeps_tail: compacted.keeps_tail,
            life: compacted.life,
            born: born_in(compacted.born, compacted.boot),
            boot: compacted.boot,
            met: compacted.met.into_iter().map(met).collect(),
            term: Term(compacted.term),
            vote: compacted.vote.map(NodeId),
            commit: Index(compacted.commit),
        })
    }
}
