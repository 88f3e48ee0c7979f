//! The clients, and one round of measuring.
//!
//! A thread of the generator has a runtime, connections, clients and tallies of its own; threads share nothing that
//! is written for each operation but the pulse. A client has one request under way at a time. It begins the next one
//! when it has its answer, or, in a paced round, takes the next one that is due from its thread's queue.
//!
//! An operation belongs to the round if it was begun (paced: due) in the measured window: its latency counts even if
//! its answer comes after the window. Throughput, CPU time and gaps are those of the window itself.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use quorate_client::Endpoint;
use quorate_client::proto::etcdserverpb::kv_client::KvClient;
use quorate_client::proto::etcdserverpb::{PutRequest, RangeRequest};
use tokio::sync::Notify;
use tonic::Status;
use tonic::transport::Channel;

use crate::bench::figures::Figures;
use crate::bench::keys::{Keys, Random, Values};
use crate::bench::pace::{Alarm, Schedule};
use crate::bench::processes::{self, Usage};
use crate::error::CliError;

/// How long a client that failed waits, so that a node that refuses at once is not asked a million times.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(5);
/// How long a connection may take at the beginning.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest latency that is told apart from longer ones, in nanoseconds: two minutes.
const LATENCY_NS_MAX: u64 = 120_000_000_000;

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operation {
    Put,
    Get,
    Mixed { read_share: f64 },
}

/// How to load a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) operation: Operation,
    pub(crate) clients: usize,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    /// Operations a second; none is as many as the clients can.
    pub(crate) rate: Option<f64>,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    pub(crate) keys: Keys,
    pub(crate) value_bytes: usize,
    pub(crate) is_serializable: bool,
    pub(crate) timeout: Duration,
}

impl Plan {
    pub(crate) fn threads(&self) -> usize {
        self.threads.min(self.clients)
    }

    /// Every endpoint and every thread has a connection at least, and no connection is without a client.
    pub(crate) fn connections(&self, endpoints: usize) -> usize {
        self.connections.min(self.clients).max(endpoints).max(self.threads())
    }
}

/// What to load.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) endpoints: Vec<Endpoint>,
    /// The processes behind the endpoints, if they are known.
    pub(crate) pids: Vec<u32>,
}

/// When a round begins, and what of it is measured.
#[derive(Clone, Copy, Debug)]
struct Window {
    start: Instant,
    from: Instant,
    until: Instant,
}

impl Window {
    fn holds(&self, time: Instant) -> bool {
        self.from <= time && time < self.until
    }
}

/// The last success of all threads, and the longest time between two of them, in nanoseconds after the window began.
#[derive(Debug, Default)]
struct Pulse {
    last: AtomicU64,
    longest_gap: AtomicU64,
}

impl Pulse {
    /// Notes a success at this time.
    fn beat(&self, after: Duration) {
        let now = after.as_nanos() as u64;
        let before = self.last.fetch_max(now, Ordering::Relaxed);
        self.longest_gap.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
    }

    /// The longest gap, those at the edges of a window of this length included.
    fn longest_gap(&self, window: Duration) -> Duration {
        self.beat(window);
        Duration::from_nanos(self.longest_gap.load(Ordering::Relaxed))
    }
}

/// What one thread has counted.
#[derive(Debug)]
struct Tally {
    latency_ns: Histogram<u64>,
    completed: u64,
    misses: u64,
    errors: BTreeMap<String, u64>,
}

impl Tally {
    fn new() -> Self {
        let latency_ns = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        let latency_ns = latency_ns.expect("the bounds of the histogram are in order");
        Tally { latency_ns, completed: 0, misses: 0, errors: BTreeMap::new() }
    }

    fn error(&mut self, said: String) {
        *self.errors.entry(said).or_default() += 1;
    }

    fn add(&mut self, other: Tally) {
        self.latency_ns.add(&other.latency_ns).expect("both histograms have the same bounds");
        self.completed += other.completed;
        self.misses += other.misses;
        for (said, count) in other.errors {
            *self.errors.entry(said).or_default() += count;
        }
    }
}

/// Operations that are due and not begun.
#[derive(Debug, Default)]
struct Queue {
    due: Mutex<(VecDeque<Instant>, bool)>,
    changed: Notify,
}

impl Queue {
    fn push(&self, due: Instant) {
        lock(&self.due).0.push_back(due);
        self.changed.notify_one();
    }

