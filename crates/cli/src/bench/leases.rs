//! Many leases that end in the same second, each with a key: how long until all keys are gone, and whether anybody else
//! has to wait meanwhile.
//!
//! Whoever holds a lease until it ends by itself keeps no node busy; all of them at once may. So each lease is granted
//! for as long as is left until one moment, the same for all, and from then on one client writes, one write after the
//! other, and notes how long it had to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate_client::proto::etcdserverpb::kv_client::KvClient;
use quorate_client::proto::etcdserverpb::lease_client::LeaseClient;
use quorate_client::proto::etcdserverpb::{LeaseGrantRequest, PutRequest, RangeRequest};
use serde_json::{Value, json};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

use crate::bench::keys::Keys;
use crate::bench::load::{CONNECT_TIMEOUT, Plan, Target};
use crate::bench::processes;
use crate::error::CliError;

/// How long after they are due the leases may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(120);
/// What every key that is bound to a lease begins with.
const PREFIX: u8 = b'^';
/// What is written meanwhile.
const WRITTEN: &str = "~meanwhile";
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the round came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expired {
    leases: u64,
    granted_in: Duration,
    /// From when the first lease was due until its key, and until all keys were gone.
    first_gone_in: Duration,
    all_gone_in: Duration,
    /// What the client did that wrote meanwhile, and the longest time between two of its successes.
    puts: u64,
    longest_gap: Duration,
    rss_bytes: Option<u64>,
}

impl Expired {
    pub(crate) fn as_json(&self) -> Value {
        json!({
            "leases": self.leases,
            "granted_in_seconds": self.granted_in.as_secs_f64(),
            "first_gone_in_seconds": self.first_gone_in.as_secs_f64(),
            "all_gone_in_seconds": self.all_gone_in.as_secs_f64(),
            "puts_meanwhile": self.puts,
            "longest_gap_ms": self.longest_gap.as_secs_f64() * 1e3,
            "rss_bytes": self.rss_bytes,
        })
    }

    pub(crate) fn as_text(&self) -> String {
        let memory =
            self.rss_bytes.map_or("unknown; give the servers' --pids".to_owned(), |bytes| {
                format!("{:.1} MiB with all leases", bytes as f64 / f64::from(1 << 20))
            });
        format!(
            "leases               {}, each with a key, granted in {:.1} s\n\
             memory               {memory}\n\
             due in one second    the first key gone {:.2} s after it, all after {:.2} s\n\
             meanwhile            {} puts of one client, the longest gap {:.0} ms\n",
            self.leases,
            self.granted_in.as_secs_f64(),
            self.first_gone_in.as_secs_f64(),
            self.all_gone_in.as_secs_f64(),
            self.puts,
            self.longest_gap.as_secs_f64() * 1e3,
        )
    }
}

