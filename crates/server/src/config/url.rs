//! The URLs that a node is told.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

/// `http://HOST:PORT` or `https://HOST:PORT`, the only forms of URL that a node takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpUrl {
    /// Whether TLS is spoken there.
    pub is_tls: bool,
    /// A name or an address, in lower case; an IPv6 address without its brackets.
    pub host: String,
    /// Never zero.
    pub port: u16,
}

impl HttpUrl {
    /// Where a peer is dialled, as the runtime has it: `HOST:PORT`, with `https://` before it for TLS.
    pub fn address(&self) -> String {
        if self.is_tls { self.to_string() } else { self.authority() }
    }

    /// `HOST:PORT`, as a connection is opened with.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl FromStr for HttpUrl {
    type Err = UrlFault;

    fn from_str(text: &str) -> Result<Self, UrlFault> {
        let (is_tls, authority) =
            match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
                (Some(authority), _) => (true, authority),
                (None, Some(authority)) => (false, authority),
                (None, None) => return Err(UrlFault::Scheme),
            };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority.rsplit_once(':').ok_or(UrlFault::Port)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(UrlFault::Port)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().map_err(|_| UrlFault::Host)?.to_string(),
            None => host.to_ascii_lowercase(),
        };
        let is_v6 = host.contains(':');
        let is_name = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        // An IPv6 address without brackets would leave it open where the port begins.
        let is_bracketed = authority.starts_with('[');
        if host.is_empty() || is_v6 != is_bracketed || (!is_v6 && !is_name) {
            return Err(UrlFault::Host);
        }
        Ok(HttpUrl { is_tls, host, port })
    }
}

impl HttpUrl {
    /// The address, where the host is one. `localhost` stands for 127.0.0.1.
    pub(super) fn socket_addr(&self) -> Option<SocketAddr> {
        let ip = match self.host.as_str() {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.parse().ok()?,
        };
        Some(SocketAddr::new(ip, self.port))
    }

    pub(super) fn is_unspecified(&self) -> bool {
        self.socket_addr().is_some_and(|addr| addr.ip().is_unspecified())
    }
}

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UrlFault {
    /// It begins with neither scheme.
    #[error("it must begin with http:// or https://, as in http://127.0.0.1:2379")]
    Scheme,
    /// It has no port between 1 and 65535, or a path after it.
    #[error("it must end in a port between 1 and 65535, as in http://127.0.0.1:2379")]
    Port,
    /// Its host is neither a name nor an address.
    #[error("its host must be a name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// A listener was asked to bind a name.
    #[error(
        "a node listens on an address, not on a name; write its IP, or 0.0.0.0 for all of them"
    )]
    NotAnAddress,
    /// An address that nobody can connect to was advertised.
    #[error("others cannot connect to it; write an address at which they reach this node")]
    Unspecified,
}
