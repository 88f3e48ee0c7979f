//! What a client sends in a stream: one message after the other, for as long as it likes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper::body::Body;

use crate::error::Error;
use crate::grpc::{PREFIX_BYTES, message_bytes, next_piece};
use crate::method::Method;
use crate::metrics::Counters;
use crate::room::Place;

/// The messages of a stream.
pub(crate) struct Inbound<B> {
    body: B,
    /// What has arrived and was not taken.
    arrived: BytesMut,
    message_bytes_max: usize,
    /// What of a message that has not arrived whole takes room.
    place: Place,
    counters: Arc<Counters>,
    method: Method,
}

impl<B> Inbound<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// What a call's body holds, of messages of at most so many bytes.
    pub(crate) fn new(
        body: B,
        message_bytes_max: usize,
        place: Place,
        counters: Arc<Counters>,
        method: Method,
    ) -> Self {
        Inbound { body, arrived: BytesMut::new(), message_bytes_max, place, counters, method }
    }

    /// The next message; none once the client has said all that it wanted to. Whoever stops waiting loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(message) = self.next_arrived()? {
                self.place.clear();
                return Ok(Some(message));
            }
            self.place.grow_to(self.arrived.len())?;
            match next_piece(std::pin::Pin::new(&mut self.body)).await? {
                Some(piece) => self.arrived.extend_from_slice(&piece),
                None if self.arrived.is_empty() => return Ok(None),
                None => return Err(Error::CutShort),
            }
        }
    }

    /// The next message, if all of it has arrived.
    pub(crate) fn next_arrived(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(bytes) = message_bytes(&self.arrived)? else { return Ok(None) };
        if bytes > self.message_bytes_max {
            return Err(Error::MessageTooLarge { bytes, bytes_max: self.message_bytes_max });
        }
        if self.arrived.len() < PREFIX_BYTES + bytes {
            return Ok(None);
        }
        let message = self.arrived.split_to(PREFIX_BYTES + bytes).freeze();
        self.counters.count_received(self.method, bytes);
        Ok(Some(message.slice(PREFIX_BYTES..)))
    }
}
