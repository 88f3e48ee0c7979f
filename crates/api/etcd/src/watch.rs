//! The Watch service: each call is a stream of requests about watches, and of what they are told.
//!
//! All watches of the node are one [`Hub`](quorate_kv::watch::Hub)'s, on a thread of its own ([`lookout`]): what it reads
//! from the disk, and the search for whom a change concerns, keep neither writes nor other calls waiting. A call is one
//! task, which passes requests on and writes notices out, as fast as its client takes them.

mod lookout;
mod vigil;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use hyper::body::Body;
use prost::Message;
use quorate_kv::auth::{Asker, Denial};
use quorate_kv::error::Error as StoreError;
use quorate_kv::request::Revision;
use quorate_kv::watch::{Notice, Refusal, StreamId, Watch};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, channel};

use crate::convert;
use crate::error::Error;
use crate::face::{Face, MESSAGE_OVERHEAD_BYTES};
use crate::grpc;
use crate::inbound::Inbound;
use crate::proto::etcdserverpb::{self as wire, watch_request::RequestUnion};
use crate::proto::mvccpb;
pub(crate) use lookout::{Lookout, Order, Watched};
pub(crate) use vigil::Vigil;

/// How many messages may wait for the connection.
const QUEUED_MAX: usize = 4;
/// The id in what concerns no watch, or all of them.
const NO_WATCH: i64 = -1;

impl Face {
    /// Begins a call, and returns what its client is sent.
    pub(crate) fn watch<B>(self: &Arc<Self>, inbound: Inbound<B>) -> Receiver<Result<Bytes, Error>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (messages, sent) = channel(QUEUED_MAX);
        let (stream, notices) = self.lookout.open();
        let call = Call { face: self.clone(), stream, messages, term: 0 };
        tokio::spawn(call.run(inbound, notices));
        sent
    }
}

/// One call. Its stream ends with it.
struct Call {
    face: Arc<Face>,
    stream: StreamId,
    messages: Sender<Result<Bytes, Error>>,
    /// The term of the node when it was last asked.
    term: u64,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.face.lookout.order(Order::Close { stream: self.stream });
    }
}

/// Why a call ends.
enum End {
    /// Its client has gone.
    Gone,
    /// Something is wrong, which the client is told.
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        End::Failed(error)
    }
}

impl Call {
    async fn run<B>(mut self, mut inbound: Inbound<B>, mut notices: UnboundedReceiver<Notice>)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if let Err(End::Failed(error)) = self.converse(&mut inbound, &mut notices).await {
            // If the client has gone, nobody wants to know.
            let _ = self.messages.send(Err(error)).await;
        }
    }

    async fn converse<B>(
        &mut self,
        inbound: &mut Inbound<B>,
        notices: &mut UnboundedReceiver<Notice>,
    ) -> Result<(), End>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let messages = self.messages.clone();
        let mut has_more = true;
        loop {
            tokio::select! {
                // What waits is written before more is asked for, so that a client that only asks is not heard.
                biased;
                () = messages.closed() => return Err(End::Gone),
                notice = notices.recv() => match notice {
                    Some(notice) => self.pass_on(notice).await?,
                    None => return Err(End::Failed(StoreError::Stopped.into())),
                },
                request = inbound.next(), if has_more => match request? {
                    Some(request) => self.take_all(request, inbound).await?,
                    None => has_more = false,
                },
            }
        }
    }

    /// Takes a request, and those that have arrived with it.
    async fn take_all<B>(&mut self, first: Bytes, inbound: &mut Inbound<B>) -> Result<(), Error>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // One look at the store is new enough for all requests that were there before.
        let history = self.face.history().await?;
        self.term = history.term;
        let mut next = Some(first);
        while let Some(message) = next {
            let request = wire::WatchRequest::decode(message).map_err(Error::from)?;
            let stream = self.stream;
            let order = match request.request_union {
                Some(RequestUnion::CreateRequest(create)) => Order::Create {
                    stream,
                    id: create.watch_id,
                    watch: watch(create, self.face.asker.clone()),
                    history: history.clone(),
                },
                Some(RequestUnion::CancelRequest(cancel)) => {
                    Order::Cancel { stream, id: cancel.watch_id }
                }
                Some(RequestUnion::ProgressRequest(_)) => {
                    Order::Inquire { stream, history: history.clone() }
                }
                // Of a later version; etcd passes over it.
                None => {
                    next = inbound.next_arrived()?;
                    continue;
                }
            };
            self.face.lookout.order(order);
            next = inbound.next_arrived()?;
        }
        Ok(())
    }

    async fn pass_on(&self, notice: Notice) -> Result<(), End> {
        let bytes = notice.bytes();
        for response in self.responses(notice) {
            let framed = grpc::frame(&response)?;
            self.messages.send(Ok(framed)).await.map_err(|_| End::Gone)?;
        }
        self.face.lookout.order(Order::Sent { stream: self.stream, bytes });
        Ok(())
    }

    /// What the client is sent: one response, or more if the notice is too long for one and may be parted.
    fn responses(&self, notice: Notice) -> Vec<wire::WatchResponse> {
        // What there is to tell may come long after the client's last request, under another leader.
        let term = self.term.max(self.face.lookout.watched.term.load(Relaxed));
        let response = |revision: Revision, watch_id| wire::WatchResponse {
            header: self.face.header(revision, term),
            watch_id,
            ..Default::default()
        };
        match notice {
            Notice::Created { watch, revision } => {
                vec![wire::WatchResponse { created: true, ..response(revision, watch) }]
            }
            Notice::Refused { why, revision } => vec![wire::WatchResponse {
                created: true,
                canceled: true,
                cancel_reason: reason(why),
                ..response(revision, NO_WATCH)
            }],
            Notice::Progress { watch, revision } => {
                vec![response(revision, watch.unwrap_or(NO_WATCH))]
            }
            Notice::Canceled { watch, compacted: None, revision } => {
                vec![wire::WatchResponse { canceled: true, ..response(revision, watch) }]
            }
            // etcd leaves the revision out of this one.
            Notice::Canceled { watch, compacted: Some(compacted), .. } => {
                vec![wire::WatchResponse {
                    canceled: true,
                    compact_revision: compacted.0,
                    ..response(Revision(0), watch)
                }]
            }
            Notice::Denied { watch, why, revision } => vec![wire::WatchResponse {
                canceled: true,
                cancel_reason: denial(why),
                ..response(revision, watch)
            }],
            Notice::Events { watch, events, revision, prev_kv, fragment } => {
                let events = events.iter().map(|event| convert::event(event, prev_kv)).collect();
                let whole = wire::WatchResponse { events, ..response(revision, watch) };
                let bytes_max = self.face.config.request_bytes_max + MESSAGE_OVERHEAD_BYTES;
                if fragment { part(whole, bytes_max) } else { vec![whole] }
            }
        }
    }
}

