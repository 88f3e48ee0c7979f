//! The thread on which all watches of the node are served.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quorate_core::{GroupId, Mutants};
use quorate_kv::service::{NodeRequest, NodeResponse};
use quorate_kv::watch::{History, Hub, Limits, Notice, StreamId, Watch};
use quorate_runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::MissedTickBehavior;

/// How long to wait before asking again a node whose store cannot be read.
const PAUSE: Duration = Duration::from_millis(100);

/// What a call has the lookout do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Begin a stream.
    Open { stream: StreamId, notices: UnboundedSender<Notice> },
    /// End a stream.
    Close { stream: StreamId },
    /// Create a watch.
    Create { stream: StreamId, id: i64, watch: Watch, history: History },
    /// End a watch.
    Cancel { stream: StreamId, id: i64 },
    /// Tell how far a stream's watches have come.
    Inquire { stream: StreamId, history: History },
    /// So much has gone to the client.
    Sent { stream: StreamId, bytes: usize },
}

/// What there is to watch, for whoever counts.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) streams: AtomicU64,
    pub(crate) watches: AtomicU64,
    pub(crate) behind: AtomicU64,
    /// Events that were told, to whomever.
    pub(crate) events: AtomicU64,
    /// The newest term of the node that is known from its histories.
    pub(crate) term: AtomicU64,
}

/// The way to the thread, which begins with the first stream and ends with the face.
#[derive(Debug)]
pub(crate) struct Lookout {
    node: Handle<NodeRequest, NodeResponse>,
    group: GroupId,
    progress_interval: Duration,
    next_stream: AtomicU64,
    orders: OnceLock<UnboundedSender<Order>>,
    pub(crate) watched: Arc<Watched>,
}

impl Lookout {
    pub(crate) fn new(
        node: Handle<NodeRequest, NodeResponse>,
        group: GroupId,
        progress_interval: Duration,
    ) -> Self {
        Lookout {
            node,
            group,
            progress_interval,
            next_stream: AtomicU64::new(0),
            orders: OnceLock::new(),
            watched: Arc::default(),
        }
    }

    /// Begins a stream. Its notices end when the node has stopped.
    pub(crate) fn open(&self) -> (StreamId, UnboundedReceiver<Notice>) {
        let stream = StreamId(self.next_stream.fetch_add(1, Relaxed));
        let (sender, notices) = unbounded_channel();
        self.order(Order::Open { stream, notices: sender });
        (stream, notices)
    }

    /// Passes an order on. If the node has stopped, nobody takes it, and the stream's notices have ended.
    pub(crate) fn order(&self, order: Order) {
        let orders = self.orders.get_or_init(|| self.start());
        let _ = orders.send(order);
    }

    fn start(&self) -> UnboundedSender<Order> {
        let (sender, orders) = unbounded_channel();
        let serving = Serving {
            node: self.node.clone(),
            group: self.group,
            hub: None,
            streams: BTreeMap::new(),
            watched: self.watched.clone(),
        };
        let progress_interval = self.progress_interval;
        let thread = std::thread::Builder::new().name("watch".to_owned());
        let started = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            match runtime {
                Ok(runtime) => runtime.block_on(serving.run(orders, progress_interval)),
                Err(error) => tracing::error!(%error, "cannot serve watches"),
            }
        });
        if let Err(error) = started {
            tracing::error!(%error, "cannot serve watches; raise the limit on threads");
        }
        sender
    }
}

struct Serving {
    node: Handle<NodeRequest, NodeResponse>,
    group: GroupId,
    /// None before the first watch.
    hub: Option<Hub>,
    streams: BTreeMap<StreamId, UnboundedSender<Notice>>,
    watched: Arc<Watched>,
}

