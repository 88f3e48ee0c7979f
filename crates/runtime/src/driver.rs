//! The event loop of a node.
//!
//! A turn: take all messages that have arrived, then all requests; fire the timers that are due, those for the end of
//! the batch among them; hand to the kernel what may leave early; append and sync, once, for everything the turn
//! persisted; hand over what waited for that. Messages are taken first because they complete older requests, whose
//! answers then need not wait for the disk on account of newer ones.
//!
//! The clock is read once for the timers of a turn, after its inputs were taken and before any of its timers fires: a
//! timer for the end of the batch comes after every timer whose deadline has passed by then.
//!
//! The sync happens in the loop. While it runs, requests gather for the next batch, which is so as large as the disk
//! is slow; and a node whose disk stalls stops speaking, which is how its peers learn of it. A node whose disk is full
//! goes on taking inputs, and what waits for the disk waits until there is room.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_core::{Host, Input, NodeId, Protocol, RequestId, Visible, World};
use quorate_storage::vfs::Vfs;
use quorate_tls::Dialer;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::Identity;
use crate::codec::{Codec, Roster};
use crate::error::DriverError;
use crate::handle::{Handle, Question};
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::peer::PeerEvent;
use crate::peer::incoming::{Acceptor, CALLS_MAX, PeerListener};
use crate::peer::lines::Lines;
use crate::recovered::Recovered;
use crate::timers::Timers;

/// The messages, or requests, that one turn takes at most.
const BATCH_MAX: usize = 1024;
/// Messages that were read from connections and that the loop has not taken; beyond, connections are left unread.
const PEER_EVENTS_MAX: usize = 1024;

/// How a node is driven.
#[derive(Debug)]
pub struct Options {
    /// Who it is to its peers.
    pub identity: Identity,
    /// Who its peers are, and where they listen, as [`Identity`] has it, until the protocol knows (see [`Roster`]).
    pub addresses: BTreeMap<NodeId, Vec<String>>,
    /// How long after the protocol has stopped naming a peer its line is given up: it may still be told why.
    pub hang_up_after: Duration,
    /// Who answers what is asked of it by those who are no peers.
    pub enquiries: Handle<Bytes, Bytes>,
    /// Where it listens for them.
    pub listeners: Vec<PeerListener>,
    /// Who shakes hands with those that listen with TLS; they cannot be reached without.
    pub dialer: Option<Dialer>,
}

/// Asks a node that runs the protocol `P`.
pub type NodeHandle<P> = Handle<<P as Protocol>::Request, <P as Protocol>::Response>;

/// A node that has started, and its event loop, which is yet to run.
pub struct Driver<P: Protocol, C, V: Vfs> {
    config: P::Config,
    host: Host<P>,
    world: Running<P, C, V>,
    questions: mpsc::UnboundedReceiver<Question<P::Request, P::Response>>,
    peer_events: mpsc::Receiver<PeerEvent<P::Message>>,
    next_request: u64,
    /// What [`Roster::version`] said last.
    roster_version: u64,
}

/// The world of a production host.
struct Running<P: Protocol, C, V: Vfs> {
    journal: Journal<V>,
    timers: Timers<P::Timer>,
    lines: Lines<P::Message>,
    answers: HashMap<RequestId, oneshot::Sender<P::Response>>,
    random: u64,
    metrics: Arc<Metrics>,
    codec: std::marker::PhantomData<fn() -> C>,
}