/// Parts a response that is too long. All but the last say that more follows.
fn part(whole: wire::WatchResponse, bytes_max: usize) -> Vec<wire::WatchResponse> {
    if whole.encoded_len() < bytes_max || whole.events.len() < 2 {
        return vec![whole];
    }
    let mut parts: Vec<wire::WatchResponse> = Vec::new();
    let (mut bytes, mut events): (usize, Vec<mvccpb::Event>) = (0, Vec::new());
    let empty = wire::WatchResponse { events: Vec::new(), ..whole.clone() };
    for event in whole.events {
        let next = event.encoded_len() + 8;
        if bytes + next >= bytes_max && !events.is_empty() {
            let events = std::mem::take(&mut events);
            parts.push(wire::WatchResponse { events, fragment: true, ..empty.clone() });
            bytes = 0;
        }
        bytes += next;
        events.push(event);
    }
    parts.push(wire::WatchResponse { events, ..empty });
    parts
}

/// A watch as a client asks for it. An empty key stands for the first one, which is one zero byte. A negative revision is
/// before all others, so that the watch learns, as etcd's does, that something was compacted since.
fn watch(request: wire::WatchCreateRequest, asker: Option<Asker>) -> Watch {
    use wire::watch_create_request::FilterType;
    let filters = |kind: FilterType| request.filters.contains(&(kind as i32));
    let (no_put, no_delete) = (filters(FilterType::Noput), filters(FilterType::Nodelete));
    let key = if request.key.is_empty() { Bytes::from_static(&[0]) } else { request.key };
    Watch {
        range: convert::key_range(key, request.range_end),
        start: Revision(if request.start_revision < 0 { 1 } else { request.start_revision }),
        no_put,
        no_delete,
        prev_kv: request.prev_kv,
        progress_notify: request.progress_notify,
        fragment: request.fragment,
        asker,
    }
}

fn reason(why: Refusal) -> String {
    let reason = match why {
        Refusal::EmptyRange => "mvcc: watcher range is empty",
        Refusal::DuplicateId => "mvcc: duplicate watch ID provided on the WatchStream",
        Refusal::TooMany => "etcdserver: too many watches on one stream; open another",
        Refusal::Denied(why) => return denial(why),
    };
    reason.to_owned()
}

/// A denial as clients look for it: in the words in which etcd's server prints a gRPC error.
fn denial(why: Denial) -> String {
    let error = Error::from(StoreError::from(why));
    format!("rpc error: code = {:?} desc = {error}", error.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(value_bytes: usize) -> mvccpb::Event {
        let kv = mvccpb::KeyValue { value: vec![7; value_bytes].into(), ..Default::default() };
        mvccpb::Event { kv: Some(kv), ..Default::default() }
    }

    #[test]
    fn a_long_response_is_parted_and_all_parts_but_the_last_say_that_more_follows() {
        let events: Vec<_> = (0..10).map(|_| event(100)).collect();
        let whole = wire::WatchResponse { watch_id: 3, events, ..Default::default() };
        let parts = part(whole.clone(), 350);
        assert!(parts.len() > 2, "{}", parts.len());
        assert!(parts.iter().all(|part| part.encoded_len() < 350 && part.watch_id == 3));
        let follows: Vec<bool> = parts.iter().map(|part| part.fragment).collect();
        assert!(follows[..parts.len() - 1].iter().all(|follows| *follows));
        assert!(!follows[parts.len() - 1]);
        let events: usize = parts.iter().map(|part| part.events.len()).sum();
        assert_eq!(events, 10);
        assert_eq!(part(whole.clone(), 10_000), vec![whole]);
    }

    #[test]
    fn a_negative_revision_is_before_all_others() {
        for (asked, start) in [(-7, 1), (0, 0), (1, 1), (7, 7)] {
            let request = wire::WatchCreateRequest { start_revision: asked, ..Default::default() };
            assert_eq!(watch(request, None).start, Revision(start), "asked from {asked}");
        }
    }

    #[test]
    fn an_event_that_is_too_long_alone_is_sent_alone() {
        let events = vec![event(1), event(1000), event(1)];
        let parts = part(wire::WatchResponse { events, ..Default::default() }, 100);
        let sizes: Vec<usize> = parts.iter().map(|part| part.events.len()).collect();
        assert_eq!(sizes, [1, 1, 1]);
    }
}
