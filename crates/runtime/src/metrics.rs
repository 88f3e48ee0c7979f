//! What the runtime counts, readable from any thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate_core::NodeId;

/// The upper bounds of the buckets of [`Metrics::syncs`], in seconds; the last bucket has none.
pub const SYNC_BUCKETS: [f64; 12] =
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.256, 1.024];

/// The peers whose bytes are counted one by one; those of more are not. Whoever knows the cluster's id may say any name.
const PEERS_MAX: usize = 256;

/// Bytes that went to and came from one peer.
#[derive(Debug, Default)]
pub struct PeerBytes {
    /// Those sent.
    pub sent: AtomicU64,
    /// Those received.
    pub received: AtomicU64,
}

/// Counters of one node's runtime since it started.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Turns of the event loop.
    pub turns: AtomicU64,
    /// Connections on the peer port that were closed because the other side is not a peer of ours.
    pub strangers: AtomicU64,
    /// Connections with peers that were lost.
    pub disconnects: AtomicU64,
    /// Messages that were not sent because the peer was not connected, or too slow.
    pub messages_dropped: AtomicU64,
    /// Messages sent.
    pub messages_sent: AtomicU64,
    /// Bytes sent to peers.
    pub bytes_sent: AtomicU64,
    /// Syncs that were put off because there was no room on the disk.
    pub syncs_put_off: AtomicU64,
    /// Looked at once a connection, and by whoever shows it.
    peers: Mutex<BTreeMap<NodeId, Arc<PeerBytes>>>,
    is_disk_full: AtomicBool,
    syncs: [AtomicU64; SYNC_BUCKETS.len() + 1],
    sync_nanos: AtomicU64,
}

impl Metrics {
    /// The number of syncs of the log by duration, one a bucket of [`SYNC_BUCKETS`] and one for what is longer, and
    /// their duration in all.
    pub fn syncs(&self) -> (Vec<u64>, Duration) {
        let counts = self.syncs.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        (counts, Duration::from_nanos(self.sync_nanos.load(Ordering::Relaxed)))
    }

    /// The bytes exchanged with each peer that there was a connection with.
    pub fn peers(&self) -> Vec<(NodeId, Arc<PeerBytes>)> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.iter().map(|(peer, bytes)| (*peer, bytes.clone())).collect()
    }

    /// Where the bytes exchanged with a peer are counted.
    pub(crate) fn peer(&self, peer: NodeId) -> Arc<PeerBytes> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_MAX && !peers.contains_key(&peer) {
            return Arc::default();
        }
        peers.entry(peer).or_default().clone()
    }

    /// Whether there is no room for more of the log than what is under way: the moment to take no more writes from
    /// clients.
    pub fn is_disk_full(&self) -> bool {
        self.is_disk_full.load(Ordering::Relaxed)
    }

    /// Notes whether the disk is full; returns whether that is news.
    pub(crate) fn note_disk_full(&self, is_full: bool) -> bool {
        self.is_disk_full.swap(is_full, Ordering::Relaxed) != is_full
    }

    pub(crate) fn synced(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = SYNC_BUCKETS.partition_point(|bound| *bound < seconds);
        self.syncs[bucket].fetch_add(1, Ordering::Relaxed);
        self.sync_nanos.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn count(counter: &AtomicU64) {
        Metrics::add(counter, 1);
    }

    pub(crate) fn add(counter: &AtomicU64, more: usize) {
        counter.fetch_add(more as u64, Ordering::Relaxed);
    }
}
