//! Connections between peers.
//!
//! Each node dials every other one and only sends on what it dialled, so a connection carries messages one way, in
//! order. A message to a peer that is not connected is dropped: protocols live with loss, and a queue for a dead peer
//! would only grow. What a connection says first is a [`hello`]; who says anything else is no peer, is counted, and is
//! hung up on.
//!
//! Who the peers are, and where, is the protocol's to say ([`crate::Roster`]), and may change ([`lines`]). A node may be
//! called by one that its protocol hasn't heard of yet, because it is behind: it could never catch up if it didn't
//! answer. So a greeting says where to call back, and whoever calls is called back for as long as it does.
//!
//! A network that swallows packets breaks no connection: TCP would wait for a quarter of an hour, and two minutes long
//! between one try and the next, so that a peer stayed out of reach long after the network had healed. So a connection
//! whose other side is silent for [`SILENCE_MAX`] is broken by the system ([`limit_silence`]), and dialled anew.

//!
//! A peer that is reached at `https://host:port` is spoken to in TLS ([`connect`]). The two ends may not agree on that;
//! so each tells the other in words that it may understand: frames in the clear.

pub(crate) mod frame;
pub(crate) mod hello;
pub(crate) mod incoming;
pub(crate) mod lines;
pub(crate) mod outgoing;

use std::io;
use std::time::Duration;

use quorate_core::NodeId;
use quorate_tls::{Dialer, Link, Stream};
use rustix::net::sockopt;
use tokio::net::TcpStream;

use lines::LineNumber;

/// How long a peer's machine may leave what it was sent, or was asked, without any answer.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How often an idle connection is asked whether the other side is still there.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// What connections tell the event loop.
#[derive(Debug)]
pub(crate) enum PeerEvent<M> {
    /// A message arrived.
    Message {
        /// Its sender.
        from: NodeId,
        /// The message.
        message: M,
    },
    /// A peer dialled, and has greeted this node. Every call ends in a [`PeerEvent::HungUp`].
    Called {
        /// The peer.
        peer: NodeId,
        /// Where it says that it listens; empty if it doesn't say.
        address: String,
    },
    /// We reached a peer.
    Connected {
        /// The peer.
        peer: NodeId,
        /// The line that was dialled; there may be another one by now.
        line: LineNumber,
        /// The connection to send on.
        stream: std::sync::Arc<Link>,
    },
    /// The connection that we dialled broke.
    Disconnected {
        /// The peer.
        peer: NodeId,
        /// The line that broke.
        line: LineNumber,
    },
    /// A connection that a peer dialled broke.
    HungUp {
        /// The peer.
        peer: NodeId,
    },
    /// A connection that was full takes bytes again.
    Writable {
        /// The peer.
        peer: NodeId,
    },
}

/// What an address begins with whose owner is spoken to in TLS.
const TLS_SCHEME: &str = "https://";

/// Connects to a peer port: at `host:port`, or in TLS at `https://host:port`.
pub(crate) async fn connect(address: &str, dialer: Option<&Dialer>) -> io::Result<Stream> {
    let authority = address.strip_prefix(TLS_SCHEME);
    let tcp = TcpStream::connect(authority.unwrap_or(address)).await?;
    tcp.set_nodelay(true)?;
    limit_silence(&tcp)?;
    let Some(authority) = authority else { return Ok(Stream::Plain(tcp)) };
    let dialer = dialer.ok_or_else(|| {
        let what = "it is to be spoken to in TLS, for which this node needs --peer-cert-file and --peer-key-file";
        io::Error::new(io::ErrorKind::InvalidData, what)
    })?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    dialer.connect(host, tcp).await
}

/// Has the system break the connection once its other side is silent for [`SILENCE_MAX`], whether or not there is
/// something to send.
fn limit_silence(stream: &TcpStream) -> std::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(target_os = "linux")]
    {
        let probes = SILENCE_MAX.as_secs() / PROBE_INTERVAL.as_secs();
        sockopt::set_tcp_keepidle(stream, PROBE_INTERVAL)?;
        sockopt::set_tcp_keepintvl(stream, PROBE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(stream, probes as u32)?;
        sockopt::set_tcp_user_timeout(stream, SILENCE_MAX.as_millis() as u32)?;
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::peer::hello::Hello;

    #[tokio::test]
    async fn a_connection_to_a_peer_does_not_outlive_a_long_silence() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let hello = Hello { cluster: 1, from: NodeId(1), to: NodeId(2), address: String::new() };
        let link = outgoing::connect(&hello, &address, None).await.unwrap();
        let stream = link.tcp();
        assert_eq!(u128::from(sockopt::tcp_user_timeout(stream).unwrap()), SILENCE_MAX.as_millis());
        assert!(sockopt::socket_keepalive(stream).unwrap());
    }
}
