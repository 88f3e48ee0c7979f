//! The answer to a read that takes long, on its way to a client.
//!
//! The face speaks of one message, and the message may be of gigabytes. Its length comes first, so the range is passed
//! over twice, on a thread for blocking work: once to measure it, and once to write it, [`PIECE_BYTES`] at a time, into
//! pieces that the connection takes when it has room. So a few pieces of it are in memory, however long it is.

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};
use prost::Message;
use prost::encoding::message;
use quorate_kv::error::Error as StoreError;
use quorate_kv::long_read::{Audience, LongRead};
use quorate_kv::request::{KeyValue, Revision};
use quorate_kv::store::Measure;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use crate::convert;
use crate::error::Error;
use crate::face::Face;
use crate::grpc::{self, Payload};
use crate::proto::etcdserverpb as wire;

/// How many pieces may wait for the connection.
const QUEUED_MAX: usize = 2;
/// How much is gathered before it is handed to the connection.
const PIECE_BYTES: usize = 64 << 10;
/// The number of the field that holds the keys.
const KVS_TAG: u32 = 2;

type Pieces = Receiver<Result<Bytes, Error>>;

impl Face {
    /// Carries a read out, and gives the answer's payload once its length is known. What cannot be answered is refused
    /// before anything is sent.
    pub(crate) async fn stream(&self, read: LongRead) -> Result<Payload, Error> {
        let place = self.begin_to_read().await?;
        let (pieces, taken) = channel(QUEUED_MAX);
        let (begun, is_begun) = oneshot::channel();
        let term = read.term();
        let header = self.header(Revision(0), term).unwrap_or_default();
        tokio::task::spawn_blocking(move || {
            let begin = Begin { begun: Some(begun), taken: Some(taken), header };
            let mut writing = Writing { begin, buffer: BytesMut::new(), pieces };
            match read.tell(&mut writing) {
                Ok(()) => writing.finish(),
                Err(error) => writing.fail(StoreError::from(error).into()),
            }
            drop(place);
        });
        let messages = is_begun.await.map_err(|_| StoreError::Stopped)??;
        Ok(Payload::stream(messages))
    }
}

/// What is needed until the first piece is there.
struct Begin {
    begun: Option<oneshot::Sender<Result<Pieces, Error>>>,
    taken: Option<Pieces>,
    header: wire::ResponseHeader,
}

/// Writes an answer in pieces.
struct Writing {
    begin: Begin,
    buffer: BytesMut,
    pieces: Sender<Result<Bytes, Error>>,
}

impl Writing {
    /// Hands over what was gathered. It breaks off if the client has gone.
    fn hand_over(&mut self) -> ControlFlow<()> {
        let piece = self.buffer.split().freeze();
        match self.pieces.blocking_send(Ok(piece)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    fn finish(mut self) {
        if !self.buffer.is_empty() {
            // Whether the client is still there is all the same now.
            let _ = self.hand_over();
        }
    }

    fn fail(&mut self, error: Error) {
        match self.begin.begun.take() {
            // If the client has gone, nobody wants to know.
            Some(begun) => drop(begun.send(Err(error))),
            None => drop(self.pieces.blocking_send(Err(error))),
        }
    }

    /// All of the answer that is not a key.
    fn put_head(&mut self, measure: Measure) -> Result<(), Error> {
        let head = wire::RangeResponse {
            header: Some(wire::ResponseHeader {
                revision: measure.revision.0,
                ..self.begin.header
            }),
            kvs: Vec::new(),
            more: measure.more,
            count: i64::try_from(measure.count).unwrap_or(i64::MAX),
        };
        grpc::put_prefix(head.encoded_len() + measure.bytes, &mut self.buffer)?;
        head.encode_raw(&mut self.buffer);
        Ok(())
    }
}

impl Audience for Writing {
    fn size(&self, kv: &KeyValue) -> usize {
        // Its shares of the buffers are cheap to clone.
        message::encoded_len(KVS_TAG, &convert::key_value(kv.clone()))
    }

    fn begin(&mut self, measure: Measure) -> ControlFlow<()> {
        if let Err(error) = self.put_head(measure) {
            self.fail(error);
            return ControlFlow::Break(());
        }
        let Begin { begun, taken, .. } = &mut self.begin;
        if let (Some(begun), Some(taken)) = (begun.take(), taken.take())
            && begun.send(Ok(taken)).is_err()
        {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn take(&mut self, kv: KeyValue) -> ControlFlow<()> {
        message::encode(KVS_TAG, &convert::key_value(kv), &mut self.buffer);
        if self.buffer.len() >= PIECE_BYTES { self.hand_over() } else { ControlFlow::Continue(()) }
    }
}
