//! Many watches at a time: what each takes of a node's memory, what they cost its writes, and whether those whom a
//! change concerns are told, and nobody else.
//!
//! Each watch is on a key of its own, which has the length of a benchmark's other keys and begins differently, so that
//! the writes whose pace is measured concern none of them. Then some of the watched keys are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate_client::proto::etcdserverpb::kv_client::KvClient;
use quorate_client::proto::etcdserverpb::watch_client::WatchClient;
use quorate_client::proto::etcdserverpb::watch_request::RequestUnion;
use quorate_client::proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::codegen::tokio_stream::{self, StreamExt};
use tonic::transport::Channel;

use crate::bench::keys::Keys;
use crate::bench::load::{self, CONNECT_TIMEOUT, Plan, Target};
use crate::bench::processes;
use crate::error::CliError;

/// What every watched key begins with.
const PREFIX: u8 = b'~';
/// How many of the watched keys are written in the end.
const WRITTEN_MAX: u64 = 1000;
/// How long nothing that is waited for may happen.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// For what is told and shouldn't be: it may come after all that should.
const AFTERMATH: Duration = Duration::from_millis(500);

/// What the round came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Watched {
    watches: u64,
    streams: u64,
    /// Writes a second before there was a watch, and then.
    puts_before: f64,
    puts_beside: f64,
    opened_in: Duration,
    /// The memory of the largest server before the watches were opened, and then.
    rss_bytes: Option<(u64, u64)>,
    /// How many watched keys were written, and how many watches were told within which time.
    written: u64,
    told: u64,
    told_in: Duration,
}

impl Watched {
    fn bytes_a_watch(&self) -> Option<f64> {
        let (before, after) = self.rss_bytes?;
        Some(after.saturating_sub(before) as f64 / self.watches as f64)
    }

    pub(crate) fn as_json(&self) -> Value {
        json!({
            "watches": self.watches,
            "streams": self.streams,
            "opened_in_seconds": self.opened_in.as_secs_f64(),
            "rss_bytes_before": self.rss_bytes.map(|(before, _)| before),
            "rss_bytes_after": self.rss_bytes.map(|(_, after)| after),
            "bytes_a_watch": self.bytes_a_watch(),
            "puts_per_second_before": self.puts_before,
            "puts_per_second_beside": self.puts_beside,
            "written": self.written,
            "told": self.told,
            "told_in_seconds": self.told_in.as_secs_f64(),
        })
    }

    pub(crate) fn as_text(&self) -> String {
        let memory = match (self.rss_bytes, self.bytes_a_watch()) {
            (Some((before, after)), Some(each)) => {
                let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                format!(
                    "{:.1} MiB before, {:.1} MiB with them: {each:.0} bytes a watch",
                    mib(before),
                    mib(after)
                )
            }
            _ => "unknown; give the servers' --pids".to_owned(),
        };
        format!(
            "watches              {} in {} streams, opened in {:.1} s\n\
             memory               {memory}\n\
             puts a second        {:.0} without watches, {:.0} beside them\n\
             told                 {} of {} watches whose key was written, within {:.0} ms\n",
            self.watches,
            self.streams,
            self.opened_in.as_secs_f64(),
            self.puts_before,
            self.puts_beside,
            self.told,
            self.written,
            self.told_in.as_secs_f64() * 1e3,
        )
    }
}

/// What the streams have been told, together.
#[derive(Debug, Default)]
struct Heard {
    created: AtomicU64,
    events: AtomicU64,
}

/// Opens a watch on each of the plan's keys, in so many streams, and measures.
pub(crate) fn run(plan: &Plan, streams: u64, target: &Target) -> Result<Watched, CliError> {
    let puts_before = load::round(plan, target)?.per_second;
    let watches = plan.keys.count();
    let streams = streams.min(watches);
    let runtime = crate::waiting_runtime()?;
    let heard = Arc::new(Heard::default());
    let rss = || processes::usage(&target.pids).map(|usage| usage.rss_bytes_max);
    let before = rss();
    let began = Instant::now();
    let mut listening = runtime.block_on(open(plan, streams, target, &heard))?;
    let opened_in = began.elapsed();
    let rss_bytes = before.zip(rss());
    // The streams' tasks run on, on a thread of their own, while writes are measured.
    let (told, written, told_in, puts_beside) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| load::round(plan, target));
        runtime.block_on(async {
            while !writing.is_finished() {
                tokio::time::sleep(LOOK_EVERY).await;
                check(&mut listening)?;
            }
            let puts = writing.join().map_err(|_| CliError::Bench("a writer died".into()))??;
            let began = Instant::now();
            let written = write_some(watched(plan), target).await?;
            wait_for(&heard.events, written, "changes were told", &mut listening).await?;
            let told_in = began.elapsed();
            tokio::time::sleep(AFTERMATH).await;
            let told = heard.events.load(Ordering::Relaxed);
            Ok::<_, CliError>((told, written, told_in, puts.per_second))
        })
    })?;
    if told != written {
        return Err(CliError::Bench(format!(
            "{told} changes were told, and only {written} concerned a watch"
        )));
    }
    Ok(Watched {
        watches,
        streams,
        puts_before,
        puts_beside,
        opened_in,
        rss_bytes,
        written,
        told,
        told_in,
    })
}

