//! What is read off the counters and the node's status when somebody looks, and how it is named.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use quorate_core::NodeId;
use quorate_kv::service::Role;
use quorate_runtime::metrics::{PeerBytes, SYNC_BUCKETS};

use super::process::Process;
use super::{CODES, Shown};
use crate::face::ETCD_VERSION;
use crate::method::Method;

/// Everything there is to show, at one moment.
#[derive(Debug)]
pub(super) struct Scrape {
    member: NodeId,
    calls: Vec<Calls>,
    counters: Vec<(&'static str, &'static str, u64)>,
    gauges: Vec<(&'static str, &'static str, i64)>,
    peers: Vec<(NodeId, Arc<PeerBytes>)>,
    /// The log's syncs: seconds in all, and how many there were up to each bound.
    syncs: (f64, Vec<(f64, u64)>),
    process: Process,
}

/// The calls of one method.
#[derive(Debug)]
struct Calls {
    method: Method,
    started: u64,
    received: u64,
    sent: u64,
    /// How many were answered with which code.
    answered: Vec<(&'static str, u64)>,
}

impl Scrape {
    pub(super) fn new(shown: &Shown<'_>) -> Self {
        let read = |method: &Method| {
            let of = shown.counters.of(*method);
            let count = |counter: &AtomicU64| counter.load(Relaxed);
            let by_code = of.answered.iter().zip(CODES).map(|(of, code)| (code, count(of)));
            Calls {
                method: *method,
                started: count(&of.started),
                received: count(&of.messages_received),
                sent: count(&of.messages_sent),
                answered: by_code.filter(|(_, count)| *count > 0).collect(),
            }
        };
        let (counts, took) = shown.runtime.syncs();
        let bounds = SYNC_BUCKETS.into_iter().chain([f64::MAX]);
        Scrape {
            member: shown.member,
            calls: Method::ALL.iter().map(read).collect(),
            counters: totals(shown),
            gauges: levels(shown),
            peers: shown.runtime.peers(),
            syncs: (took.as_secs_f64(), bounds.zip(counts).collect()),
            process: Process::look(),
        }
    }
}

/// Name, help and value of what only grows. The encoder puts `_total` behind the names.
fn totals(shown: &Shown<'_>) -> Vec<(&'static str, &'static str, u64)> {
    let Shown { counters, watched, runtime, status, .. } = *shown;
    let tally = status.tally;
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
        ("etcd_debugging_lease_granted", "Leases that were granted", tally.leases_granted),
        (
            "etcd_debugging_lease_revoked",
            "Leases that were revoked or came to their end",
            tally.leases_revoked,
        ),
        ("etcd_debugging_lease_renewed", "Leases that were renewed", tally.leases_renewed),
        ("etcd_mvcc_put", "Puts that this node has applied", tally.puts),
        ("etcd_mvcc_delete", "Deletions that this node has applied", tally.deletes),
        ("etcd_mvcc_range", "Ranges that this node has read", tally.ranges),
        ("etcd_mvcc_txn", "Requests that were more than one put, deletion or read", tally.txns),
        (
            "etcd_network_client_grpc_received_bytes",
            "Bytes of clients' messages",
            counters.received_bytes.load(Relaxed),
        ),
        (
            "etcd_network_client_grpc_sent_bytes",
            "Bytes of messages to clients",
            counters.sent_bytes.load(Relaxed),
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
        (
            "quorate_disk_syncs_put_off",
            "Syncs of the log that waited for room on the disk",
            runtime.syncs_put_off.load(Relaxed),
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
        (
            "quorate_peer_messages_unread",
            "Messages of peers of kinds that only another version knows",
            status.messages_unread,
        ),
        (
            "quorate_peer_messages_nonsense",
            "Messages of peers that made no sense, or came for shards that are not here",
            status.messages_nonsense,
        ),
    ]
}

/// Name, help and value of what goes up and down, of what is a gauge in etcd, and of counters that etcd names without
/// the `_total` that the encoder would put behind them.
fn levels(shown: &Shown<'_>) -> Vec<(&'static str, &'static str, i64)> {
    let Shown { counters, watched, status, .. } = *shown;
    let level = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    // Where there is none, a share of it would be infinite, and an alert would go off.
    let quota = status.quota_bytes.map(|quota| {
        ("etcd_server_quota_backend_bytes", "What the store may occupy", level(quota))
    });
    let levels = [
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
            "What the store occupies: what the quota limits",
            level(status.occupied_bytes),
        ),
        (
            "etcd_mvcc_db_total_size_in_use_in_bytes",
            "Keys and values in the store, old versions included, or what it occupies if that is less",
            level(status.bytes.min(status.occupied_bytes)),
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
    ];
    levels.into_iter().chain(quota).collect()
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for &(name, help, value) in &self.gauges {
            gauge(&mut encoder, name, help, value)?;
        }
        for &(name, help, value) in &self.counters {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        self.encode_syncs(&mut encoder)?;
        self.encode_names(&mut encoder)?;
        self.encode_peers(&mut encoder)?;
        self.encode_calls(&mut encoder)?;
        self.process.encode(&mut encoder)
    }
}

impl Scrape {
    fn encode_syncs(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let (seconds, buckets) = &self.syncs;
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder
            .encode_descriptor(
                "etcd_disk_wal_fsync_duration_seconds",
                "How long each sync of the log took",
                None,
                MetricType::Histogram,
            )?
            .encode_histogram::<NoLabelSet>(*seconds, count, buckets, None)
    }

    /// What is told by labels: their value is 1.
    fn encode_names(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let release = ETCD_VERSION.rsplit_once('.').map_or(ETCD_VERSION, |(release, _)| release);
        let member = format!("{:x}", self.member.0);
        let names = [
            (
                "etcd_server_version",
                "The version of etcd whose behaviour this server has",
                ("server_version", ETCD_VERSION),
            ),
            (
                "etcd_cluster_version",
                "The release of etcd whose behaviour the cluster has",
                ("cluster_version", release),
            ),
            ("etcd_server_id", "The member, in hexadecimal", ("server_id", &member)),
        ];
        for (name, help, label) in names {
            let metric = ConstGauge::new(1_i64);
            let mut family = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(family.encode_family(&[label])?)?;
        }
        Ok(())
    }

    fn encode_peers(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let sent: fn(&PeerBytes) -> &AtomicU64 = |bytes| &bytes.sent;
        let families = [
            ("etcd_network_peer_sent_bytes", "Bytes sent to each peer", "To", sent),
            (
                "etcd_network_peer_received_bytes",
                "Bytes received from each peer",
                "From",
                |bytes: &PeerBytes| &bytes.received,
            ),
        ];
        for (name, help, label, counter) in families {
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (peer, bytes) in &self.peers {
                let labels = [(label, format!("{:x}", peer.0))];
                let metric = ConstCounter::new(counter(bytes).load(Relaxed));
                metric.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn encode_calls(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let kind = ConstCounter::new(0_u64).metric_type();
        let started: fn(&Calls) -> u64 = |calls| calls.started;
        let families = [
            ("grpc_server_started", "Calls that have begun", started),
            ("grpc_server_msg_received", "Messages of clients", |calls: &Calls| calls.received),
            ("grpc_server_msg_sent", "Messages to clients", |calls: &Calls| calls.sent),
        ];
        for (name, help, count) in families {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for calls in &self.calls {
                let metric = ConstCounter::new(count(calls));
                metric.encode(family.encode_family(&labels(calls.method))?)?;
            }
        }
        let help = "Calls that have been answered";
        let mut family = encoder.encode_descriptor("grpc_server_handled", help, None, kind)?;
        for Calls { method, answered, .. } in &self.calls {
            let [name, service, shape] = labels(*method);
            for (code, count) in answered {
                let labels = [("grpc_code", *code), name, service, shape];
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// How gRPC's metrics tell methods apart.
fn labels(method: Method) -> [(&'static str, &'static str); 3] {
    [
        ("grpc_method", method.name()),
        ("grpc_service", method.service()),
        ("grpc_type", method.shape().name()),
    ]
}

pub(super) fn gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: i64,
) -> fmt::Result {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
