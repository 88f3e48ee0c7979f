//! A backup on its way to a client: the chunks of the store's own stream, and behind them what stock clients look for.
//!
//! etcd's clients take whatever comes for a file, and demand of its length that it is that of a SHA-256 digest beyond a
//! multiple of 512: etcd's file has pages, and the digest of all before it at its end. So the chunks are followed by as
//! many zeros as that takes, and by the digest.
//!
//! The chunks are read and hashed on a thread for blocking work, which waits whenever [`QUEUED_MAX`] of them wait for the
//! connection: some [`BACKUP_CHUNK_BYTES_MAX`](quorate_kv::backup::BACKUP_CHUNK_BYTES_MAX) times as many bytes are in
//! memory, however large the store is.

use bytes::Bytes;
use quorate_kv::backup::Backup;
use quorate_kv::error::Error as StoreError;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::error::Error;
use crate::face::{ETCD_VERSION, Face};
use crate::grpc;
use crate::proto::etcdserverpb as wire;

/// How many chunks may wait for the connection.
const QUEUED_MAX: usize = 2;
/// What the length of a file before its digest is a multiple of.
const PAGE_BYTES: u64 = 512;

impl Face {
    pub(crate) async fn snapshot(&self) -> Result<Receiver<Result<Bytes, Error>>, Error> {
        let place = self.begin_to_read().await?;
        let backup = self.backup().await?;
        let header = self.header(backup.info().revision, backup.term());
        let (messages, taken) = channel(QUEUED_MAX);
        tokio::task::spawn_blocking(move || {
            let expected = backup.info().bytes;
            let mut sending =
                Sending { messages, header, expected, sent: 0, digest: Sha256::new() };
            if let Err(Stop::Failed(error)) = sending.send_all(&backup) {
                // If the client has gone, nobody wants to know.
                let _ = sending.messages.blocking_send(Err(error));
            }
            drop(place);
        });
        Ok(taken)
    }
}

struct Sending {
    messages: Sender<Result<Bytes, Error>>,
    header: Option<wire::ResponseHeader>,
    /// About how many bytes there are.
    expected: u64,
    sent: u64,
    digest: Sha256,
}

enum Stop {
    ClientGone,
    Failed(Error),
}

impl Sending {
    fn send_all(&mut self, backup: &Backup) -> Result<(), Stop> {
        while let Some(chunk) =
            backup.next_chunk().map_err(|error| Stop::Failed(StoreError::from(error).into()))?
        {
            self.send(chunk)?;
        }
        let beyond = self.sent % PAGE_BYTES;
        if beyond > 0 {
            self.send(vec![0; (PAGE_BYTES - beyond) as usize].into())?;
        }
        self.expected = self.sent;
        let digest = self.digest.clone().finalize();
        self.send(Bytes::copy_from_slice(&digest))
    }

    fn send(&mut self, blob: Bytes) -> Result<(), Stop> {
        self.digest.update(&blob);
        self.sent += blob.len() as u64;
        let message = wire::SnapshotResponse {
            header: self.header,
            remaining_bytes: self.expected.saturating_sub(self.sent),
            blob,
            version: ETCD_VERSION.to_owned(),
        };
        let framed = grpc::frame(&message).map_err(Stop::Failed)?;
        self.messages.blocking_send(Ok(framed)).map_err(|_| Stop::ClientGone)
    }
}