    fn close(&self) {
        lock(&self.due).1 = true;
        self.changed.notify_waiters();
        // For a client that has found the queue empty and is not waiting yet.
        self.changed.notify_one();
    }

    /// The operation that has been due for longest; none once the queue is closed and empty.
    async fn next(&self) -> Option<Instant> {
        loop {
            {
                let mut due = lock(&self.due);
                if let Some(first) = due.0.pop_front() {
                    return Some(first);
                }
                if due.1 {
                    // Pass it on: a stored notification wakes one client only.
                    self.changed.notify_one();
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }
}

/// One thread's share of a round.
struct Lane {
    plan: Plan,
    window: Window,
    values: Values,
    connections: Vec<KvClient<Channel>>,
    queue: Queue,
    tally: Mutex<Tally>,
    pulse: Arc<Pulse>,
}

/// Loads the target for one round.
pub(crate) fn round(plan: &Plan, target: &Target) -> Result<Figures, CliError> {
    let threads = plan.threads();
    let pulse = Arc::new(Pulse::default());
    let (connected, ready) = mpsc::channel::<Result<(), CliError>>();
    let mut starts = Vec::new();
    let mut running = Vec::new();
    for thread in 0..threads {
        let (start, begin) = mpsc::channel::<Window>();
        starts.push(start);
        let (plan, target) = (plan.clone(), target.clone());
        let (connected, pulse) = (connected.clone(), pulse.clone());
        running.push(std::thread::spawn(move || -> Option<Result<Tally, CliError>> {
            let runtime = crate::waiting_runtime();
            let lane = runtime.and_then(|runtime| {
                let connections = runtime.block_on(connect(&plan, &target, thread))?;
                Ok((runtime, connections))
            });
            let (runtime, connections) = match lane {
                Ok(lane) => lane,
                Err(error) => {
                    let _ = connected.send(Err(error));
                    return None;
                }
            };
            let _ = connected.send(Ok(()));
            // No window means that another thread could not connect.
            let window = begin.recv().ok()?;
            let values = Values::new(plan.value_bytes);
            let (queue, tally) = (Queue::default(), Mutex::new(Tally::new()));
            let lane = Lane { plan, window, values, connections, queue, tally, pulse };
            Some(runtime.block_on(run_lane(Arc::new(lane), thread)))
        }));
    }
    drop(connected);
    for _ in 0..threads {
        ready.recv().map_err(|_| CliError::Bench("a thread of the generator died".into()))??;
    }
    let start = Instant::now() + Duration::from_millis(10);
    let from = start + plan.warmup;
    let window = Window { start, from, until: from + plan.measured };
    for begin in starts {
        // A thread that is gone is found when it is joined.
        let _ = begin.send(window);
    }

    let (before, own_before) = usage_at(window.from, target);
    let (after, own_after) = usage_at(window.until, target);
    let mut tally = Tally::new();
    for thread in running {
        let counted = thread.join().ok().flatten();
        tally.add(
            counted.ok_or_else(|| CliError::Bench("a thread of the generator died".into()))??,
        );
    }
    let longest_gap = pulse.longest_gap(plan.measured);
    let mut figures = figures(tally, plan.measured, longest_gap);
    let per_success = |before: Option<Usage>, after: Option<Usage>| {
        let spent = after?.cpu_seconds - before?.cpu_seconds;
        let successes = figures.per_second * plan.measured.as_secs_f64();
        (successes > 0.0).then(|| spent * 1e6 / successes)
    };
    (figures.server_cpu_us, figures.own_cpu_us) =
        (per_success(before, after), per_success(own_before, own_after));
    figures.server_rss_bytes = after.map(|usage| usage.rss_bytes_max as f64);
    Ok(figures)
}

/// What the servers and this process have used at that time.
fn usage_at(time: Instant, target: &Target) -> (Option<Usage>, Option<Usage>) {
    std::thread::sleep(time.saturating_duration_since(Instant::now()));
    (processes::usage(&target.pids), processes::own_usage())
}

fn figures(tally: Tally, measured: Duration, longest_gap: Duration) -> Figures {
    let us = |ns: u64| ns as f64 / 1e3;
    let latency = &tally.latency_ns;
    Figures {
        per_second: tally.completed as f64 / measured.as_secs_f64(),
        p50_us: us(latency.value_at_quantile(0.5)),
        p99_us: us(latency.value_at_quantile(0.99)),
        p999_us: us(latency.value_at_quantile(0.999)),
        max_us: us(latency.max()),
        server_cpu_us: None,
        server_rss_bytes: None,
        own_cpu_us: None,
        longest_gap_ms: longest_gap.as_secs_f64() * 1e3,
        errors: tally.errors,
        misses: tally.misses,
    }
}

/// This thread's connections: of all, numbered from zero, every `threads`-th one. Connection i goes to endpoint i.
async fn connect(
    plan: &Plan,
    target: &Target,
    thread: usize,
) -> Result<Vec<KvClient<Channel>>, CliError> {
    let endpoints = &target.endpoints;
    let all = 0..plan.connections(endpoints.len());
    let mut connections = Vec::new();
    for number in all.skip(thread).step_by(plan.threads()) {
        let endpoint = &endpoints[number % endpoints.len()];
        connections.push(KvClient::new(endpoint.connect(CONNECT_TIMEOUT).await?));
    }
    Ok(connections)
}

async fn run_lane(lane: Arc<Lane>, thread: usize) -> Result<Tally, CliError> {
    let clients = (thread..lane.plan.clients).step_by(lane.plan.threads());
    let clients: Vec<_> = clients.map(|id| tokio::spawn(client(lane.clone(), id))).collect();
    if let Some(rate) = lane.plan.rate {
        let (thread, threads) = (thread as u64, lane.plan.threads() as u64);
        let schedule = Schedule::new(lane.window.start, rate, thread, threads);
        let paced = dispatch(&lane, schedule).await;
        lane.queue.close();
        paced.map_err(|error| CliError::Bench(format!("the timer failed: {error}")))?;
    }
    for client in clients {
        client.await.map_err(|_| CliError::Bench("a client died".into()))?;
    }
    Ok(std::mem::replace(&mut *lock(&lane.tally), Tally::new()))
}

/// Queues each operation when it is due.
async fn dispatch(lane: &Lane, mut schedule: Schedule) -> io::Result<()> {
    let mut alarm = Alarm::new()?;
    while schedule.due() < lane.window.until {
        alarm.wait_until(schedule.due()).await?;
        let now = Instant::now();
        while schedule.due() <= now && schedule.due() < lane.window.until {
            lane.queue.push(schedule.due());
            schedule.advance();
        }
        // Behind its time, the alarm never waits; the clients must still get their turn.
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn client(lane: Arc<Lane>, id: usize) {
    let mut random = Random::new(id as u64 + 1);
    let mut connection = id % lane.connections.len();
    if lane.plan.rate.is_none() {
        tokio::time::sleep_until(lane.window.start.into()).await;
    }
    while let Some(begun) = lane.next().await {
        let kv = lane.connections[connection].clone();
        let operation = lane.operate(kv, &mut random);
        let outcome = tokio::time::timeout(lane.plan.timeout, operation).await;
        let outcome = outcome.map_err(|_| "no answer in time".to_string());
        if !lane.note(begun, outcome.and_then(|answer| answer.map_err(|status| describe(&status))))
        {
            // Another connection may lead to a node that lives.
            connection = (connection + 1) % lane.connections.len();
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
}

fn describe(status: &Status) -> String {
    let said = format!("{:?}: {}", status.code(), status.message());
    said.chars().take(120).collect()
}

impl Lane {
    /// When the next operation begins or was due; none when the round is over.
    async fn next(&self) -> Option<Instant> {
        if self.plan.rate.is_none() {
            let now = Instant::now();
            return (now < self.window.until).then_some(now);
        }
        loop {
            let due = self.queue.next().await?;
            if Instant::now() < self.window.until + self.plan.timeout {
                return Some(due);
            }
            if self.window.holds(due) {
                lock(&self.tally).error("never sent: all clients were busy for too long".into());
            }
        }
    }

    /// One operation. Says whether it found what it looked for.
    async fn operate(
        &self,
        mut kv: KvClient<Channel>,
        random: &mut Random,
    ) -> Result<bool, Status> {
        let key = self.plan.keys.key(random.below(self.plan.keys.count()));
        let is_read = match self.plan.operation {
            Operation::Put => false,
            Operation::Get => true,
            Operation::Mixed { read_share } => random.chance(read_share),
        };
        if is_read {
            let serializable = self.plan.is_serializable;
            let request = RangeRequest { key, serializable, ..RangeRequest::default() };
            Ok(!kv.range(request).await?.into_inner().kvs.is_empty())
        } else {
            let value = self.values.pick(random);
            kv.put(PutRequest { key, value, ..PutRequest::default() }).await?;
            Ok(true)
        }
    }

    /// Counts an operation that has just ended. Says whether it succeeded.
    fn note(&self, begun: Instant, outcome: Result<bool, String>) -> bool {
        let now = Instant::now();
        let is_success = outcome.is_ok();
        let mut tally = lock(&self.tally);
        match outcome {
            Ok(found) => {
                if self.window.holds(now) {
                    tally.completed += 1;
                    self.pulse.beat(now - self.window.from);
                }
                if self.window.holds(begun) {
                    let latency = now.saturating_duration_since(begun).as_nanos() as u64;
                    tally.latency_ns.saturating_record(latency.max(1));
                    tally.misses += u64::from(!found);
                }
            }
            Err(said) if self.window.holds(begun) => tally.error(said),
            Err(_) => {}
        }
        is_success
    }
}

/// A thread that panicked with the lock has ended the benchmark anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(clients: usize, connections: usize, threads: usize) -> Plan {
        Plan {
            operation: Operation::Put,
            clients,
            connections,
            threads,
            rate: None,
            warmup: Duration::ZERO,
            measured: Duration::from_secs(1),
            keys: Keys::new(10, 8).unwrap(),
            value_bytes: 1,
            is_serializable: false,
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn every_endpoint_and_thread_has_a_connection_and_none_is_idle() {
        assert_eq!(plan(100, 8, 1).connections(5), 8);
        assert_eq!(plan(100, 2, 1).connections(5), 5);
        assert_eq!(plan(1, 8, 1).connections(1), 1);
        assert_eq!(plan(100, 1, 4).connections(1), 4);
        assert_eq!(plan(2, 8, 16).threads(), 2);
    }

    #[test]
    fn a_gap_is_counted_between_successes_and_at_the_edges() {
        let ms = Duration::from_millis;
        let between = Pulse::default();
        [ms(1), ms(4), ms(3), ms(9)].into_iter().for_each(|at| between.beat(at));
        assert_eq!(between.longest_gap(ms(10)), ms(5));
        let at_the_end = Pulse::default();
        at_the_end.beat(ms(2));
        assert_eq!(at_the_end.longest_gap(ms(10)), ms(8));
        assert_eq!(Pulse::default().longest_gap(ms(10)), ms(10));
    }

    #[test]
    fn tallies_of_threads_add_up() {
        let (mut one, mut other) = (Tally::new(), Tally::new());
        for (tally, latencies) in [(&mut one, 1..=50), (&mut other, 51..=100)] {
            for ms in latencies {
                tally.latency_ns.saturating_record(ms * 1_000_000);
                tally.completed += 1;
            }
            tally.error("refused".into());
        }
        one.add(other);
        let figures = figures(one, Duration::from_secs(2), Duration::ZERO);
        assert_eq!(figures.per_second, 50.0);
        assert_eq!(figures.error_count(), 2);
        // The histogram keeps three digits.
        for (found, expected) in
            [(figures.p50_us, 50_000.0), (figures.p99_us, 99_000.0), (figures.max_us, 100_000.0)]
        {
            assert!((found / expected - 1.0).abs() < 0.002, "{found} is not {expected}");
        }
    }

    #[tokio::test]
    async fn what_is_due_is_taken_in_order_by_all_clients_until_the_queue_is_closed() {
        let queue = Arc::new(Queue::default());
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move {
                    let mut taken = Vec::new();
                    while let Some(due) = queue.next().await {
                        taken.push(due);
                        tokio::task::yield_now().await;
                    }
                    taken
                })
            })
            .collect();
        let start = Instant::now();
        let due: Vec<Instant> = (0..10).map(|ms| start + Duration::from_millis(ms)).collect();
        for time in &due {
            queue.push(*time);
            tokio::task::yield_now().await;
        }
        queue.close();
        let mut taken = Vec::new();
        for client in clients {
            let of_client = client.await.unwrap();
            assert!(of_client.is_sorted());
            taken.extend(of_client);
        }
        taken.sort();
        assert_eq!(taken, due);
    }
}
