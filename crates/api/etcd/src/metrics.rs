//! What `/metrics` shows: counters that the face keeps, and gauges read off the node's status when somebody looks.
//!
//! A name that etcd has means here what it means there, so that dashboards for etcd keep working; what etcd has no
//! name for starts with `quorate_`.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use quorate_kv::error::Error as StoreError;
use quorate_kv::service::{Role, Status};
use quorate_runtime::Metrics as RuntimeMetrics;
use quorate_runtime::metrics::SYNC_BUCKETS;
use tonic::Code;

use crate::error::Error;
use crate::face::ETCD_VERSION;
use crate::method::Method;
use crate::watch::Watched;

/// gRPC's codes by number, as its metrics spell them.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// What the face has counted since it was made.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: Calls,
    unknown_calls: AtomicU64,
    proposals_pending: AtomicI64,
    proposals_failed: AtomicU64,
    health_checks_passed: AtomicU64,
    health_checks_failed: AtomicU64,
    connections: AtomicI64,
}

/// Calls that were answered, by method and code.
#[derive(Debug)]
struct Calls([[AtomicU64; CODES.len()]; Method::COUNT]);

impl Default for Calls {
    fn default() -> Self {
        Calls(std::array::from_fn(|_| Default::default()))
    }
}

impl Counters {
    /// A call has been answered.
    pub(crate) fn count_call(&self, method: Method, code: Code) {
        self.calls.0[method as usize][code as usize].fetch_add(1, Relaxed);
    }

    /// How many calls of a method have been answered as they should.
    fn answered(&self, method: Method) -> u64 {
        self.calls.0[method as usize][Code::Ok as usize].load(Relaxed)
    }

    /// A call to a method that the face does not have has been refused.
    pub(crate) fn count_unknown_call(&self) {
        self.unknown_calls.fetch_add(1, Relaxed);
    }

    /// A health check has ended.
    pub(crate) fn count_health_check(&self, passed: bool) {
        let counter = if passed { &self.health_checks_passed } else { &self.health_checks_failed };
        counter.fetch_add(1, Relaxed);
    }

    /// A command is under way until what this returns is dropped, be it because its client went away.
    pub(crate) fn proposal(&self) -> Proposal<'_> {
        self.proposals_pending.fetch_add(1, Relaxed);
        Proposal { counters: self }
    }

    /// A connection has been opened or closed.
    pub(crate) fn count_connection(&self, change: i64) {
        self.connections.fetch_add(change, Relaxed);
    }
}

/// A command under way.
#[derive(Debug)]
pub(crate) struct Proposal<'a> {
    counters: &'a Counters,
}

impl Proposal<'_> {
    /// Counts the failures that are the cluster's; a request that was refused on its merits is none.
    pub(crate) fn count_failure(&self, error: &Error) {
        let failed = matches!(
            error,
            Error::Store(StoreError::NoLeader | StoreError::TimedOut | StoreError::Stopped)
        );
        self.counters.proposals_failed.fetch_add(u64::from(failed), Relaxed);
    }
}

impl Drop for Proposal<'_> {
    fn drop(&mut self) {
        self.counters.proposals_pending.fetch_sub(1, Relaxed);
    }
}

/// The text of `/metrics`.
pub(crate) fn text(
    counters: &Counters,
    watched: &Watched,
    runtime: &RuntimeMetrics,
    status: &Status,
) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape::new(counters, watched, runtime, status)));
    let mut text = String::with_capacity(8 * 1024);
    text::encode(&mut text, &registry).expect("a string takes what is written to it");
    text
}