fn watched(plan: &Plan) -> Keys {
    plan.keys.beginning_with(PREFIX)
}

async fn connections(plan: &Plan, target: &Target) -> Result<Vec<Channel>, CliError> {
    let endpoints = &target.endpoints;
    let mut connections = Vec::new();
    for number in 0..plan.connections(endpoints.len()) {
        let endpoint = &endpoints[number % endpoints.len()];
        connections.push(endpoint.connect(CONNECT_TIMEOUT).await?);
    }
    Ok(connections)
}

/// Opens all streams with all watches, and returns once each watch is created.
async fn open(
    plan: &Plan,
    streams: u64,
    target: &Target,
    heard: &Arc<Heard>,
) -> Result<JoinSet<Status>, CliError> {
    let connections = connections(plan, target).await?;
    let mut listening = JoinSet::new();
    for stream in 0..streams {
        let channel = connections[stream as usize % connections.len()].clone();
        listening.spawn(listen(channel, watched(plan), stream, streams, heard.clone()));
    }
    let watches = plan.keys.count();
    wait_for(&heard.created, watches, "watches were created", &mut listening).await?;
    Ok(listening)
}

/// One stream, with every `streams`-th watch. Returns when it breaks, and why.
async fn listen(
    channel: Channel,
    keys: Keys,
    stream: u64,
    streams: u64,
    heard: Arc<Heard>,
) -> Status {
    let indexes = (stream..keys.count()).step_by(streams as usize);
    let requests = indexes.map(move |index| {
        let create = WatchCreateRequest { key: keys.key(index), ..Default::default() };
        WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    });
    // It stays open, as a stock client's does.
    let requests = tokio_stream::iter(requests).chain(tokio_stream::pending());
    let mut answers = match WatchClient::new(channel).watch(requests).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return status,
    };
    loop {
        match answers.message().await {
            Ok(Some(answer)) if answer.canceled => {
                return Status::unknown(format!("a watch was canceled: {}", answer.cancel_reason));
            }
            Ok(Some(answer)) => {
                heard.created.fetch_add(answer.created.into(), Ordering::Relaxed);
                heard.events.fetch_add(answer.events.len() as u64, Ordering::Relaxed);
            }
            Ok(None) => return Status::unknown("the stream ended"),
            Err(status) => return status,
        }
    }
}

/// Writes some of the watched keys, each once, evenly spread over all. Returns how many.
async fn write_some(keys: Keys, target: &Target) -> Result<u64, CliError> {
    let endpoint = &target.endpoints[0];
    let mut kv = KvClient::new(endpoint.connect(CONNECT_TIMEOUT).await?);
    let written = keys.count().min(WRITTEN_MAX);
    let step = keys.count() / written;
    for number in 0..written {
        let key = keys.key(number * step);
        let put = kv.put(PutRequest { key, ..PutRequest::default() }).await;
        put.map_err(|status| CliError::Bench(format!("a watched key was not written: {status}")))?;
    }
    Ok(written)
}

/// Waits until a count has come to what is wanted, for as long as it grows.
async fn wait_for(
    count: &AtomicU64,
    wanted: u64,
    what: &str,
    listening: &mut JoinSet<Status>,
) -> Result<(), CliError> {
    let (mut seen, mut grew) = (0, Instant::now());
    loop {
        check(listening)?;
        let now = count.load(Ordering::Relaxed);
        if now >= wanted {
            return Ok(());
        }
        if now > seen {
            (seen, grew) = (now, Instant::now());
        } else if grew.elapsed() > PATIENCE {
            return Err(CliError::Bench(format!("{now} {what}, of {wanted}, and no more")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// No stream has broken.
fn check(listening: &mut JoinSet<Status>) -> Result<(), CliError> {
    match listening.try_join_next() {
        None => Ok(()),
        Some(Ok(status)) => Err(CliError::Bench(format!("a stream of watches broke: {status}"))),
        Some(Err(_)) => Err(CliError::Bench("a stream of watches died".into())),
    }
}
