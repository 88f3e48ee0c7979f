//! Questions to a node from somebody who is no peer of it, or not yet: one question and one answer a connection.
//!
//! What they mean is not the runtime's affair. A node that is about to join asks so for its place in the cluster; a
//! node that does not lead has so the one that does change the membership.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quorate_tls::{Dialer, Stream};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::peer;
use crate::peer::frame::{self, FrameError, Kind};

/// Why an enquiry has no answer. Once the other side was reached, what was asked *may have* happened.
#[derive(Debug, Error)]
pub enum EnquiryError {
    /// Nobody could be reached there. Nothing was asked.
    #[error("cannot connect: {0}")]
    Unreachable(#[source] io::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// The other side hung up without an answer.
    #[error("it hung up without an answer")]
    HungUp,
    /// What came is no answer.
    #[error("what it says makes no sense; is that a peer port of Quorate?")]
    Nonsense,
    /// Nothing came in time.
    #[error("no answer came in time")]
    Late,
}

impl EnquiryError {
    /// Whether it is certain that nothing was asked.
    pub fn did_not_happen(&self) -> bool {
        matches!(self, EnquiryError::Unreachable(_))
    }
}

impl From<FrameError> for EnquiryError {
    fn from(_: FrameError) -> Self {
        EnquiryError::Nonsense
    }
}

/// Asks the node that listens for its peers at `address`, which is `host:port`; in TLS, if that is `https://host:port`.
pub async fn enquire(
    address: &str,
    dialer: Option<&Dialer>,
    question: &[u8],
    within: Duration,
) -> Result<Bytes, EnquiryError> {
    let stream = match timeout(within, peer::connect(address, dialer)).await {
        Ok(connected) => connected.map_err(EnquiryError::Unreachable)?,
        Err(_) => return Err(EnquiryError::Unreachable(io::ErrorKind::TimedOut.into())),
    };
    timeout(within, converse(stream, question)).await.unwrap_or(Err(EnquiryError::Late))
}

async fn converse(mut stream: Stream, question: &[u8]) -> Result<Bytes, EnquiryError> {
    let mut buffer = BytesMut::new();
    frame::put(&mut buffer, Kind::Enquiry, |buffer| buffer.extend_from_slice(question));
    stream.write_all(&buffer).await?;
    stream.flush().await?;
    buffer.clear();
    loop {
        match frame::take(&mut buffer, frame::ANSWER_BYTES_MAX)? {
            Some((Kind::Answer, answer)) => return Ok(answer),
            Some(_) => return Err(EnquiryError::Nonsense),
            None if stream.read_buf(&mut buffer).await? == 0 => return Err(EnquiryError::HungUp),
            None => {}
        }
    }
}
