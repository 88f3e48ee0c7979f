//! Where a node is reached, and a connection to it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint as Transport};

use crate::ClientError;

/// Responses are as large as the caller asked for; a limit of the client's own would turn an answered request
/// into a failed one.
pub const ANSWER_BYTES_MAX: usize = usize::MAX;

/// How often a connection with calls under way is asked whether the node is still there. A call may wait for a lock for
/// ever, and the machine on which it waits may have vanished.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long such a question may go unanswered.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Where one node is reached: `HOST:PORT`, with or without `http://` before it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    authority: String,
    transport: Transport,
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.authority == other.authority
    }
}

impl Eq for Endpoint {}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

impl FromStr for Endpoint {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let bad = |fault| ClientError::BadEndpoint { value: text.into(), fault };
        if text.starts_with("https://") {
            return Err(bad("https is not supported yet"));
        }
        let authority = text.strip_prefix("http://").unwrap_or(text);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority.rsplit_once(':').ok_or(bad("it has no port"))?;
        if !port.parse::<u16>().is_ok_and(|port| port != 0) {
            return Err(bad("its port is not between 1 and 65535"));
        }
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(bad("its host is neither a name nor an address"));
        }
        let transport = Transport::from_shared(format!("http://{authority}"))
            .map_err(|_| bad("its host is neither a name nor an address"))?;
        Ok(Endpoint { authority: authority.into(), transport })
    }
}

impl Endpoint {
    /// A connection that is made when it is first used, and again whenever it has broken.
    ///
    /// Must be called within a tokio runtime, which then drives the connection.
    pub fn channel(&self, connect_timeout: Duration) -> Channel {
        let transport = self.transport.clone().tcp_nodelay(true).connect_timeout(connect_timeout);
        transport
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .connect_lazy()
    }

    /// A connection made now.
    pub async fn connect(&self, connect_timeout: Duration) -> Result<Channel, ClientError> {
        let transport = self.transport.clone().tcp_nodelay(true).connect_timeout(connect_timeout);
        transport.connect().await.map_err(|error| ClientError::Unreachable {
            endpoint: self.to_string(),
            reason: crate::error::innermost(&error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_with_and_without_its_scheme() {
        for written in ["127.0.0.1:2379", "http://127.0.0.1:2379", "http://127.0.0.1:2379/"] {
            assert_eq!(written.parse::<Endpoint>().unwrap().to_string(), "127.0.0.1:2379");
        }
        assert_eq!("[::1]:2379".parse::<Endpoint>().unwrap().to_string(), "[::1]:2379");
    }

    #[test]
    fn an_endpoint_that_is_not_one_says_which_part_is_wrong() {
        for (written, fault) in [
            ("https://127.0.0.1:2379", "https is not supported yet"),
            ("127.0.0.1", "no port"),
            ("127.0.0.1:0", "between 1 and 65535"),
            (":2379", "host"),
            ("http://a/b:2379", "host"),
            ("", "no port"),
        ] {
            let said = written.parse::<Endpoint>().unwrap_err().to_string();
            assert!(said.contains(fault) && said.contains(written), "{written}: {said}");
        }
    }
}
