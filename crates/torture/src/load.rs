//! Clients that read and write all the time, and the history of what they saw.
//!
//! Every client is a stock one, with a connection to one node only, so that each node is asked all the time and the
//! history shows what each of them answered. A client does one thing after another: it asks, notes down the answer, and
//! waits for its next turn. What has no answer is noted as *unknown*, unless the error proves that nothing happened
//! (see `refusal`): a history that calls a write refused which happened after all accuses a database that is right, and
//! one that calls everything unknown excuses a database that is wrong.

pub(crate) mod asker;
mod refusal;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions};
use quorate_check::kv_model::{KvHistory, KvInput, KvOutput};
use quorate_check::{ClientId, OpId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::cluster::DEADLINE;
use crate::error::TortureError;
use asker::Asker;

/// How much load, and of what kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// How many clients each node has.
    pub clients_per_node: usize,
    /// How often each client asks, at most: the next question waits for the answer to the one before.
    pub interval: Duration,
    /// How many keys they share. Few make them collide.
    pub keys: u64,
    /// How long a client waits for an answer.
    pub timeout: Duration,
}

impl Default for LoadOptions {
    /// Some thousands of operations a second of five nodes, on few enough keys that they collide.
    fn default() -> Self {
        LoadOptions {
            clients_per_node: 4,
            interval: Duration::from_millis(3),
            keys: 12,
            timeout: Duration::from_secs(2),
        }
    }
}

/// Clients at work. They stop when this is dropped.
#[derive(Debug)]
pub struct Load {
    endpoints: Vec<String>,
    recorder: Arc<Recorder>,
    clients: JoinSet<()>,
}

/// What the clients saw.
#[derive(Debug)]
pub struct Report {
    pub(crate) endpoints: Vec<String>,
    pub(crate) recorder: Arc<Recorder>,
}

/// The history under way, on one clock.
#[derive(Debug)]
pub(crate) struct Recorder {
    started: Instant,
    history: Mutex<KvHistory>,
    /// How many operations had an answer.
    answered: watch::Sender<u64>,
    is_over: AtomicBool,
}

impl Load {
    /// Sets clients to work on every endpoint.
    pub async fn start(endpoints: Vec<String>, options: LoadOptions) -> Result<Self, TortureError> {
        let recorder = Arc::new(Recorder {
            started: Instant::now(),
            history: Mutex::default(),
            answered: watch::Sender::new(0),
            is_over: AtomicBool::new(false),
        });
        let mut clients = JoinSet::new();
        for place in 0..endpoints.len() * options.clients_per_node {
            let endpoint = &endpoints[place % endpoints.len()];
            let connect = ConnectOptions::new()
                .with_timeout(options.timeout)
                .with_connect_timeout(options.timeout);
            // This does not connect yet: a node that is down is no reason not to begin.
            let client = Client::connect([endpoint], Some(connect))
                .await
                .map_err(|source| TortureError::Client { endpoints: endpoint.clone(), source })?;
            let asker = Asker::new(ClientId(place as u64), client, options.keys);
            clients.spawn(ask_all_the_time(asker, recorder.clone(), options.interval));
        }
        Ok(Load { endpoints, recorder, clients })
    }

    /// Waits until `count` more operations have been answered: the cluster serves.
    pub async fn answers(&self, count: u64) -> Result<(), TortureError> {
        let mut answered = self.recorder.answered.subscribe();
        let goal = *answered.borrow() + count;
        let seen = tokio::time::timeout(DEADLINE, answered.wait_for(|answered| *answered >= goal));
        let is_seen = seen.await.is_ok();
        let missing = goal.saturating_sub(*self.recorder.answered.borrow());
        if is_seen {
            return Ok(());
        }
        Err(TortureError::NotSeen {
            what: format!("{count} more operations being answered"),
            within: DEADLINE,
            last: format!("{missing} were missing"),
        })
    }

    /// Tells the clients to stop, and waits until each has had its last answer or given it up.
    pub async fn stop(mut self) -> Report {
        self.recorder.is_over.store(true, Ordering::Relaxed);
        while let Some(outcome) = self.clients.join_next().await {
            // A client that panicked found an answer that cannot be.
            if let Err(error) = outcome {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        Report { endpoints: self.endpoints, recorder: self.recorder }
    }
}

async fn ask_all_the_time(mut asker: Asker, recorder: Arc<Recorder>, interval: Duration) {
    let mut turns = tokio::time::interval(interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !recorder.is_over.load(Ordering::Relaxed) {
        turns.tick().await;
        let input = asker.next_question();
        recorder.record(&mut asker, input).await;
    }
}

impl Recorder {
    /// Asks, and notes down what comes of it.
    pub(crate) async fn record(&self, asker: &mut Asker, input: KvInput) -> Option<KvOutput> {
        let op = self.invoked(asker.id(), input.clone());
        match asker.ask(&input).await {
            Ok(output) => {
                self.history().complete(op, output.clone(), self.now_ns());
                self.answered.send_modify(|answered| *answered += 1);
                Some(output)
            }
            Err(error) if refusal::is_certain(&error) => {
                self.history().refused(op);
                None
            }
            Err(_) => {
                self.history().unknown(op);
                None
            }
        }
    }

    fn invoked(&self, client: ClientId, input: KvInput) -> OpId {
        // The clock is read under the lock, so that the order of recording is that of time.
        let mut history = self.history();
        history.invoke(client, input, self.now_ns())
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, KvHistory> {
        self.history.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Report {
    /// How many operations were answered.
    pub fn answered(&self) -> usize {
        let history = self.recorder.history();
        history.operations().filter(|(_, operation)| operation.output().is_some()).count()
    }

    /// How many have no answer, and may have happened.
    pub fn unknown(&self) -> usize {
        let history = self.recorder.history();
        history.operations().filter(|(_, operation)| operation.output().is_none()).count()
    }

    /// How many certainly did not happen.
    pub fn refused(&self) -> usize {
        let history = self.recorder.history();
        history.len() - history.operations().count()
    }

    /// The longest time without any answer to anybody that overlaps `from` to `to`: how long a fault stopped service.
    pub fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let since_start = |at: Instant| at.saturating_duration_since(self.recorder.started);
        let answers = self.recorder.history();
        let answers = answers.operations().filter_map(|(_, operation)| operation.completed_ns());
        longest_gap(answers, since_start(from), since_start(to))
    }
}

fn longest_gap(answers_ns: impl Iterator<Item = u64>, from: Duration, to: Duration) -> Duration {
    let mut answers: Vec<Duration> = answers_ns.map(Duration::from_nanos).collect();
    answers.sort_unstable();
    let gaps = answers.windows(2).filter(|pair| pair[1] >= from && pair[0] <= to);
    gaps.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_that_between_answers_around_the_fault() {
        let seconds = Duration::from_secs;
        let gap = |from, to| {
            let answers = [1, 2, 9, 10, 14, 15].map(|at| seconds(at).as_nanos() as u64);
            longest_gap(answers.into_iter(), seconds(from), seconds(to))
        };
        assert_eq!(gap(0, 20), seconds(7));
        assert_eq!(gap(3, 4), seconds(7), "a fault within the gap");
        assert_eq!(gap(10, 20), seconds(4), "after the first fault");
        assert_eq!(gap(16, 20), Duration::ZERO);
    }
}
