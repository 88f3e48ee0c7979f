//! A connection for who writes without waiting: what cannot be taken now is refused, and tried again when there is room.
//!
//! Inside TLS there are two ends of waiting: the session holds what it has sealed and the connection has not taken. So
//! what was accepted is out only once [`Link::try_flush`] says so.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConnection;

use crate::stream::Stream;

/// How much of what is received is looked at in one go.
const READ_BYTES: usize = 4 << 10;

/// A connection, inside TLS or not, that never waits. It may be shared.
#[derive(Debug)]
pub enum Link {
    /// As it is.
    Plain(TcpStream),
    /// Inside TLS.
    Tls(Box<TlsLink>),
}

/// A connection with its session. The lock is held for as long as sealing takes, never while anybody waits.
#[derive(Debug)]
pub struct TlsLink {
    tcp: TcpStream,
    session: Mutex<ClientConnection>,
}

impl Link {
    /// Takes over a connection that was dialled. None for one that was accepted inside TLS.
    pub fn of(stream: Stream) -> Option<Self> {
        match stream {
            Stream::Plain(tcp) => Some(Link::Plain(tcp)),
            Stream::Tls(stream) => match *stream {
                tokio_rustls::TlsStream::Client(stream) => {
                    let (tcp, session) = stream.into_inner();
                    Some(Link::Tls(Box::new(TlsLink { tcp, session: Mutex::new(session) })))
                }
                tokio_rustls::TlsStream::Server(_) => None,
            },
        }
    }

    /// Waits until there may be something to read.
    pub async fn readable(&self) -> io::Result<()> {
        self.tcp().readable().await
    }

    /// Waits until something may be written.
    pub async fn writable(&self) -> io::Result<()> {
        self.tcp().writable().await
    }

    /// Writes a beginning of `bytes`, and returns how much; [`ErrorKind::WouldBlock`] if there is no room at all.
    #[inline]
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Link::Plain(tcp) => tcp.try_write(bytes),
            Link::Tls(link) => link.try_write(bytes),
        }
    }

    /// Whether all that was accepted is out; [`ErrorKind::WouldBlock`] if the rest is to be tried again.
    #[inline]
    pub fn try_flush(&self) -> io::Result<()> {
        match self {
            Link::Plain(_) => Ok(()),
            Link::Tls(link) => link.flush(&mut link.lock()),
        }
    }

    /// Reads what is there; nothing if the other side has hung up.
    pub fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Link::Plain(tcp) => tcp.try_read_buf(buffer),
            Link::Tls(link) => link.try_read(buffer),
        }
    }

    /// What it runs over.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Link::Plain(tcp) => tcp,
            Link::Tls(link) => &link.tcp,
        }
    }
}

impl TlsLink {
    fn lock(&self) -> MutexGuard<'_, ClientConnection> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut session = self.lock();
        self.flush(&mut session)?;
        let accepted = session.writer().write(bytes)?;
        match self.flush(&mut session) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(accepted),
        }
    }

    fn flush(&self, session: &mut ClientConnection) -> io::Result<()> {
        while session.wants_write() {
            session.write_tls(&mut Unwaiting(&self.tcp))?;
        }
        Ok(())
    }

    fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut session = self.lock();
        loop {
            let mut bytes = [0; READ_BYTES];
            match session.reader().read(&mut bytes) {
                Ok(read) => {
                    buffer.extend_from_slice(&bytes[..read]);
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            session.read_tls(&mut Unwaiting(&self.tcp))?;
            let processed = session.process_new_packets();
            // An answer or a last word; it is out with what is written next, if not now.
            match self.flush(&mut session) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }
}

struct Unwaiting<'a>(&'a TcpStream);

impl io::Read for Unwaiting<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl io::Write for Unwaiting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
