//! How the rest of the process asks the node: from any thread, without locks.

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// The node has stopped. What was asked *may have* happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the node has stopped")]
pub struct Stopped;

/// One question on its way to the event loop.
#[derive(Debug)]
pub struct Question<Q, A> {
    /// What is asked.
    pub request: Q,
    /// Where the answer goes. Its receiver may be gone: a client that left before it was answered.
    pub answer: oneshot::Sender<A>,
}

/// Asks the node that an event loop drives. Cheap to clone.
#[derive(Debug)]
pub struct Handle<Q, A> {
    inbox: mpsc::UnboundedSender<Question<Q, A>>,
}

impl<Q, A> Clone for Handle<Q, A> {
    fn clone(&self) -> Self {
        Handle { inbox: self.inbox.clone() }
    }
}

impl<Q, A> Handle<Q, A> {
    /// A handle, and the inbox that its questions arrive in.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Question<Q, A>>) {
        let (inbox, questions) = mpsc::unbounded_channel();
        (Handle { inbox }, questions)
    }

    /// Asks, and waits for the answer. How long that may take is the protocol's to bound.
    pub async fn ask(&self, request: Q) -> Result<A, Stopped> {
        self.post(request).await
    }

    /// Asks now; the answer may be waited for later.
    pub fn post(&self, request: Q) -> impl Future<Output = Result<A, Stopped>> + use<Q, A> {
        let (answer, answered) = oneshot::channel();
        // If the inbox is gone, the question is, and with it the other end of the answer.
        let _ = self.inbox.send(Question { request, answer });
        async { answered.await.map_err(|_| Stopped) }
    }
}
