//! The JSON gateway: each method of the gRPC services as a POST to a path below `/v3/`, as etcd has them.
//!
//! A gateway is a client that speaks JSON on its other side. It makes a message of what it is sent, has it carried out by
//! [`grpc::call`] as if it had come over gRPC, and makes JSON of the answer. There is no second way to do a thing, and a
//! method that the services get costs a line of [`PATHS`].
//!
//! What JSON looks like is told by the descriptors of the messages, which the build keeps ([`schema`]). Streams are
//! objects one after the other, each answer on a line of its own: `{"result": …}`, and at the end perhaps `{"error": …}`.
//!
//! Departures: a body that is no JSON is an invalid argument of a stream too, which etcd answers with an unknown error.
//!
//! *Omitted.* CORS; answers in pieces: what a read finds is in memory before it is sent.

mod schema;
mod values;

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, Method as Verb, Response, StatusCode, header};
use hyper::body::Body;
use serde::Serialize;
use tokio::sync::mpsc::{Sender, channel};
use tonic::{Code, Status};

use crate::auth::Credentials;
use crate::error::Error;
use crate::face::{Face, MESSAGE_OVERHEAD_BYTES};
use crate::grpc::{self, PREFIX_BYTES, Payload};
use crate::method::{Method, Shape};
use crate::outbound::Outbound;
use schema::Schema;
use values::Values;

/// What all paths begin with.
pub(crate) const PREFIX: &str = "/v3/";

/// How many messages of a stream may wait each way.
const QUEUED_MAX: usize = 4;

/// Where each method is, below [`PREFIX`].
const PATHS: &[(&str, Method)] = &[
    ("kv/range", Method::Range),
    ("kv/put", Method::Put),
    ("kv/deleterange", Method::DeleteRange),
    ("kv/txn", Method::Txn),
    ("kv/compaction", Method::Compact),
    ("watch", Method::Watch),
    ("lease/grant", Method::LeaseGrant),
    ("lease/revoke", Method::LeaseRevoke),
    ("kv/lease/revoke", Method::LeaseRevoke),
    ("lease/keepalive", Method::LeaseKeepAlive),
    ("lease/timetolive", Method::LeaseTimeToLive),
    ("kv/lease/timetolive", Method::LeaseTimeToLive),
    ("lease/leases", Method::LeaseLeases),
    ("kv/lease/leases", Method::LeaseLeases),
    ("cluster/member/add", Method::MemberAdd),
    ("cluster/member/remove", Method::MemberRemove),
    ("cluster/member/update", Method::MemberUpdate),
    ("cluster/member/list", Method::MemberList),
    ("cluster/member/promote", Method::MemberPromote),
    ("maintenance/alarm", Method::Alarm),
    ("maintenance/status", Method::Status),
    ("maintenance/defragment", Method::Defragment),
    ("maintenance/hash", Method::Hash),
    ("maintenance/hashkv", Method::HashKv),
    ("maintenance/snapshot", Method::Snapshot),
    ("maintenance/transfer-leadership", Method::MoveLeader),
    ("maintenance/downgrade", Method::Downgrade),
    ("auth/enable", Method::AuthEnable),
    ("auth/disable", Method::AuthDisable),
    ("auth/status", Method::AuthStatus),
    ("auth/authenticate", Method::Authenticate),
    ("auth/user/add", Method::UserAdd),
    ("auth/user/get", Method::UserGet),
    ("auth/user/list", Method::UserList),
    ("auth/user/delete", Method::UserDelete),
    ("auth/user/changepw", Method::UserChangePassword),
    ("auth/user/grant", Method::UserGrantRole),
    ("auth/user/revoke", Method::UserRevokeRole),
    ("auth/role/add", Method::RoleAdd),
    ("auth/role/get", Method::RoleGet),
    ("auth/role/list", Method::RoleList),
    ("auth/role/delete", Method::RoleDelete),
    ("auth/role/grant", Method::RoleGrantPermission),
    ("auth/role/revoke", Method::RoleRevokePermission),
    ("lock/lock", Method::Lock),
    ("lock/unlock", Method::Unlock),
    ("election/campaign", Method::Campaign),
    ("election/proclaim", Method::Proclaim),
    ("election/leader", Method::Leader),
    ("election/observe", Method::Observe),
    ("election/resign", Method::Resign),
];

/// Answers one request to a path that begins with [`PREFIX`].
pub(crate) async fn respond<B>(
    face: &Arc<Face>,
    verb: &Verb,
    path: &str,
    credentials: Credentials<'_>,
    body: B,
) -> Response<Payload>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let at = path.strip_prefix(PREFIX);
    let Some((_, method)) = PATHS.iter().find(|(known, _)| Some(*known) == at) else {
        return text(StatusCode::NOT_FOUND, "Not Found\n");
    };
    if verb != Verb::POST {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let answer = carry_out(face, *method, credentials, body).await;
    answer.unwrap_or_else(|status| refusal(&status))
}

