//! A connection that must begin in time.
//!
//! What tells HTTP/1 from HTTP/2 waits until it has read as much as HTTP/2 begins with, for as long as that takes, and
//! everything that bounds a client's silence comes behind it: the time for a head in HTTP/1, the keep-alive of HTTP/2. So
//! whoever connects and says nothing would hold a file for ever, and who does so often enough all that there are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// As many bytes as HTTP/2 begins with (RFC 9113, section 3.4).
const BEGINNING_BYTES: usize = 24;

/// A stream that fails if its beginning has not come in time.
pub(crate) struct Punctual<S> {
    stream: S,
    /// None once it has.
    beginning: Option<Beginning>,
}

struct Beginning {
    is_late: Pin<Box<Sleep>>,
    read_bytes: usize,
}

impl<S> Punctual<S> {
    pub(crate) fn new(stream: S, within: Duration) -> Self {
        let is_late = Box::pin(tokio::time::sleep(within));
        Punctual { stream, beginning: Some(Beginning { is_late, read_bytes: 0 }) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Punctual<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(beginning) = &mut self.beginning else { return polled };
        match polled {
            Poll::Ready(outcome) => {
                beginning.read_bytes += buffer.filled().len() - before;
                if beginning.read_bytes >= BEGINNING_BYTES {
                    self.beginning = None;
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                ready!(beginning.is_late.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Punctual<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn who_says_too_little_is_given_up() {
        for said in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let (mut client, served) = duplex(100);
            client.write_all(said).await.expect("there is room");
            let mut heard = Vec::new();
            let read = Punctual::new(served, SOON).read_to_end(&mut heard).await;
            assert_eq!(read.expect_err("it is late").kind(), io::ErrorKind::TimedOut);
            assert_eq!(heard, said, "what was said is passed on");
        }
    }

    #[tokio::test]
    async fn who_has_begun_may_be_silent_for_as_long_as_it_likes() {
        let (mut client, served) = duplex(100);
        client.write_all(&[7; BEGINNING_BYTES]).await.expect("there is room");
        let mut served = Punctual::new(served, SOON);
        let mut heard = [0; BEGINNING_BYTES];
        served.read_exact(&mut heard).await.expect("it is there");
        let silence = tokio::time::timeout(20 * SOON, served.read_u8()).await;
        assert!(silence.is_err(), "it was given up: {silence:?}");
        client.write_all(b"x").await.expect("there is room");
        assert_eq!(served.read_u8().await.expect("it is there"), b'x');
    }
}
