//! Connections that peers dialled: the way messages come in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use quorate_core::{NodeId, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Sender;
use tokio::time::{Duration, timeout};
use tracing::{info, warn};

use super::PeerEvent;
use super::frame::{self, Kind};
use super::hello::Hello;
use crate::codec::Codec;
use crate::metrics::Metrics;
use crate::{Cards, Identity};

/// How long a connection may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Accepts connections until the event loop is gone.
pub(crate) struct Acceptor<M> {
    pub(crate) identity: Arc<Identity>,
    pub(crate) events: Sender<PeerEvent<M>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) cards: Cards,
    /// How many connections each peer has here: one, and two for a moment while it dials anew.
    pub(crate) open: Arc<Mutex<BTreeMap<NodeId, usize>>>,
}

impl<M> Clone for Acceptor<M> {
    fn clone(&self) -> Self {
        Acceptor {
            identity: self.identity.clone(),
            events: self.events.clone(),
            metrics: self.metrics.clone(),
            cards: self.cards.clone(),
            open: self.open.clone(),
        }
    }
}

impl<M: Send + 'static> Acceptor<M> {
    pub(crate) async fn run<P, C>(self, listener: TcpListener)
    where
        P: Protocol<Message = M> + 'static,
        C: Codec<P> + 'static,
    {
        loop {
            tokio::select! {
                () = self.events.closed() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => {
                        tokio::spawn(self.clone().serve::<P, C>(stream, address));
                    }
                    Err(error) => {
                        // Out of file descriptors, most likely: accepting again at once would spin.
                        warn!(%error, "cannot accept a connection on the peer port");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
    }

    async fn serve<P, C>(self, mut stream: TcpStream, address: SocketAddr)
    where
        P: Protocol<Message = M> + 'static,
        C: Codec<P> + 'static,
    {
        if let Err(error) = super::limit_silence(&stream) {
            // It serves as well as ever; only its end may go unnoticed.
            warn!(%address, %error, "cannot limit the silence on a peer's connection");
        }
        let mut buffer = BytesMut::with_capacity(64 << 10);
        let greeted = timeout(HELLO_TIMEOUT, self.greet(&mut stream, &mut buffer)).await;
        let peer = match greeted.unwrap_or_else(|_| Err("it did not say who it is in time".into()))
        {
            Ok(peer) => peer,
            Err(objection) => {
                Metrics::count(&self.metrics.strangers);
                warn!(%address, objection, "closed a connection on the peer port");
                return;
            }
        };
        info!(%peer, %address, "peer connected");
        self.count_open(peer, |open| *open += 1);
        if let Err(error) = self.read::<P, C>(peer, &mut stream, &mut buffer).await {
            warn!(%peer, %address, error, "closed a peer's connection");
        }
        if self.count_open(peer, |open| *open -= 1) == 0 {
            // The loop may be gone; then nobody wants to know.
            let _ = self.events.send(PeerEvent::Lost { peer }).await;
        }
    }

    fn count_open(&self, peer: NodeId, change: impl FnOnce(&mut usize)) -> usize {
        let mut open = self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let open = open.entry(peer).or_insert(0);
        change(open);
        *open
    }

    async fn greet(&self, stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<NodeId, String> {
        let (kind, body) = loop {
            let taken = frame::take(buffer, frame::HELLO_BYTES_MAX);
            if let Some(frame) = taken.map_err(|error| error.to_string())? {
                break frame;
            }
            match stream.read_buf(buffer).await {
                Ok(0) => return Err("it hung up before it said who it is".into()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        };
        let hello = match kind {
            Kind::Hello => Hello::decode(body),
            Kind::Reject | Kind::Message => None,
        };
        let hello = hello.ok_or("what it says is not a peer's greeting")?;
        let Identity { cluster, me, members } = &*self.identity;
        match hello.objection(*cluster, *me, members) {
            None => {
                self.cards.put(hello.from, hello.card);
                Ok(hello.from)
            }
            Some(objection) => {
                let mut reply = BytesMut::new();
                frame::put(&mut reply, Kind::Reject, |buffer| {
                    buffer.extend_from_slice(objection.as_bytes());
                });
                // The other side is wrong and is told why, if it listens.
                let _ = stream.write_all(&reply).await;
                Err(objection)
            }
        }
    }

    async fn read<P, C>(
        &self,
        peer: NodeId,
        stream: &mut TcpStream,
        buffer: &mut BytesMut,
    ) -> Result<(), String>
    where
        P: Protocol<Message = M> + 'static,
        C: Codec<P> + 'static,
    {
        loop {
            while let Some((kind, body)) =
                frame::take(buffer, frame::MESSAGE_BYTES_MAX).map_err(|error| error.to_string())?
            {
                if kind != Kind::Message {
                    return Err("a greeting in the middle of a conversation".into());
                }
                let message = C::decode_message(body).map_err(|error| error.to_string())?;
                if self.events.send(PeerEvent::Message { from: peer, message }).await.is_err() {
                    return Ok(());
                }
            }
            match stream.read_buf(buffer).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
