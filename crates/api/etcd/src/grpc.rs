//! gRPC over HTTP/2, as far as unary calls need it. Streams are made of the same parts (`inbound.rs`, [`Payload::Stream`]).
//!
//! The naive version is the server that a generator makes. It copies each message into a buffer of its own, boxes a
//! future or two a call, and answers with error messages that no etcd client knows. A unary call is little enough to
//! do by hand: one message in, with five bytes before it that say how long it is; one message out, and after it
//! trailers with the verdict.
//!
//! Keys and values are slices of the buffer that the connection read them into. They are copied only where a message
//! came in pieces.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header};
use hyper::body::{Body, Frame, SizeHint};
use prost::Message;
use quorate_kv::error::Error as StoreError;
use tonic::{Code, Status};

use crate::audit;
use crate::auth::Credentials;
use crate::error::Error;
use crate::face::{Face, MESSAGE_OVERHEAD_BYTES};
use crate::inbound::Inbound;
use crate::method::{Method, Shape};
use crate::outbound::Outbound;
use crate::proto::{etcdserverpb as wire, v3electionpb};
use crate::room::Place;

/// What stands before a message: whether it is compressed, and its length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// The content of a response.
#[derive(Debug)]
pub(crate) enum Payload {
    /// Data, then perhaps trailers.
    Whole { data: Bytes, trailers: Option<HeaderMap> },
    /// Messages with what stands before them, or pieces of one, as they come; then the verdict. The connection takes one
    /// when it has room for it, and whoever makes them waits for that.
    Stream { messages: Outbound, is_over: bool },
}

impl Default for Payload {
    fn default() -> Self {
        Payload::plain(Bytes::new())
    }
}

impl Payload {
    /// Data without trailers.
    pub(crate) fn plain(data: impl Into<Bytes>) -> Self {
        Payload::Whole { data: data.into(), trailers: None }
    }

    /// Messages with what stands before them, as they come, and the verdict.
    pub(crate) fn stream(messages: impl Into<Outbound>) -> Self {
        Payload::Stream { messages: messages.into(), is_over: false }
    }

    /// A message with what stands before it, and the verdict that all went well.
    pub(crate) fn unary(framed: Bytes) -> Self {
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Payload::Whole { data: framed, trailers: Some(trailers) }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Payload::Whole { data, .. } if !data.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(data)))))
            }
            Payload::Whole { trailers, .. } => {
                Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Payload::Stream { is_over: true, .. } => Poll::Ready(None),
            Payload::Stream { messages, is_over } => {
                let verdict = match ready!(messages.poll_recv(context)) {
                    Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
                    Some(Err(error)) => Status::from(error),
                    None => Status::ok(""),
                };
                *is_over = true;
                let mut trailers = HeaderMap::with_capacity(2);
                // It fails only for a message that is no header, of which the face has none.
                if verdict.add_header(&mut trailers).is_err() {
                    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("13"));
                }
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Payload::Whole { data, trailers } => data.is_empty() && trailers.is_none(),
            Payload::Stream { is_over, .. } => *is_over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Whole { data, trailers: None } => SizeHint::with_exact(data.len() as u64),
            // A length known beforehand becomes a header, which only plain HTTP has a use for.
            Payload::Whole { .. } | Payload::Stream { .. } => SizeHint::default(),
        }
    }
}

/// Carries out one call.
pub(crate) async fn call<B>(
    face: &Arc<Face>,
    path: &str,
    credentials: Credentials<'_>,
    body: B,
) -> Response<Payload>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let Some(method) = Method::at(path) else {
        face.counters.count_unknown_call();
        return refusal(Method::absence(path));
    };
    face.counters.count_started(method);
    let mut answer = match face.on_behalf_of(method, credentials).await {
        Ok(face) => attend_to(&face, method, body).await,
        Err(error) => Err(error),
    };
    let code = answer.as_ref().map_or_else(Error::code, |_| Code::Ok);
    face.counters.count_call(method, code);
    if let Ok(response) = &mut answer {
        match response.body_mut() {
            Payload::Whole { data, .. } => {
                face.counters.count_sent(method, data.len().saturating_sub(PREFIX_BYTES));
            }
            Payload::Stream { messages, .. } => {
                if method.shape() == Shape::Unary {
                    face.counters.count_sent(method, 0);
                }
                messages.count_as(face.counters.clone(), method);
            }
        }
    }
    answer.unwrap_or_else(refusal)
}

