//! Who calls: what is known of the other side of a connection before it has said anything.

use std::net::SocketAddr;
use std::sync::Arc;

use quorate_tls::{Acceptor, Complaints, Refusal, Stream};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// What is said to who speaks plain HTTP where TLS is spoken.
const NOT_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
this port speaks TLS only; write https:// for it\n";

/// Where clients come in.
#[derive(Debug)]
pub struct Entrance {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Acceptor>,
    pub(crate) is_for_metrics: bool,
}

impl Entrance {
    /// One for clients that speak TLS.
    pub fn with_tls(listener: TcpListener, tls: Option<Acceptor>) -> Self {
        Entrance { listener, tls, is_for_metrics: false }
    }

    /// The same, but all there is to be had are the endpoints for probes and scrapers.
    pub fn for_metrics(self) -> Self {
        Entrance { is_for_metrics: true, ..self }
    }
}

impl From<TcpListener> for Entrance {
    fn from(listener: TcpListener) -> Self {
        Entrance::with_tls(listener, None)
    }
}

/// The other side of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// The common name of its certificate, if it was asked for one: as a user is named, where certificates stand for
    /// users.
    pub(crate) common_name: Option<Arc<str>>,
}

/// Shakes hands, where that is asked for. None if it came to nothing.
pub(crate) async fn open(
    tcp: TcpStream,
    address: SocketAddr,
    tls: Option<Acceptor>,
    complaints: &Complaints,
) -> Option<(Stream, Caller)> {
    let Some(tls) = tls else {
        return Some((Stream::Plain(tcp), Caller { address, common_name: None }));
    };
    let (why, tcp) = match tls.accept(tcp).await {
        Ok(accepted) => {
            let caller = Caller { address, common_name: accepted.common_name.map(Arc::from) };
            tracing::debug!(%address, common_name = caller.common_name.as_deref(), "a client shook hands");
            return Some((accepted.stream, caller));
        }
        Err(Refusal::Gone) => return None,
        Err(Refusal::NotTls(tcp)) => {
            let why = "it does not speak TLS and this port does; write https:// in its endpoints";
            (why.to_string(), Some(tcp))
        }
        Err(Refusal::Failed(why)) => (why, None),
    };
    if complaints.is_news(&format!("{} {why}", address.ip())) {
        tracing::warn!(%address, why, "refused a client's connection");
    }
    if let Some(mut tcp) = tcp
        && tcp.write_all(NOT_TLS).await.is_ok()
    {
        // It may have hung up, which is as well.
        let _ = tcp.shutdown().await;
    }
    None
}