/// Everything there is to show, at one moment.
#[derive(Debug)]
struct Scrape {
    calls: Vec<(Method, &'static str, u64)>,
    counters: Vec<(&'static str, &'static str, u64)>,
    gauges: Vec<(&'static str, &'static str, i64)>,
    /// The log's syncs: seconds in all, and how many there were up to each bound.
    syncs: (f64, Vec<(f64, u64)>),
}

impl Scrape {
    fn new(
        counters: &Counters,
        watched: &Watched,
        runtime: &RuntimeMetrics,
        status: &Status,
    ) -> Self {
        let calls = Method::ALL
            .iter()
            .copied()
            .flat_map(|method| {
                let by_code = counters.calls.0[method as usize].iter().zip(CODES);
                by_code.map(move |(count, code)| (method, code, count.load(Relaxed)))
            })
            .filter(|(_, _, count)| *count > 0)
            .collect();
        let (counts, took) = runtime.syncs();
        let bounds = SYNC_BUCKETS.into_iter().chain([f64::MAX]);
        Scrape {
            calls,
            counters: totals(counters, watched, runtime, status),
            gauges: levels(counters, watched, status),
            syncs: (took.as_secs_f64(), bounds.zip(counts).collect()),
        }
    }
}

/// Name, help and value of what only grows. The encoder puts `_total` behind the names.
fn totals(
    counters: &Counters,
    watched: &Watched,
    runtime: &RuntimeMetrics,
    status: &Status,
) -> Vec<(&'static str, &'static str, u64)> {
    vec![
        (
            "etcd_server_leader_changes_seen",
            "How often the leader has changed",
            status.leader_changes,
        ),
        (
            "etcd_server_proposals_failed",
            "Commands that found no leader, timed out or were cut off by a stop",
            counters.proposals_failed.load(Relaxed),
        ),
        (
            "etcd_debugging_lease_granted",
            "Leases that were granted through this node",
            counters.answered(Method::LeaseGrant),
        ),
        (
            "etcd_debugging_lease_revoked",
            "Leases that were revoked through this node",
            counters.answered(Method::LeaseRevoke),
        ),
        (
            "etcd_debugging_mvcc_events",
            "Events that watches of this node were told of",
            watched.events.load(Relaxed),
        ),
        (
            "quorate_grpc_unknown_calls",
            "Calls to methods that this server does not have",
            counters.unknown_calls.load(Relaxed),
        ),
        ("quorate_loop_turns", "Turns of the event loop", runtime.turns.load(Relaxed)),
        (
            "quorate_peer_strangers",
            "Connections on the peer port that were closed because no peer was at the other end",
            runtime.strangers.load(Relaxed),
        ),
        (
            "quorate_peer_disconnects",
            "Connections to peers that were lost",
            runtime.disconnects.load(Relaxed),
        ),
        (
            "quorate_peer_messages_sent",
            "Messages sent to peers",
            runtime.messages_sent.load(Relaxed),
        ),
        (
            "quorate_peer_messages_dropped",
            "Messages that were not sent because the peer was not connected, or too slow",
            runtime.messages_dropped.load(Relaxed),
        ),
        ("quorate_peer_sent_bytes", "Bytes sent to peers", runtime.bytes_sent.load(Relaxed)),
    ]
}

/// Name, help and value of what goes up and down, of what is a gauge in etcd, and of counters that etcd names without
/// the `_total` that the encoder would put behind them.
fn levels(
    counters: &Counters,
    watched: &Watched,
    status: &Status,
) -> Vec<(&'static str, &'static str, i64)> {
    let level = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    vec![
        (
            "etcd_server_has_leader",
            "Whether the node knows of a leader",
            i64::from(status.leader.is_some()),
        ),
        ("etcd_server_is_leader", "Whether the node leads", i64::from(status.role == Role::Leader)),
        ("etcd_server_is_learner", "Whether the node has no vote", i64::from(status.is_learner)),
        (
            "quorate_member_is_counted",
            "Whether the node's vote and copies count: not those of a learner, nor of one that lost its memory",
            i64::from(status.is_counted),
        ),
        (
            "quorate_member_has_lost_memory",
            "Whether the node has ever lost its memory, and goes on under another life",
            i64::from(status.life != 0),
        ),
        (
            "quorate_raft_log_base",
            "The log index behind which the node's log begins",
            level(status.log_base),
        ),
        (
            "etcd_server_proposals_committed_total",
            "The newest log index known to be committed",
            level(status.commit_index),
        ),
        (
            "etcd_server_proposals_applied_total",
            "The newest log index whose effect is in the store",
            level(status.applied_index),
        ),
        (
            "etcd_server_proposals_pending",
            "Commands under way",
            counters.proposals_pending.load(Relaxed),
        ),
        (
            "etcd_mvcc_db_total_size_in_bytes",
            "Keys and values in the store, old versions included",
            level(status.bytes),
        ),
        (
            "etcd_mvcc_db_total_size_in_use_in_bytes",
            "Keys and values in the store, old versions included",
            level(status.bytes),
        ),
        (
            "etcd_debugging_mvcc_keys_total",
            "Keys in the store",
            i64::try_from(status.keys).unwrap_or(i64::MAX),
        ),
        ("etcd_debugging_mvcc_watcher_total", "Watches", level(watched.watches.load(Relaxed))),
        (
            "etcd_debugging_mvcc_slow_watcher_total",
            "Watches that have not been told of all yet",
            level(watched.behind.load(Relaxed)),
        ),
        (
            "etcd_debugging_mvcc_watch_stream_total",
            "Streams of watches",
            level(watched.streams.load(Relaxed)),
        ),
        ("etcd_debugging_mvcc_current_revision", "The revision of the store", status.revision.0),
        (
            "etcd_debugging_mvcc_compact_revision",
            "The oldest revision that can still be read",
            status.compact_revision.0,
        ),
        (
            "etcd_server_health_success",
            "Health checks that passed",
            level(counters.health_checks_passed.load(Relaxed)),
        ),
        (
            "etcd_server_health_failures",
            "Health checks that failed",
            level(counters.health_checks_failed.load(Relaxed)),
        ),
        ("quorate_raft_term", "The term of the node's replica", level(status.term)),
        (
            "quorate_client_connections",
            "Open connections of clients",
            counters.connections.load(Relaxed),
        ),
    ]
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for &(name, help, value) in &self.gauges {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        for &(name, help, value) in &self.counters {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        let (seconds, buckets) = &self.syncs;
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder
            .encode_descriptor(
                "etcd_disk_wal_fsync_duration_seconds",
                "How long each sync of the log took",
                None,
                MetricType::Histogram,
            )?
            .encode_histogram::<NoLabelSet>(*seconds, count, buckets, None)?;
        let version = ConstGauge::new(1_i64);
        let mut family = encoder.encode_descriptor(
            "etcd_server_version",
            "The version of etcd whose behaviour this server has",
            None,
            version.metric_type(),
        )?;
        version.encode(family.encode_family(&[("server_version", ETCD_VERSION)])?)?;

        let mut family = encoder.encode_descriptor(
            "grpc_server_handled",
            "Calls that have been answered",
            None,
            ConstCounter::new(0_u64).metric_type(),
        )?;
        for &(method, code, count) in &self.calls {
            let labels = [
                ("grpc_code", code),
                ("grpc_method", method.name()),
                ("grpc_service", method.service()),
                ("grpc_type", method.shape().name()),
            ];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        resident_bytes().map_or(Ok(()), |bytes| {
            let metric = ConstGauge::new(bytes);
            let name = "process_resident_memory_bytes";
            let help = "Memory of the process that is in RAM";
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        })
    }
}

/// The memory of this process that is in RAM, where the system says.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
