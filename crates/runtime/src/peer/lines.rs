//! The lines to all peers: who is dialled, and where.
//!
//! *Life of a line.* It is opened once the protocol names a peer, or one calls that the protocol doesn't name; it stays
//! the same when an address is added; and it is given up, and its connection with it, some time after the protocol has
//! stopped naming the peer, or when one that was never named hangs up.
//!
//! Only a call that the protocol wants asks to be called back. Otherwise two nodes of which neither wants the other
//! could keep each other on the line for ever, each for no reason but the other's call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quorate_core::NodeId;
use quorate_tls::{Dialer, Link};
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;

use super::PeerEvent;
use super::hello::Hello;
use super::outgoing::{Dialling, Outgoing, dial};
use crate::Identity;
use crate::metrics::{Metrics, PeerBytes};

/// Tells a line to a peer from those that there were to it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineNumber(u64);

struct Line {
    number: LineNumber,
    outgoing: Outgoing,
    /// Where the peer may be, the likeliest first. Dropping it ends the task that dials.
    addresses: watch::Sender<Vec<String>>,
    bytes: Arc<PeerBytes>,
}

/// A peer that is connected to this node.
struct Caller {
    /// Where it says that it is; empty if it doesn't say.
    address: String,
    /// How many connections it has: one, and two for a moment while it dials anew.
    calls: usize,
}

/// The lines to all peers.
pub(crate) struct Lines<M> {
    identity: Arc<Identity>,
    dialer: Option<Dialer>,
    events: Sender<PeerEvent<M>>,
    metrics: Arc<Metrics>,
    /// Where the protocol says that peers are.
    named: BTreeMap<NodeId, Vec<String>>,
    /// Whom it named until lately, and when their lines are given up.
    parting: BTreeMap<NodeId, Instant>,
    hang_up_after: Duration,
    callers: BTreeMap<NodeId, Caller>,
    lines: BTreeMap<NodeId, Line>,
    opened: u64,
}

impl<M: Send + 'static> Lines<M> {
    pub(crate) fn new(
        identity: Arc<Identity>,
        hang_up_after: Duration,
        dialer: Option<Dialer>,
        events: Sender<PeerEvent<M>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Lines {
            identity,
            dialer,
            events,
            metrics,
            named: BTreeMap::new(),
            parting: BTreeMap::new(),
            hang_up_after,
            callers: BTreeMap::new(),
            lines: BTreeMap::new(),
            opened: 0,
        }
    }

    /// The protocol says that the peers are these, and no others.
    pub(crate) fn name(&mut self, peers: BTreeMap<NodeId, Vec<String>>) {
        let before = std::mem::replace(&mut self.named, peers);
        let gone = before.into_keys().filter(|peer| !self.named.contains_key(peer));
        let until = Instant::now() + self.hang_up_after;
        self.parting.extend(gone.map(|peer| (peer, until)));
        let named: Vec<NodeId> = self.named.keys().copied().collect();
        for peer in named {
            self.parting.remove(&peer);
            self.line_up(peer);
        }
    }

    /// Gives up the lines to those that have had their time to be told that they are no peers any more.
    fn part(&mut self) {
        let now = Instant::now();
        let (lines, callers) = (&mut self.lines, &mut self.callers);
        self.parting.retain(|peer, until| {
            if *until > now {
                return true;
            }
            lines.remove(peer);
            // Should it call again, it will be called back.
            if let Some(caller) = callers.get_mut(peer) {
                caller.address.clear();
            }
            false
        });
    }

    /// A peer has called, and says that it is to be called back at `address`.
    pub(crate) fn called(&mut self, peer: NodeId, address: String) {
        let calls = self.callers.get(&peer).map_or(0, |caller| caller.calls);
        self.callers.insert(peer, Caller { address, calls: calls + 1 });
        self.line_up(peer);
    }

    /// One of a peer's calls has ended. Returns whether it was the last one.
    pub(crate) fn hung_up(&mut self, peer: NodeId) -> bool {
        let Some(caller) = self.callers.get_mut(&peer) else { return false };
        caller.calls -= 1;
        if caller.calls > 0 {
            return false;
        }
        self.callers.remove(&peer);
        self.line_up(peer);
        true
    }

    /// Opens, changes or gives up the line to a peer, as those say who know where it is.
    fn line_up(&mut self, peer: NodeId) {
        if peer == self.identity.me || self.parting.contains_key(&peer) {
            return;
        }
        // What all have agreed on comes first: what a node says of itself may be out of date.
        let mut wanted: Vec<String> = self.named.get(&peer).cloned().unwrap_or_default();
        let said = self.callers.get(&peer).map(|caller| caller.address.clone());
        wanted.extend(said.filter(|address| !address.is_empty() && !wanted.contains(address)));
        if wanted.is_empty() {
            self.lines.remove(&peer);
            return;
        }
        if let Some(line) = self.lines.get(&peer) {
            line.addresses.send_if_modified(|addresses| {
                let is_other = *addresses != wanted;
                *addresses = wanted;
                is_other
            });
            return;
        }
        self.opened += 1;
        let number = LineNumber(self.opened);
        let (addresses, found_at) = watch::channel(wanted);
        let is_named = self.named.contains_key(&peer);
        let hello = Hello {
            cluster: self.identity.cluster,
            from: self.identity.me,
            to: peer,
            address: if is_named { self.identity.address.clone() } else { String::new() },
        };
        let dialling = Dialling { hello, line: number, dialer: self.dialer.clone() };
        let bytes = self.metrics.peer(peer);
        tokio::spawn(dial(dialling, found_at, self.events.clone(), self.metrics.clone()));
        self.lines.insert(peer, Line { number, outgoing: Outgoing::new(), addresses, bytes });
    }

    pub(crate) fn connected(&mut self, peer: NodeId, number: LineNumber, stream: Arc<Link>) {
        if let Some(line) = self.lines.get_mut(&peer).filter(|line| line.number == number) {
            line.outgoing.connect(stream);
        }
    }

    pub(crate) fn disconnected(&mut self, peer: NodeId, number: LineNumber) {
        if let Some(line) = self.lines.get_mut(&peer).filter(|line| line.number == number) {
            line.outgoing.disconnect();
        }
    }

    pub(crate) fn writable(&mut self, peer: NodeId) {
        if let Some(line) = self.lines.get_mut(&peer) {
            line.outgoing.unblock();
        }
    }

    /// Queues a message whose bytes `write` adds, or drops it.
    pub(crate) fn push(&mut self, peer: NodeId, write: impl FnOnce(&mut BytesMut)) {
        match self.lines.get_mut(&peer) {
            Some(line) => line.outgoing.push(&self.metrics, write),
            None => Metrics::count(&self.metrics.messages_dropped),
        }
    }

    /// Writes as much as the connections take.
    pub(crate) fn flush(&mut self) {
        if !self.parting.is_empty() {
            self.part();
        }
        for (peer, line) in &mut self.lines {
            line.outgoing.flush(*peer, &self.events, &self.metrics, &line.bytes);
        }
    }
}