impl<P, C, V> Driver<P, C, V>
where
    P: Protocol + 'static,
    P::Message: Send + 'static,
    C: Codec<P> + Roster<P> + 'static,
    V: Vfs,
{
    /// Boots the node with what it found on its disk, and begins to listen for peers and to dial them.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(
        config: P::Config,
        recovered: Recovered<P, V>,
        options: Options,
    ) -> (Self, NodeHandle<P>) {
        let Recovered { journal, metrics, durable } = recovered;
        let Options { identity, addresses, hang_up_after, enquiries, listeners, dialer } = options;
        let (events, peer_events) = mpsc::channel(PEER_EVENTS_MAX);
        let (handle, questions) = Handle::channel();
        let identity = Arc::new(identity);
        let mut lines =
            Lines::new(identity.clone(), hang_up_after, dialer, events.clone(), metrics.clone());
        lines.name(addresses);
        let acceptor = Acceptor {
            identity,
            events,
            metrics: metrics.clone(),
            enquiries,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            complaints: Arc::default(),
        };
        for listener in listeners {
            tokio::spawn(acceptor.clone().run::<P, C>(listener));
        }
        let mut world = Running {
            journal,
            timers: Timers::new(),
            lines,
            answers: HashMap::new(),
            // The only randomness is that of timers; the system's hash seed is random enough to tell nodes apart.
            random: RandomState::new().hash_one(0),
            metrics,
            codec: std::marker::PhantomData,
        };
        let last = world.journal.last();
        let host = Host::boot(&config, durable, last, &mut world);
        let driver = Driver {
            config,
            host,
            world,
            questions,
            peer_events,
            next_request: 1,
            roster_version: 0,
        };
        (driver, handle)
    }

    /// The node as it is before it runs.
    pub fn node(&self) -> &P {
        self.host.state()
    }

    /// Runs the node until `shutdown` ends or all handles are gone, and gives it back as it is then; or until the log
    /// fails: then the process must end, since what is on the disk is no longer known.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<P, DriverError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut messages = Vec::with_capacity(BATCH_MAX);
        let mut questions = Vec::with_capacity(BATCH_MAX);
        self.settle()?;
        loop {
            let retry_at = self.world.journal.retry_at();
            let wake_at = self.world.timers.next_at().into_iter().chain(retry_at).min();
            let is_behind = self.host.persisted() > self.host.durable();
            let has_work = self.world.timers.has_now() || (is_behind && retry_at.is_none());
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                _ = self.peer_events.recv_many(&mut messages, BATCH_MAX) => {}
                taken = self.questions.recv_many(&mut questions, BATCH_MAX) => {
                    if taken == 0 {
                        break;
                    }
                }
                () = std::future::ready(()), if has_work => {}
                () = sleep_until(wake_at) => {}
            }
            Metrics::count(&self.world.metrics.turns);
            while messages.len() < BATCH_MAX
                && let Ok(event) = self.peer_events.try_recv()
            {
                messages.push(event);
            }
            for event in messages.drain(..) {
                self.take_event(event);
            }
            while questions.len() < BATCH_MAX
                && let Ok(question) = self.questions.try_recv()
            {
                questions.push(question);
            }
            for Question { request, answer } in questions.drain(..) {
                let id = RequestId(self.next_request);
                self.next_request += 1;
                self.world.answers.insert(id, answer);
                self.host.step(&self.config, Input::Ask { id, request }, &mut self.world);
            }
            self.settle()?;
        }
        self.world.journal.close()?;
        Ok(self.host.into_state())
    }

    fn take_event(&mut self, event: PeerEvent<P::Message>) {
        match event {
            PeerEvent::Message { from, message } => {
                self.host.step(&self.config, Input::Deliver { from, message }, &mut self.world);
            }
            PeerEvent::Called { peer, address } => self.world.lines.called(peer, address),
            PeerEvent::HungUp { peer } => {
                if self.world.lines.hung_up(peer) {
                    self.host.step(&self.config, Input::Lost { peer }, &mut self.world);
                }
            }
            PeerEvent::Connected { peer, line, stream } => {
                self.world.lines.connected(peer, line, stream);
            }
            PeerEvent::Disconnected { peer, line } => self.world.lines.disconnected(peer, line),
            PeerEvent::Writable { peer } => self.world.lines.writable(peer),
        }
    }

    /// Ends a turn: timers, what may leave early, the disk, and what waited for it.
    fn settle(&mut self) -> Result<(), DriverError> {
        self.fire_due();
        if let Some(why) = C::why_halted(self.host.state()) {
            return Err(DriverError::Halted { why });
        }
        self.follow_roster();
        self.world.lines.flush();
        if self.host.persisted() > self.host.durable() {
            if let Some(upto) = self.world.journal.sync()? {
                self.host.synced(&self.config, upto, &mut self.world);
                self.fire_due();
                self.follow_roster();
                self.world.lines.flush();
            }
        } else {
            self.world.journal.rest()?;
        }
        Ok(())
    }

    /// Opens and gives up lines as the protocol's peers change.
    fn follow_roster(&mut self) {
        let version = C::version(self.host.state());
        if version != self.roster_version {
            self.roster_version = version;
            self.world.lines.name(C::peers(self.host.state()));
        }
    }

    fn fire_due(&mut self) {
        let now = Instant::now();
        while let Some(timer) = self.world.timers.pop_due(now) {
            self.host.step(&self.config, Input::Fire(timer), &mut self.world);
        }
    }
}

impl<P: Protocol, C, V: Vfs> Running<P, C, V>
where
    P::Message: Send + 'static,
{
    /// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl<P, C, V> World<P> for Running<P, C, V>
where
    P: Protocol,
    P::Message: Send + 'static,
    C: Codec<P>,
    V: Vfs,
{
    fn persist(&mut self, record: P::Record) {
        self.journal.append::<P, C>(&record);
    }

    fn emit(&mut self, visible: Visible<P>) {
        match visible {
            Visible::Send { to, message } => {
                self.lines.push(to, |buffer| C::encode_message(&message, buffer));
            }
            Visible::Reply { id, response } => {
                if let Some(answer) = self.answers.remove(&id) {
                    // The client may have left; the answer is nobody's then.
                    let _ = answer.send(response);
                }
            }
        }
    }

    fn arm(&mut self, timer: P::Timer, after: Range<Duration>) {
        if after.end.is_zero() {
            self.timers.arm_now(timer);
            return;
        }
        let spread = after.end.saturating_sub(after.start).as_nanos() as u64;
        let drawn = if spread == 0 { 0 } else { self.next_random() % spread };
        self.timers.arm(timer, Instant::now() + after.start + Duration::from_nanos(drawn));
    }

    fn disarm(&mut self, timer: P::Timer) {
        self.timers.disarm(&timer);
    }

    fn release(&mut self, before: u64) {
        self.journal.release(before);
    }

    fn choose(&mut self, bound: u32) -> u32 {
        (self.next_random() % u64::from(bound)) as u32
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
