//! Connections that peers dialled: the way messages come in.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quorate_core::{NodeId, Protocol};
use quorate_tls::{Complaints, Refusal, Stream, looks_like_tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, timeout};
use tracing::{info, warn};

use super::PeerEvent;
use super::frame::{self, Kind};
use super::hello::Hello;
use crate::Identity;
use crate::codec::Codec;
use crate::handle::Handle;
use crate::metrics::Metrics;

/// How long a connection may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the answer to an enquiry may take; who asks has given up by then.
const ENQUIRY_TIMEOUT: Duration = Duration::from_secs(30);
/// The connections of peers that are taken at a time. Whoever knows the cluster's id may call, so there must be an end;
/// it is far beyond what a cluster can have for members.
pub(crate) const CALLS_MAX: usize = 256;

/// What is said to those who speak TLS, and to those who do not, where it is the other way round.
const SPEAKS_TLS: &str = "it speaks TLS and this port does not; write http:// where this node is named as a peer, or give \
                          this node --peer-cert-file, --peer-key-file and https:// in --listen-peer-urls";
const SPEAKS_NO_TLS: &str = "it does not speak TLS and this port does; write https:// where this node is named as a peer, \
                             and give the one that calls --peer-cert-file and --peer-key-file";

/// Accepts connections until the event loop is gone.
pub(crate) struct Acceptor<M> {
    pub(crate) identity: Arc<Identity>,
    pub(crate) events: Sender<PeerEvent<M>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Who answers enquiries.
    pub(crate) enquiries: Handle<Bytes, Bytes>,
    /// A permit for each connection of a peer.
    pub(crate) calls: Arc<Semaphore>,
    pub(crate) complaints: Arc<Complaints>,
}

impl<M> Clone for Acceptor<M> {
    fn clone(&self) -> Self {
        Acceptor {
            identity: self.identity.clone(),
            events: self.events.clone(),
            metrics: self.metrics.clone(),
            enquiries: self.enquiries.clone(),
            calls: self.calls.clone(),
            complaints: self.complaints.clone(),
        }
    }
}

/// Where a node listens for its peers.
#[derive(Debug)]
pub struct PeerListener {
    listener: TcpListener,
    tls: Option<quorate_tls::Acceptor>,
}

impl PeerListener {
    /// One whose peers speak TLS.
    pub fn with_tls(listener: TcpListener, tls: quorate_tls::Acceptor) -> Self {
        PeerListener { listener, tls: Some(tls) }
    }
}

impl From<TcpListener> for PeerListener {
    fn from(listener: TcpListener) -> Self {
        PeerListener { listener, tls: None }
    }
}

/// What a connection begins with.
enum Greeting {
    Hello(Hello),
    Enquiry(Bytes),
}

/// Who is talked to.
enum Admitted {
    Peer(OwnedSemaphorePermit, Hello),
    Enquirer(Bytes),
}