/// Has a call answered on behalf of whoever sent it.
async fn attend_to<B>(face: &Arc<Face>, method: Method, body: B) -> Result<Response<Payload>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    if method.shape() == Shape::BidiStream {
        let bytes_max = face.config.request_bytes_max + MESSAGE_OVERHEAD_BYTES;
        let inbound =
            Inbound::new(body, bytes_max, face.room.place(), face.counters.clone(), method);
        return converse(face, method, inbound);
    }
    let message = read_message(body, face.config.request_bytes_max, face.room.place()).await?;
    face.counters.count_received(method, message.len());
    let subject = face.config.audit.then(|| audit::subject(method, &message));
    let answer = carry_out(face, method, message).await;
    if let Some(subject) = subject.flatten() {
        audit::tell(face, method, &subject, answer.as_ref().err());
    }
    answer
}

/// Begins a call in which both sides say as much as they like. It counts as answered when it begins.
fn converse<B>(
    face: &Arc<Face>,
    method: Method,
    inbound: Inbound<B>,
) -> Result<Response<Payload>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let messages = match method {
        Method::Watch => face.watch(inbound),
        Method::LeaseKeepAlive => face.lease_keep_alive(inbound),
        _ => unreachable!("{method:?} is no method in which both sides say as much as they like"),
    };
    Ok(answered(Payload::stream(messages)))
}

async fn carry_out(
    face: &Arc<Face>,
    method: Method,
    message: Bytes,
) -> Result<Response<Payload>, Error> {
    if method.is_logged() && message.len() > face.config.request_bytes_max {
        return Err(StoreError::RequestTooLarge.into());
    }
    face.admit(method.open_to()).await?;
    let framed = match method {
        Method::Snapshot => {
            wire::SnapshotRequest::decode(message)?;
            let messages = face.snapshot().await?;
            return Ok(answered(Payload::stream(messages)));
        }
        Method::Observe => {
            let messages = face.observe(v3electionpb::LeaderRequest::decode(message)?);
            return Ok(answered(Payload::stream(messages)));
        }
        Method::Range => {
            return Ok(answered(face.range(wire::RangeRequest::decode(message)?).await?));
        }
        Method::Put => unary(message, |request| face.put(request)).await,
        Method::DeleteRange => unary(message, |request| face.delete_range(request)).await,
        Method::Txn => unary(message, |request| face.txn(request)).await,
        Method::Compact => unary(message, |request| face.compact(request)).await,
        Method::LeaseGrant => unary(message, |request| face.lease_grant(request)).await,
        Method::LeaseRevoke => unary(message, |request| face.lease_revoke(request)).await,
        Method::LeaseTimeToLive => unary(message, |request| face.lease_time_to_live(request)).await,
        Method::LeaseLeases => unary(message, |request| face.lease_leases(request)).await,
        Method::Watch | Method::LeaseKeepAlive => {
            unreachable!("in {method:?} both sides say as much as they like")
        }
        Method::AuthEnable => unary(message, |request| face.auth_enable(request)).await,
        Method::AuthDisable => unary(message, |request| face.auth_disable(request)).await,
        Method::AuthStatus => unary(message, |request| face.auth_status(request)).await,
        Method::Authenticate => unary(message, |request| face.authenticate(request)).await,
        Method::UserAdd => unary(message, |request| face.user_add(request)).await,
        Method::UserGet => unary(message, |request| face.user_get(request)).await,
        Method::UserList => unary(message, |request| face.user_list(request)).await,
        Method::UserDelete => unary(message, |request| face.user_delete(request)).await,
        Method::UserChangePassword => {
            unary(message, |request| face.user_change_password(request)).await
        }
        Method::UserGrantRole => unary(message, |request| face.user_grant_role(request)).await,
        Method::UserRevokeRole => unary(message, |request| face.user_revoke_role(request)).await,
        Method::RoleAdd => unary(message, |request| face.role_add(request)).await,
        Method::RoleGet => unary(message, |request| face.role_get(request)).await,
        Method::RoleList => unary(message, |request| face.role_list(request)).await,
        Method::RoleDelete => unary(message, |request| face.role_delete(request)).await,
        Method::RoleGrantPermission => {
            unary(message, |request| face.role_grant_permission(request)).await
        }
        Method::RoleRevokePermission => {
            unary(message, |request| face.role_revoke_permission(request)).await
        }
        Method::MemberAdd => unary(message, |request| face.member_add(request)).await,
        Method::MemberRemove => unary(message, |request| face.member_remove(request)).await,
        Method::MemberUpdate => unary(message, |request| face.member_update(request)).await,
        Method::MemberList => unary(message, |request| face.member_list(request)).await,
        Method::MemberPromote => unary(message, |request| face.member_promote(request)).await,
        Method::Alarm => unary(message, |request| face.alarm(request)).await,
        Method::Status => unary(message, |request| face.maintenance_status(request)).await,
        Method::Defragment => unary(message, |request| face.defragment(request)).await,
        Method::Hash => unary(message, |request| face.hash(request)).await,
        Method::HashKv => unary(message, |request| face.hash_kv(request)).await,
        Method::MoveLeader => unary(message, |request| face.move_leader(request)).await,
        Method::Lock => unary(message, |request| face.lock(request)).await.map_err(Error::relayed),
        Method::Unlock => {
            unary(message, |request| face.unlock(request)).await.map_err(Error::relayed)
        }
        Method::Campaign => {
            unary(message, |request| face.campaign(request)).await.map_err(Error::relayed)
        }
        Method::Proclaim => {
            unary(message, |request| face.proclaim(request)).await.map_err(Error::relayed)
        }
        Method::Leader => {
            unary(message, |request| face.leader(request)).await.map_err(Error::relayed)
        }
        Method::Resign => {
            unary(message, |request| face.resign(request)).await.map_err(Error::relayed)
        }
        Method::Downgrade => unary(message, |request| face.downgrade(request)).await,
    };
    Ok(answered(Payload::unary(framed?)))
}

