//! The event loop of a node.
//!
//! A turn: take all messages that have arrived, then all requests; fire the timers that are due, those for the end of
//! the batch among them; hand to the kernel what may leave early; append and sync, once, for everything the turn
//! persisted; hand over what waited for that. Messages are taken first because they complete older requests, whose
//! answers then need not wait for the disk on account of newer ones.
//!
//! The sync happens in the loop. While it runs, requests gather for the next batch, which is so as large as the disk
//! is slow; and a node whose disk stalls stops speaking, which is how its peers learn of it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_core::{Host, Input, NodeId, Protocol, RequestId, Visible, World};
use quorate_storage::log::LogOptions;
use quorate_storage::vfs::Vfs;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::codec::Codec;
use crate::error::DriverError;
use crate::handle::{Handle, Question};
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::peer::incoming::Acceptor;
use crate::peer::outgoing::{Outgoing, dial};
use crate::peer::{PeerEvent, hello::Hello};
use crate::timers::Timers;
use crate::{Cards, Identity};

/// The messages, or requests, that one turn takes at most.
const BATCH_MAX: usize = 1024;
/// Messages that were read from connections and that the loop has not taken; beyond, connections are left unread.
const PEER_EVENTS_MAX: usize = 1024;

/// How a node is driven.
#[derive(Debug)]
pub struct Options<V> {
    /// Who it is to its peers.
    pub identity: Identity,
    /// What it says of itself to its peers.
    pub card: Bytes,
    /// What its peers say of themselves.
    pub cards: Cards,
    /// Where its peers listen, as `host:port`.
    pub addresses: BTreeMap<NodeId, String>,
    /// Where it listens for them.
    pub listeners: Vec<TcpListener>,
    /// The files under it.
    pub vfs: V,
    /// The directory of its log.
    pub log_dir: PathBuf,
    /// How its log is kept.
    pub log: LogOptions,
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
}

/// The world of a production host.
struct Running<P: Protocol, C, V: Vfs> {
    journal: Journal<V>,
    timers: Timers<P::Timer>,
    outgoing: BTreeMap<NodeId, Outgoing>,
    answers: HashMap<RequestId, oneshot::Sender<P::Response>>,
    random: u64,
    metrics: Arc<Metrics>,
    events: mpsc::Sender<PeerEvent<P::Message>>,
    codec: std::marker::PhantomData<fn() -> C>,
}

impl<P, C, V> Driver<P, C, V>
where
    P: Protocol + 'static,
    P::Message: Send + 'static,
    C: Codec<P> + 'static,
    V: Vfs,
{
    /// Recovers the node from its log, folded onto `base`, and begins to listen for peers and to dial them.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(
        config: P::Config,
        base: P::Durable,
        options: Options<V>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, NodeHandle<P>), DriverError> {
        let Options { identity, card, cards, addresses, listeners, vfs, log_dir, log } = options;
        let (journal, durable) = Journal::open::<P, C>(vfs, log_dir, log, base, metrics.clone())?;
        let (events, peer_events) = mpsc::channel(PEER_EVENTS_MAX);
        let (handle, questions) = Handle::channel();
        for (peer, address) in addresses.iter().filter(|(peer, _)| **peer != identity.me) {
            let hello = Hello {
                cluster: identity.cluster,
                from: identity.me,
                to: *peer,
                card: card.clone(),
            };
            tokio::spawn(dial(hello, address.clone(), events.clone(), metrics.clone()));
        }
        let acceptor = Acceptor {
            identity: Arc::new(identity),
            events: events.clone(),
            metrics: metrics.clone(),
            cards,
            open: Arc::new(Mutex::default()),
        };
        for listener in listeners {
            tokio::spawn(acceptor.clone().run::<P, C>(listener));
        }
        let mut world = Running {
            journal,
            timers: Timers::new(),
            outgoing: addresses.into_keys().map(|peer| (peer, Outgoing::new())).collect(),
            answers: HashMap::new(),
            // The only randomness is that of timers; the system's hash seed is random enough to tell nodes apart.
            random: RandomState::new().hash_one(0),
            metrics,
            events,
            codec: std::marker::PhantomData,
        };
        let last = world.journal.last();
        let host = Host::boot(&config, durable, last, &mut world);
        let driver = Driver { config, host, world, questions, peer_events, next_request: 1 };
        Ok((driver, handle))
    }

    /// Runs the node until `shutdown` ends, all handles are gone, or the log fails: then the process must end, since
    /// what is on the disk is no longer known.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), DriverError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut messages = Vec::with_capacity(BATCH_MAX);
        let mut questions = Vec::with_capacity(BATCH_MAX);
        self.settle()?;
        loop {
            let wake_at = self.world.timers.next_at();
            let has_work =
                self.world.timers.has_now() || self.host.persisted() > self.host.durable();
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
        self.world.journal.close()
    }

    fn take_event(&mut self, event: PeerEvent<P::Message>) {
        match event {
            PeerEvent::Message { from, message } => {
                self.host.step(&self.config, Input::Deliver { from, message }, &mut self.world);
            }
            PeerEvent::Lost { peer } => {
                self.host.step(&self.config, Input::Lost { peer }, &mut self.world);
            }
            PeerEvent::Connected { peer, stream } => {
                self.world.with_outgoing(peer, |outgoing| outgoing.connect(stream));
            }
            PeerEvent::Disconnected { peer } => {
                self.world.with_outgoing(peer, Outgoing::disconnect);
            }
            PeerEvent::Writable { peer } => self.world.with_outgoing(peer, Outgoing::unblock),
        }
    }

    /// Ends a turn: timers, what may leave early, the disk, and what waited for it.
    fn settle(&mut self) -> Result<(), DriverError> {
        self.fire_due();
        self.world.flush();
        if self.host.persisted() > self.host.durable() {
            let upto = self.world.journal.sync()?;
            self.host.synced(&self.config, upto, &mut self.world);
            self.fire_due();
            self.world.flush();
        } else {
            self.world.journal.rest()?;
        }
        Ok(())
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
    fn with_outgoing(&mut self, peer: NodeId, change: impl FnOnce(&mut Outgoing)) {
        if let Some(outgoing) = self.outgoing.get_mut(&peer) {
            change(outgoing);
        }
    }

    fn flush(&mut self) {
        for (peer, outgoing) in &mut self.outgoing {
            outgoing.flush(*peer, &self.events, &self.metrics);
        }
    }

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
                if let Some(outgoing) = self.outgoing.get_mut(&to) {
                    outgoing.push(&self.metrics, |buffer| C::encode_message(&message, buffer));
                }
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
