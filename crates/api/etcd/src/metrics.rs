//! What `/metrics` shows: counters that the face keeps, and gauges read off the node's status when somebody looks.
//!
//! A name that etcd has means here what it means there, so that dashboards for etcd keep working; what etcd has no
//! name for starts with `quorate_`.

mod process;
mod scrape;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use quorate_core::NodeId;
use quorate_kv::error::Error as StoreError;
use quorate_kv::service::Status;
use quorate_runtime::Metrics as RuntimeMetrics;
use tonic::Code;

use crate::error::Error;
use crate::method::Method;
use crate::watch::Watched;
use scrape::Scrape;

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
    /// Messages of clients and to clients, by themselves: what carries them is not counted.
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    proposals_pending: AtomicI64,
    proposals_failed: AtomicU64,
    health_checks_passed: AtomicU64,
    health_checks_failed: AtomicU64,
    connections: AtomicI64,
}

/// Calls by method.
#[derive(Debug)]
struct Calls([MethodCalls; Method::COUNT]);

/// The calls of one method.
#[derive(Debug, Default)]
struct MethodCalls {
    started: AtomicU64,
    messages_received: AtomicU64,
    messages_sent: AtomicU64,
    /// Those that were answered, by code.
    answered: [AtomicU64; CODES.len()],
}

impl Default for Calls {
    fn default() -> Self {
        Calls(std::array::from_fn(|_| Default::default()))
    }
}

impl Counters {
    /// A call has begun.
    pub(crate) fn count_started(&self, method: Method) {
        self.of(method).started.fetch_add(1, Relaxed);
    }

    /// A call has been answered.
    pub(crate) fn count_call(&self, method: Method, code: Code) {
        self.of(method).answered[code as usize].fetch_add(1, Relaxed);
    }

    /// A message of a client has come.
    pub(crate) fn count_received(&self, method: Method, bytes: usize) {
        self.of(method).messages_received.fetch_add(1, Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// A message has gone to a client.
    pub(crate) fn count_sent(&self, method: Method, bytes: usize) {
        self.of(method).messages_sent.fetch_add(1, Relaxed);
        self.count_sent_piece(bytes);
    }

    /// More of a message has gone to a client.
    pub(crate) fn count_sent_piece(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn of(&self, method: Method) -> &MethodCalls {
        &self.calls.0[method as usize]
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

/// What there is to show metrics of.
pub(crate) struct Shown<'a> {
    pub(crate) member: NodeId,
    pub(crate) counters: &'a Counters,
    pub(crate) watched: &'a Watched,
    pub(crate) runtime: &'a RuntimeMetrics,
    pub(crate) status: &'a Status,
}

/// The text of `/metrics`, in OpenMetrics.
pub(crate) fn open_metrics(shown: &Shown<'_>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape::new(shown)));
    let mut text = String::with_capacity(16 * 1024);
    text::encode(&mut text, &registry).expect("a string takes what is written to it");
    text
}

/// The same in Prometheus' own older format, which etcd has, for who doesn't ask for the newer one: there, what is said of
/// a counter is said of its full name.
pub(crate) fn plain_text(open_metrics: &str) -> String {
    let counters: Vec<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len() + 16 * counters.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let named = ["# HELP ", "# TYPE "].into_iter().find_map(|what| {
            let (name, rest) = line.strip_prefix(what)?.split_once(' ')?;
            counters.contains(&name).then_some((what, name, rest))
        });
        match named {
            Some((what, name, rest)) => text.push_str(&format!("{what}{name}_total {rest}")),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_counters_in_full_and_has_no_end() {
        let open = "# HELP a Of a.\n# TYPE a counter\na_total 1\n# HELP b Of b.\n# TYPE b gauge\nb 2\n# EOF\n";
        let plain = "# HELP a_total Of a.\n# TYPE a_total counter\na_total 1\n# HELP b Of b.\n# TYPE b gauge\nb 2\n";
        assert_eq!(plain_text(open), plain);
    }
}