/// Decodes the request, has it answered, and encodes the answer.
async fn unary<Q, A, F>(message: Bytes, answer: impl FnOnce(Q) -> F) -> Result<Bytes, Error>
where
    Q: Message + Default,
    A: Message,
    F: Future<Output = Result<A, Error>>,
{
    frame(&answer(Q::decode(message)?).await?)
}

/// A message with what stands before it.
pub(crate) fn frame(message: &impl Message) -> Result<Bytes, Error> {
    let bytes = message.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + bytes);
    put_prefix(bytes, &mut framed)?;
    message.encode_raw(&mut framed);
    Ok(framed.freeze())
}

/// Puts what stands before a message of so many bytes.
pub(crate) fn put_prefix(bytes: usize, buffer: &mut BytesMut) -> Result<(), Error> {
    let length = u32::try_from(bytes).map_err(|_| Error::AnswerTooLarge { bytes })?;
    buffer.put_u8(0);
    buffer.put_u32(length);
    Ok(())
}

fn answered(payload: Payload) -> Response<Payload> {
    let mut response = Response::new(payload);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn refusal(error: Error) -> Response<Payload> {
    Status::from(error).into_http()
}

/// Reads the one message of a unary call, up to the end of what the client sends.
async fn read_message<B>(
    body: B,
    request_bytes_max: usize,
    mut place: Place,
) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes>,
{
    let bytes_max = request_bytes_max + MESSAGE_OVERHEAD_BYTES;
    let mut body = pin!(body);
    let mut whole = Bytes::new();
    while let Some(piece) = next_piece(body.as_mut()).await? {
        if piece.is_empty() {
            continue;
        }
        whole = if whole.is_empty() { piece } else { join(whole, piece, bytes_max) };
        if let Some(bytes) = message_bytes(&whole)?
            && bytes > bytes_max
        {
            return Err(Error::MessageTooLarge { bytes, bytes_max });
        }
        if whole.len() > PREFIX_BYTES + bytes_max {
            return Err(Error::Framing("there is more than one"));
        }
        if body.is_end_stream() {
            break;
        }
        place.grow_to(whole.len())?;
    }
    let bytes = message_bytes(&whole)?.ok_or(Error::Framing("there is none"))?;
    whole.advance(PREFIX_BYTES);
    match whole.len().cmp(&bytes) {
        std::cmp::Ordering::Less => Err(Error::Framing("it is cut short")),
        std::cmp::Ordering::Equal => Ok(whole),
        std::cmp::Ordering::Greater => Err(Error::Framing("there is more than one")),
    }
}

/// How long the message is, once enough has arrived to know.
pub(crate) fn message_bytes(whole: &[u8]) -> Result<Option<usize>, Error> {
    match whole {
        [0, a, b, c, d, ..] => Ok(Some(u32::from_be_bytes([*a, *b, *c, *d]) as usize)),
        [flags, ..] if *flags != 0 => Err(Error::Compressed),
        _ => Ok(None),
    }
}

/// Puts a piece behind what has arrived, with room for the rest so that each byte is copied once.
fn join(whole: Bytes, piece: Bytes, bytes_max: usize) -> Bytes {
    let mut joined = whole.try_into_mut().unwrap_or_else(|shared| {
        let bytes = message_bytes(&shared).ok().flatten().unwrap_or(0).min(bytes_max);
        let room = (PREFIX_BYTES + bytes).max(shared.len() + piece.len());
        let mut joined = BytesMut::with_capacity(room);
        joined.extend_from_slice(&shared);
        joined
    });
    joined.extend_from_slice(&piece);
    joined.freeze()
}

/// The next piece of the body, or none at its end.
pub(crate) async fn next_piece<B>(mut body: Pin<&mut B>) -> Result<Option<Bytes>, Error>
where
    B: Body<Data = Bytes>,
{
    loop {
        match std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
            None => return Ok(None),
            // Trailers of a request say nothing that a unary call needs.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_) => continue,
            },
            Some(Err(_)) => return Err(Error::Disconnected),
        }
    }
}

#[cfg(test)]
mod tests;
