//! Connections that we dialled: the way messages go out.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use quorate_core::NodeId;
use quorate_tls::{Dialer, Link};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::time::{Duration, sleep, timeout};
use tracing::{debug, warn};

use super::PeerEvent;
use super::frame::{self, Kind};
use super::hello::Hello;
use super::lines::LineNumber;
use crate::metrics::{Metrics, PeerBytes};

const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
const DIAL_PAUSE_MIN: Duration = Duration::from_millis(20);
const DIAL_PAUSE_MAX: Duration = Duration::from_millis(500);
/// The bytes that may wait for a slow peer; what comes on top is dropped.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// The sending end of one peer's connection, as the event loop holds it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    stream: Option<Arc<Link>>,
    queue: BytesMut,
    /// Whether the connection was full, and [`PeerEvent::Writable`] is to come.
    is_blocked: bool,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Outgoing { stream: None, queue: BytesMut::new(), is_blocked: false }
    }

    pub(crate) fn connect(&mut self, stream: Arc<Link>) {
        *self = Outgoing { stream: Some(stream), ..Outgoing::new() };
    }

    pub(crate) fn disconnect(&mut self) {
        *self = Outgoing::new();
    }

    /// Queues a message whose bytes `write` adds, or drops it.
    pub(crate) fn push(&mut self, metrics: &Metrics, write: impl FnOnce(&mut BytesMut)) {
        if self.stream.is_none() || self.queue.len() > QUEUE_BYTES_MAX {
            Metrics::count(&metrics.messages_dropped);
            return;
        }
        Metrics::count(&metrics.messages_sent);
        frame::put(&mut self.queue, Kind::Message, write);
    }

    /// Writes as much as the connection takes.
    pub(crate) fn flush<M: Send + 'static>(
        &mut self,
        peer: NodeId,
        events: &Sender<PeerEvent<M>>,
        metrics: &Metrics,
        bytes: &PeerBytes,
    ) {
        if self.is_blocked {
            return;
        }
        let Some(stream) = &self.stream else { return };
        loop {
            let attempt = match self.queue.is_empty() {
                true => stream.try_flush().map(|()| None),
                false => stream.try_write(&self.queue).map(Some),
            };
            match attempt {
                Ok(None) => return,
                Ok(Some(written)) => {
                    Metrics::add(&metrics.bytes_sent, written);
                    Metrics::add(&bytes.sent, written);
                    self.queue.advance(written);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    let (stream, events) = (stream.clone(), events.clone());
                    tokio::spawn(async move {
                        // Broken or writable: the next write tells.
                        let _ = stream.writable().await;
                        let _ = events.send(PeerEvent::Writable { peer }).await;
                    });
                    return;
                }
                Err(error) => {
                    debug!(%peer, %error, "cannot write to a peer");
                    self.disconnect();
                    return;
                }
            }
        }
    }

    pub(crate) fn unblock(&mut self) {
        self.is_blocked = false;
    }
}

/// Whom to dial, and how.
pub(crate) struct Dialling {
    pub(crate) hello: Hello,
    pub(crate) line: LineNumber,
    pub(crate) dialer: Option<Dialer>,
}

/// Dials one peer, and again whenever the connection breaks, until its line is given up. Where the peer may be found
/// can change meanwhile; of several addresses the next is tried when one fails.
pub(crate) async fn dial<M: Send + 'static>(
    Dialling { hello, line, dialer }: Dialling,
    mut addresses: watch::Receiver<Vec<String>>,
    events: Sender<PeerEvent<M>>,
    metrics: Arc<Metrics>,
) {
    let peer = hello.to;
    let mut pause = DIAL_PAUSE_MIN;
    let mut last_objection = String::new();
    let mut attempt: usize = 0;
    while !events.is_closed() {
        let address = {
            let addresses = addresses.borrow_and_update();
            addresses.get(attempt % addresses.len().max(1)).cloned().unwrap_or_default()
        };
        match timeout(DIAL_TIMEOUT, connect(&hello, &address, dialer.as_ref())).await {
            Ok(Ok(stream)) => {
                let stream = Arc::new(stream);
                let connected = PeerEvent::Connected { peer, line, stream: stream.clone() };
                if events.send(connected).await.is_err() {
                    return;
                }
                let ended = tokio::select! {
                    objection = listen(&stream) => objection,
                    () = moved(&mut addresses, &address) => None,
                };
                Metrics::count(&metrics.disconnects);
                if events.send(PeerEvent::Disconnected { peer, line }).await.is_err() {
                    return;
                }
                match ended {
                    Some(objection) => {
                        attempt += 1;
                        let what = "the node there does not take this one for a peer";
                        complain(&mut last_objection, objection, what, peer, &address);
                    }
                    None => pause = DIAL_PAUSE_MIN,
                }
            }
            Ok(Err(error)) if error.kind() == ErrorKind::InvalidData => {
                attempt += 1;
                let what = "cannot agree with a peer on how to speak";
                complain(&mut last_objection, error.to_string(), what, peer, &address);
            }
            Ok(Err(error)) => {
                attempt += 1;
                debug!(%peer, address, %error, "cannot reach a peer");
            }
            Err(_) => {
                attempt += 1;
                debug!(%peer, address, "cannot reach a peer in time");
            }
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(DIAL_PAUSE_MAX),
            changed = addresses.changed() => match changed {
                Ok(()) => (attempt, pause) = (0, DIAL_PAUSE_MIN),
                // The line was given up.
                Err(_) => return,
            },
        }
    }
}

/// Says what is wrong, unless it was said before.
fn complain(last: &mut String, now: String, what: &str, peer: NodeId, address: &str) {
    if now != *last {
        warn!(%peer, address, objection = now, "{what}");
        *last = now;
    }
}

/// Waits until the peer is likelier to be found elsewhere than at `address`.
async fn moved(addresses: &mut watch::Receiver<Vec<String>>, address: &String) {
    // An error is that the line was given up.
    while addresses.changed().await.is_ok()
        && addresses.borrow_and_update().first() == Some(address)
    {}
}

pub(super) async fn connect(
    hello: &Hello,
    address: &str,
    dialer: Option<&Dialer>,
) -> io::Result<Link> {
    let mut stream = super::connect(address, dialer).await?;
    stream.write_all(&hello.encode()).await?;
    stream.flush().await?;
    Link::of(stream).ok_or_else(|| io::Error::other("it was accepted, not dialled"))
}

/// Waits until the other side hangs up. Returns its reason, if it gives one.
async fn listen(stream: &Link) -> Option<String> {
    let mut buffer = BytesMut::new();
    loop {
        stream.readable().await.ok()?;
        match stream.try_read(&mut buffer) {
            Ok(0) => return None,
            Ok(_) => match frame::take(&mut buffer, frame::HELLO_BYTES_MAX) {
                Ok(Some((Kind::Reject, reason))) => {
                    return Some(String::from_utf8_lossy(&reason).into_owned());
                }
                Ok(Some(_)) | Err(_) => return Some("what it says makes no sense".into()),
                Ok(None) => {}
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // Of a handshake in TLS 1.3 the one who dials learns only now that it failed.
            Err(error) if error.kind() == ErrorKind::InvalidData => return Some(error.to_string()),
            Err(_) => return None,
        }
    }
}