/// Grants a lease for each of the plan's keys, all due this long from now, and looks on.
pub(crate) fn run(plan: &Plan, due_in: Duration, target: &Target) -> Result<Expired, CliError> {
    crate::waiting_runtime()?.block_on(async {
        let keys = plan.keys.beginning_with(PREFIX);
        let began = Instant::now();
        let due = began + due_in;
        grant_all(plan, keys, due, target).await?;
        let granted_in = began.elapsed();
        let mut kv = KvClient::new(target.endpoints[0].connect(CONNECT_TIMEOUT).await?);
        let held = count(&mut kv, keys).await?;
        let leases = keys.count();
        if Instant::now() > due || held != leases {
            return Err(CliError::Bench(format!(
                "granting took {:.0} s, and {held} of {leases} keys are there; give more than --ttl {:.0}, so that no lease \
                 ends before all are granted",
                granted_in.as_secs_f64(),
                due_in.as_secs_f64()
            )));
        }
        let rss_bytes = processes::usage(&target.pids).map(|usage| usage.rss_bytes_max);
        tokio::time::sleep_until(due.into()).await;
        let writer = KvClient::new(target.endpoints[0].connect(CONNECT_TIMEOUT).await?);
        let (over, is_over) = oneshot::channel();
        let writing = tokio::spawn(write_on(writer, is_over));
        let mut first_gone_in = None;
        loop {
            let left = count(&mut kv, keys).await?;
            if left < leases {
                first_gone_in.get_or_insert_with(|| due.elapsed());
            }
            if left == 0 {
                break;
            }
            if due.elapsed() > ENDED_WITHIN {
                return Err(CliError::Bench(format!("{left} of {leases} leases have not ended")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let all_gone_in = due.elapsed();
        // If it is gone, it has failed, and says why.
        let _ = over.send(());
        let written = writing.await.map_err(|_| CliError::Bench("the writer died".into()))?;
        let (puts, longest_gap) = written.map_err(|status| failed("a put meanwhile", &status))?;
        let first_gone_in = first_gone_in.unwrap_or(all_gone_in);
        Ok(Expired { leases, granted_in, first_gone_in, all_gone_in, puts, longest_gap, rss_bytes })
    })
}

/// Grants a lease for each key and binds the key to it, over all connections.
async fn grant_all(plan: &Plan, keys: Keys, due: Instant, target: &Target) -> Result<(), CliError> {
    let next = Arc::new(AtomicU64::new(0));
    let mut connections = Vec::new();
    for number in 0..plan.connections(target.endpoints.len()) {
        let endpoint = &target.endpoints[number % target.endpoints.len()];
        connections.push(endpoint.connect(CONNECT_TIMEOUT).await?);
    }
    let mut clients = JoinSet::new();
    for id in 0..plan.clients {
        let channel = connections[id % connections.len()].clone();
        clients.spawn(grant_some(channel, keys, due, next.clone()));
    }
    while let Some(ended) = clients.join_next().await {
        let granted = ended.map_err(|_| CliError::Bench("a client died".into()))?;
        granted.map_err(|status| failed("a lease", &status))?;
    }
    Ok(())
}

async fn grant_some(
    channel: Channel,
    keys: Keys,
    due: Instant,
    next: Arc<AtomicU64>,
) -> Result<(), Status> {
    let (mut leases, mut kv) = (LeaseClient::new(channel.clone()), KvClient::new(channel));
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= keys.count() {
            return Ok(());
        }
        // Rounded up, so that none is due before all are.
        let ttl = due.saturating_duration_since(Instant::now()).as_secs() as i64 + 1;
        let lease = leases.lease_grant(LeaseGrantRequest { ttl, id: 0 }).await?.into_inner().id;
        kv.put(PutRequest { key: keys.key(number), lease, ..PutRequest::default() }).await?;
    }
}

async fn count(kv: &mut KvClient<Channel>, keys: Keys) -> Result<u64, CliError> {
    let (key, range_end) = keys.range();
    let count = RangeRequest { key, range_end, count_only: true, ..RangeRequest::default() };
    let answer = kv.range(count).await.map_err(|status| failed("counting keys", &status))?;
    Ok(answer.into_inner().count.unsigned_abs())
}

/// Writes one key, one write after the other. Returns how often, and the longest time between two successes.
async fn write_on(
    mut kv: KvClient<Channel>,
    mut is_over: oneshot::Receiver<()>,
) -> Result<(u64, Duration), Status> {
    let (mut puts, mut last, mut longest) = (0, Instant::now(), Duration::ZERO);
    while is_over.try_recv() == Err(TryRecvError::Empty) {
        kv.put(PutRequest { key: WRITTEN.into(), ..PutRequest::default() }).await?;
        longest = longest.max(last.elapsed());
        last = Instant::now();
        puts += 1;
    }
    Ok((puts, longest))
}

fn failed(what: &str, status: &Status) -> CliError {
    CliError::Bench(format!("{what} failed: {status}"))
}