impl Serving {
    async fn run(mut self, mut orders: UnboundedReceiver<Order>, progress_interval: Duration) {
        let mut ticks = tokio::time::interval(progress_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let node = self.node.clone();
        // What comes after what the hub knows, while anybody watches.
        let mut awaited = None;
        loop {
            let has_more = self.work();
            self.count();
            if awaited.is_none()
                && let Some(hub) = self.hub.as_ref().filter(|hub| hub.watches() > 0)
            {
                let request = NodeRequest::History { group: self.group, beyond: Some(hub.known()) };
                awaited = Some(Box::pin(ask(&node, request)));
            }
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => {
                        self.take(order);
                        while let Ok(order) = orders.try_recv() {
                            self.take(order);
                        }
                    }
                    // The face is gone.
                    None => return,
                },
                answer = async { awaited.as_mut().expect("it is awaited").await },
                    if awaited.is_some() =>
                {
                    awaited = None;
                    match answer {
                        Answer::History(history) => {
                            self.watched.term.fetch_max(history.term, Relaxed);
                            if let Some(hub) = &mut self.hub {
                                hub.learn(history);
                            }
                        }
                        Answer::NotNow => tokio::time::sleep(PAUSE).await,
                        Answer::Stopped => return,
                    }
                }
                _ = ticks.tick() => {
                    if let Some(hub) = &mut self.hub {
                        hub.tick();
                    }
                }
                () = std::future::ready(()), if has_more => {}
            }
        }
    }

    /// Takes a step, and passes on what there is to tell. Returns whether there is more to do at once.
    fn work(&mut self) -> bool {
        let Some(hub) = &mut self.hub else { return false };
        let has_more = hub.work().unwrap_or_else(|error| {
            // The node finds out for itself, and fetches another replica's state; its history is read then.
            tracing::warn!(%error, "watches wait for a state that can be read");
            false
        });
        for (stream, notice) in hub.take_notices() {
            if let Notice::Events { events, .. } = &notice {
                self.watched.events.fetch_add(events.len() as u64, Relaxed);
            }
            if let Some(notices) = self.streams.get(&stream) {
                // A call that has ended closes its stream.
                let _ = notices.send(notice);
            }
        }
        has_more
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Open { stream, notices } => {
                self.streams.insert(stream, notices);
                if let Some(hub) = &mut self.hub {
                    hub.open(stream);
                }
            }
            Order::Close { stream } => {
                self.streams.remove(&stream);
                if let Some(hub) = &mut self.hub {
                    hub.close(stream);
                }
            }
            Order::Create { stream, id, watch, history } => {
                self.hub(&history).create(stream, id, watch, history);
            }
            Order::Cancel { stream, id } => {
                if let Some(hub) = &mut self.hub {
                    hub.cancel(stream, id);
                }
            }
            Order::Inquire { stream, history } => self.hub(&history).inquire(stream, history),
            Order::Sent { stream, bytes } => {
                if let Some(hub) = &mut self.hub {
                    hub.sent(stream, bytes);
                }
            }
        }
    }

    /// The hub, which begins at this history if there is none yet.
    fn hub(&mut self, history: &History) -> &mut Hub {
        self.hub.get_or_insert_with(|| {
            let mut hub = Hub::new(history.clone(), Limits::default(), Mutants::NONE);
            for stream in self.streams.keys() {
                hub.open(*stream);
            }
            hub
        })
    }

    fn count(&self) {
        let hub = self.hub.as_ref();
        self.watched.streams.store(self.streams.len() as u64, Relaxed);
        self.watched.watches.store(hub.map_or(0, Hub::watches) as u64, Relaxed);
        self.watched.behind.store(hub.map_or(0, Hub::watches_behind) as u64, Relaxed);
    }
}

enum Answer {
    History(History),
    /// The store cannot be read now.
    NotNow,
    Stopped,
}

async fn ask(node: &Handle<NodeRequest, NodeResponse>, request: NodeRequest) -> Answer {
    match node.ask(request).await {
        Ok(NodeResponse::History(Ok(history))) => Answer::History(history),
        Ok(NodeResponse::History(Err(_)) | NodeResponse::Done { .. }) => Answer::NotNow,
        Ok(other) => unreachable!("the node answered a request for its history with {other:?}"),
        Err(_) => Answer::Stopped,
    }
}
