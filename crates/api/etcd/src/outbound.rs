//! What a client is sent in a stream, counted as it leaves.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

use crate::error::Error;
use crate::grpc::PREFIX_BYTES;
use crate::method::{Method, Shape};
use crate::metrics::Counters;

/// Messages with what stands before them, or pieces of one, as they come.
#[derive(Debug)]
pub(crate) struct Outbound {
    messages: Receiver<Result<Bytes, Error>>,
    /// None if nobody counts.
    counted: Option<(Arc<Counters>, Method)>,
    /// What is still to come of what stands before the one message of a unary call.
    prefix_left: usize,
}

impl From<Receiver<Result<Bytes, Error>>> for Outbound {
    fn from(messages: Receiver<Result<Bytes, Error>>) -> Self {
        Outbound { messages, counted: None, prefix_left: PREFIX_BYTES }
    }
}

impl Outbound {
    /// They answer a call, and are counted as its method's.
    pub(crate) fn count_as(&mut self, counters: Arc<Counters>, method: Method) {
        self.counted = Some((counters, method));
    }

    pub(crate) async fn recv(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    pub(crate) fn poll_recv(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        let polled = self.messages.poll_recv(context);
        if let (Poll::Ready(Some(Ok(framed))), Some((counters, method))) = (&polled, &self.counted)
        {
            match method.shape() {
                // The pieces of its one message, whose length nobody knows before the last of them.
                Shape::Unary => {
                    let prefix = self.prefix_left.min(framed.len());
                    self.prefix_left -= prefix;
                    counters.count_sent_piece(framed.len() - prefix);
                }
                Shape::ServerStream | Shape::BidiStream => {
                    counters.count_sent(*method, framed.len().saturating_sub(PREFIX_BYTES));
                }
            }
        }
        polled
    }
}