async fn greet(stream: &mut Stream, buffer: &mut BytesMut) -> Result<Greeting, String> {
    let (kind, body) = loop {
        // No greeting of ours begins so: it would be longer than any is.
        if looks_like_tls(buffer) {
            return Err(SPEAKS_TLS.into());
        }
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
    let greeting = match kind {
        Kind::Hello => Hello::decode(body).map(Greeting::Hello),
        Kind::Enquiry => Some(Greeting::Enquiry(body)),
        Kind::Reject | Kind::Message | Kind::Answer => None,
    };
    greeting.ok_or_else(|| "what it says is not a peer's greeting".into())
}

impl<M: Send + 'static> Acceptor<M> {
    pub(crate) async fn run<P, C>(self, PeerListener { listener, tls }: PeerListener)
    where
        P: Protocol<Message = M> + 'static,
        C: Codec<P> + 'static,
    {
        loop {
            tokio::select! {
                () = self.events.closed() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => {
                        tokio::spawn(self.clone().open::<P, C>(stream, address, tls.clone()));
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

    async fn open<P, C>(
        self,
        tcp: TcpStream,
        address: SocketAddr,
        tls: Option<quorate_tls::Acceptor>,
    ) where
        P: Protocol<Message = M> + 'static,
        C: Codec<P> + 'static,
    {
        if let Err(error) = super::limit_silence(&tcp) {
            // It serves as well as ever; only its end may go unnoticed.
            warn!(%address, %error, "cannot limit the silence on a peer's connection");
        }
        let accepted = match tls {
            None => return self.serve::<P, C>(Stream::Plain(tcp), address).await,
            Some(tls) => tls.accept(tcp).await,
        };
        match accepted {
            Ok(accepted) => self.serve::<P, C>(accepted.stream, address).await,
            Err(Refusal::NotTls(tcp)) => {
                self.reject(Stream::Plain(tcp), address, SPEAKS_NO_TLS.into()).await
            }
            Err(Refusal::Failed(objection)) => self.object(address, &objection),
            Err(Refusal::Gone) => Metrics::count(&self.metrics.strangers),
        }
    }

    fn object(&self, address: SocketAddr, objection: &str) {
        Metrics::count(&self.metrics.strangers);
        if self.complaints.is_news(&format!("{} {objection}", address.ip())) {
            warn!(%address, objection, "closed a connection on the peer port");
        }
    }

    /// The other side is wrong and is told why, if it listens.
    async fn reject(&self, mut stream: Stream, address: SocketAddr, objection: String) {
        self.object(address, &objection);
        let mut reply = BytesMut::new();
        frame::put(&mut reply, Kind::Reject, |buffer| {
            buffer.extend_from_slice(objection.as_bytes());
        });
        if stream.write_all(&reply).await.is_ok() {
            // It may be gone by now, which is as well.
            let _ = stream.shutdown().await;
        }
    }

    async fn serve<P, C>(self, mut stream: Stream, address: SocketAddr)
    where
        P: Protocol<Message = M> + 'static,
        C: Codec<P> + 'static,
    {
        let mut buffer = BytesMut::with_capacity(64 << 10);
        let greeted = timeout(HELLO_TIMEOUT, greet(&mut stream, &mut buffer)).await;
        let greeting = greeted.unwrap_or_else(|_| Err("it did not say who it is in time".into()));
        let admitted = greeting.and_then(|greeting| match greeting {
            Greeting::Hello(hello) => Ok(Admitted::Peer(self.admit(&hello)?, hello)),
            Greeting::Enquiry(question) => Ok(Admitted::Enquirer(question)),
        });
        match admitted {
            Ok(Admitted::Peer(_permit, hello)) => {
                self.converse::<P, C>(hello, address, &mut stream, &mut buffer).await;
            }
            Ok(Admitted::Enquirer(question)) => self.answer(question, stream, address).await,
            Err(objection) => self.reject(stream, address, objection).await,
        }
    }

    /// Lets in whoever means this node, unless there are too many.
    fn admit(&self, hello: &Hello) -> Result<OwnedSemaphorePermit, String> {
        let Identity { cluster, me, .. } = &*self.identity;
        if let Some(objection) = hello.objection(*cluster, *me) {
            return Err(objection);
        }
        let permit = self.calls.clone().try_acquire_owned();
        permit.map_err(|_| format!("{CALLS_MAX} peers' connections are open already"))
    }

    /// Takes a peer's messages until it hangs up.
    async fn converse<P, C>(
        &self,
        hello: Hello,
        address: SocketAddr,
        stream: &mut Stream,
        buffer: &mut BytesMut,
    ) where
        P: Protocol<Message = M> + 'static,
        C: Codec<P> + 'static,
    {
        let Hello { from: peer, address: calls_from, .. } = hello;
        info!(%peer, %address, "peer connected");
        // If the loop is gone, so will be this connection.
        let _ = self.events.send(PeerEvent::Called { peer, address: calls_from }).await;
        if let Err(error) = self.read::<P, C>(peer, stream, buffer).await {
            warn!(%peer, %address, error, "closed a peer's connection");
        }
        let _ = self.events.send(PeerEvent::HungUp { peer }).await;
    }

    async fn answer(&self, question: Bytes, mut stream: Stream, address: SocketAddr) {
        let answer = timeout(ENQUIRY_TIMEOUT, self.enquiries.ask(question)).await;
        // Hanging up says enough: who asked asks somebody else.
        let Ok(Ok(answer)) = answer else { return };
        let mut reply = BytesMut::new();
        frame::put(&mut reply, Kind::Answer, |buffer| buffer.extend_from_slice(&answer));
        let written = match stream.write_all(&reply).await {
            Ok(()) => stream.flush().await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            warn!(%address, %error, "an enquiry was answered to nobody");
        }
    }

    async fn read<P, C>(
        &self,
        peer: NodeId,
        stream: &mut Stream,
        buffer: &mut BytesMut,
    ) -> Result<(), String>
    where
        P: Protocol<Message = M> + 'static,
        C: Codec<P> + 'static,
    {
        let bytes = self.metrics.peer(peer);
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
                Ok(read) => Metrics::add(&bytes.received, read),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
