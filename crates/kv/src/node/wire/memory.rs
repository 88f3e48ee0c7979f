//! How lives and runs look on the wire and on the disk.

use quorate_core::NodeId;
use quorate_protocols::consensus::raft::{Greeting, Met};

/// What is not there is zero, as it is in messages of versions that knew of no lives.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireGreeting {
    #[prost(uint64, tag = "1")]
    life: u64,
    #[prost(uint64, tag = "2")]
    boot: u64,
    #[prost(uint64, tag = "3")]
    met: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireMet {
    #[prost(uint64, tag = "1")]
    pub(super) peer: u64,
    #[prost(uint64, tag = "2")]
    pub(super) life: u64,
    #[prost(uint64, tag = "3")]
    pub(super) boot: u64,
    #[prost(uint64, tag = "4")]
    pub(super) told_in: u64,
}

/// Nothing, if there is nothing to say.
pub(super) fn wire_greeting(greeting: Greeting) -> Option<WireGreeting> {
    let Greeting { life, boot, met } = greeting;
    (greeting != Greeting::default()).then_some(WireGreeting { life, boot, met })
}

pub(super) fn greeting(greeting: Option<WireGreeting>) -> Greeting {
    let WireGreeting { life, boot, met } = greeting.unwrap_or_default();
    Greeting { life, boot, met }
}

/// Versions that didn't write in which run a life began didn't write either whom they told of which run: it may have been
/// anybody of any. That is as if the life had begun with the newest.
pub(super) fn born_in(born: Option<u64>, boot: u64) -> u64 {
    born.unwrap_or(boot)
}

pub(super) fn wire_met(peer: NodeId, met: Met) -> WireMet {
    let Met { life, boot, told_in } = met;
    WireMet { peer: peer.0, life, boot, told_in }
}

pub(super) fn met(said: WireMet) -> (NodeId, Met) {
    let WireMet { peer, life, boot, told_in } = said;
    (NodeId(peer), Met { life, boot, told_in })
}