async fn carry_out<B>(
    face: &Arc<Face>,
    method: Method,
    credentials: Credentials<'_>,
    body: B,
) -> Result<Response<Payload>, Status>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let schema = Schema::of(method);
    // Base64 makes four bytes of three.
    let bytes_max = (face.config.request_bytes_max + MESSAGE_OVERHEAD_BYTES) / 3 * 4;
    let mut values = Values::new(body, bytes_max, face.room.place());
    let first = values.next().await?;
    let is_stream = method.shape() == Shape::BidiStream;
    let first = match first {
        Some(json) => Some(schema.request(&json)?),
        None if is_stream => None,
        // A message without fields may be left out altogether.
        None => Some(schema.request(b"{}")?),
    };
    let path = format!("/{}/{}", method.service(), method.name());
    let (requests, sent) = channel(QUEUED_MAX);
    if let Some(first) = first {
        // The queue has room for one.
        let _ = requests.send(Ok(first)).await;
    }
    let request = Payload::stream(sent);
    if is_stream {
        let answer = grpc::call(face, &path, credentials, request).await;
        let sending = send_all(values, requests, schema.clone());
        return Ok(stream(schema, sending, messages_of(answer)?));
    }
    drop(requests);
    let answer = grpc::call(face, &path, credentials, request).await;
    if method.shape() == Shape::ServerStream {
        return Ok(stream(schema, std::future::ready(Ok(())), messages_of(answer)?));
    }
    let json = schema.answer(whole(answer).await?)?;
    let mut response = Response::new(Payload::plain(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    Ok(response)
}

const JSON: &str = "application/json";

/// The one message that was answered.
async fn whole(answer: Response<Payload>) -> Result<Bytes, Status> {
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return Err(status);
    }
    let mut framed = match answer.into_body() {
        Payload::Whole { data, .. } => data,
        Payload::Stream { mut messages, .. } => {
            let mut gathered = BytesMut::new();
            while let Some(piece) = messages.recv().await {
                gathered.extend_from_slice(&piece?);
            }
            gathered.freeze()
        }
    };
    framed.advance(PREFIX_BYTES.min(framed.len()));
    Ok(framed)
}

/// The messages that are answered, as they come.
fn messages_of(answer: Response<Payload>) -> Result<Outbound, Status> {
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return Err(status);
    }
    match answer.into_body() {
        Payload::Stream { messages, .. } => Ok(messages),
        Payload::Whole { .. } => unreachable!("a stream was answered with one message"),
    }
}

/// Passes on what the client goes on to say.
async fn send_all<B>(
    mut values: Values<B>,
    requests: Sender<Result<Bytes, Error>>,
    schema: Schema,
) -> Result<(), Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    while let Some(json) = values.next().await? {
        let request = schema.request(&json)?;
        if requests.send(Ok(request)).await.is_err() {
            // The call is over.
            return Ok(());
        }
    }
    Ok(())
}

/// An answer of lines. Both directions are one task's, which ends with the call or when the client has gone.
fn stream(
    schema: Schema,
    sending: impl Future<Output = Result<(), Status>> + Send + 'static,
    mut answers: Outbound,
) -> Response<Payload> {
    let (lines, sent) = channel(QUEUED_MAX);
    tokio::spawn(async move {
        let mut sending = std::pin::pin!(sending);
        let mut is_sending = true;
        loop {
            let line = tokio::select! {
                biased;
                () = lines.closed() => return,
                answer = answers.recv() => match answer {
                    Some(answer) => answer.map_err(Status::from).and_then(|mut framed| {
                        framed.advance(PREFIX_BYTES.min(framed.len()));
                        schema.result(framed)
                    }),
                    None => return,
                },
                ended = &mut sending, if is_sending => {
                    is_sending = false;
                    match ended {
                        Ok(()) => continue,
                        Err(status) => Err(status),
                    }
                }
            };
            let (line, is_last) = match line {
                Ok(line) => (line, false),
                Err(status) => (error_line(&status), true),
            };
            if lines.send(Ok(line)).await.is_err() || is_last {
                return;
            }
        }
    });
    let mut response = Response::new(Payload::stream(sent));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// What etcd's gateway says instead of an answer.
#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
    code: i32,
    message: &'a str,
}

/// What it says in the middle of a stream.
#[derive(Serialize)]
struct LastLine<'a> {
    error: Broken<'a>,
}

#[derive(Serialize)]
struct Broken<'a> {
    grpc_code: i32,
    http_code: u16,
    message: &'a str,
    http_status: &'a str,
}

fn refusal(status: &Status) -> Response<Payload> {
    let message = status.message();
    let refusal = Refusal { error: message, code: status.code() as i32, message };
    let json = serde_json::to_vec(&refusal).expect("text and a number make JSON");
    let mut response = Response::new(Payload::plain(json));
    *response.status_mut() = http_status(status.code());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

fn error_line(status: &Status) -> Bytes {
    let http = http_status(status.code());
    let error = Broken {
        grpc_code: status.code() as i32,
        http_code: http.as_u16(),
        message: status.message(),
        http_status: http.canonical_reason().unwrap_or_default(),
    };
    let mut json = serde_json::to_vec(&LastLine { error }).expect("text and numbers make JSON");
    json.push(b'\n');
    json.into()
}

/// HTTP's word for each of gRPC's codes, as the gateway of etcd 3.5 chooses it.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Payload> {
    let mut response = Response::new(Payload::plain(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_path_and_every_path_a_schema() {
        for method in Method::ALL {
            assert!(PATHS.iter().any(|(_, at)| at == method), "{} has none", method.name());
            Schema::of(*method);
        }
        for (place, (path, _)) in PATHS.iter().enumerate() {
            assert!(PATHS[..place].iter().all(|(other, _)| other != path), "{path} is there twice");
        }
    }
}
