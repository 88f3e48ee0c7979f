//! The port: accepts connections, in TLS or not, tells gRPC from JSON and plain HTTP, and lets calls end when the node
//! stops.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use quorate_tls::{Complaints, Stream};
use tokio::task::JoinSet;

use crate::auth::Credentials;
use crate::error::Error;
use crate::face::Face;
use crate::gateway;
use crate::grpc::{self, Payload};
use crate::http as plain;
use crate::punctual::Punctual;
use crate::tls::{self, Caller, Entrance};

/// How long a client may take to say which HTTP it speaks. From then on each has a bound of its own.
const OPENED_WITHIN: Duration = Duration::from_secs(30);
/// How long to wait before accepting again when the process has run out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a call may count against its connection's window while nobody has read its message, however short that is: h2
/// takes messages of less than 256 bytes for so long, and hangs up with `too_many_data_frames` on who has sent half a
/// window of them that nobody has read.
const UNREAD_CALL_BYTES: u32 = 512;
/// hyper's own window, and the largest that HTTP/2 has (RFC 9113, section 6.9.1), in bytes.
const WINDOW_BYTES: std::ops::RangeInclusive<u32> = 1 << 20..=(1 << 31) - 1;

/// Serves clients at an entrance until `shutdown` is ready, then lets calls under way end for
/// [`drain_timeout_ms`](crate::FaceConfig::drain_timeout_ms) and cuts off the rest.
///
/// Calls run on the runtime that this runs on; one thread is enough. A call whose client goes away is dropped where
/// it stands, and what it asked of the node finds nobody waiting.
///
/// # Errors
/// [`Error::Accept`] if the port is lost.
pub async fn serve(
    entrance: impl Into<Entrance>,
    face: Arc<Face>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let Entrance { listener, tls, is_for_metrics } = entrance.into();
    let complaints = Arc::new(Complaints::default());
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .keep_alive_interval(face.config.keep_alive_interval)
        .keep_alive_timeout(face.config.keep_alive_timeout)
        .initial_connection_window_size(window_bytes(face.config.calls_per_connection_max))
        .max_concurrent_streams(face.config.calls_per_connection_max);
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    // Dropping the set ends every connection, and with it every call.
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, address)) => {
                let (builder, face) = (builder.clone(), face.clone());
                let (watcher, complaints, tls) =
                    (graceful.watcher(), complaints.clone(), tls.clone());
                connections.spawn(async move {
                    // Before the handshake, so that it counts as long as it is open.
                    let _open = OpenConnection::new(face.clone());
                    if let Err(error) = tcp.set_nodelay(true) {
                        tracing::debug!(%error, "a connection keeps its delay");
                    }
                    let is_tls = tls.is_some();
                    let opened = tls::open(tcp, address, tls, &complaints).await;
                    let Some((stream, caller)) = opened else { return };
                    let served = connection(&builder, watcher, stream, caller, face, is_for_metrics);
                    if let Err(error) = served.await {
                        tracing::debug!(error, "a connection broke");
                        if !is_tls && is_not_http(&*error) && complaints.is_news("not HTTP") {
                            tracing::warn!(%address, "a client speaks no HTTP to a port of http://; if it speaks TLS, write \
                                http:// in its endpoints, or give this node --cert-file, --key-file and https:// in --listen-client-urls");
                        }
                    }
                });
            }
            Err(error) => after_failed_accept(error).await?,
        }
    }
    drop(listener);
    let drain_timeout = Duration::from_millis(face.config.drain_timeout_ms);
    if tokio::time::timeout(drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::info!(connections = connections.len(), "cut off connections with calls under way");
    }
    Ok(())
}

/// So many bytes may be on their way on a connection that nobody has read: enough for all the calls that it may have under
/// way, so that none is hung up on who sends short ones faster than they are begun.
fn window_bytes(calls_max: u32) -> u32 {
    calls_max.saturating_mul(UNREAD_CALL_BYTES).clamp(*WINDOW_BYTES.start(), *WINDOW_BYTES.end())
}

/// One connection from its first request to its last.
fn connection(
    builder: &Builder<TokioExecutor>,
    watcher: Watcher,
    stream: Stream,
    caller: Caller,
    face: Arc<Face>,
    is_for_metrics: bool,
) -> impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send + 'static {
    let caller = Arc::new(caller);
    let service =
        service_fn(move |request| respond(face.clone(), caller.clone(), request, is_for_metrics));
    let connection = builder
        .serve_connection(TokioIo::new(Punctual::new(stream, OPENED_WITHIN)), service)
        .into_owned();
    watcher.watch(connection)
}

/// Whether a connection ended because what came first was no HTTP.
fn is_not_http(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
}

async fn respond(
    face: Arc<Face>,
    caller: Arc<Caller>,
    request: Request<Incoming>,
    is_for_metrics: bool,
) -> Result<Response<Payload>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let credentials =
        Credentials { headers: &head.headers, common_name: caller.common_name.as_deref() };
    Ok(if is_grpc(&head.headers) && !is_for_metrics {
        grpc::call(&face, path, credentials, body).await
    } else if path.starts_with(gateway::PREFIX) && !is_for_metrics {
        gateway::respond(&face, &head.method, path, credentials, body).await
    } else {
        plain::respond(&face, &head.method, &head.uri, &head.headers).await
    })
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Waits a moment: for files to be closed, or for a network to come back. Only a socket that is none any more is lost.
async fn after_failed_accept(error: io::Error) -> Result<(), Error> {
    const NO_SUCH_FILE: i32 = 9;
    const NOT_LISTENING: i32 = 22;
    const NO_SOCKET: i32 = 88;
    if let Some(NO_SUCH_FILE | NOT_LISTENING | NO_SOCKET) = error.raw_os_error() {
        return Err(Error::Accept(error));
    }
    tracing::warn!(%error, "cannot accept a connection; if it lasts, raise the limit on open files");
    tokio::time::sleep(ACCEPT_PAUSE).await;
    Ok(())
}

/// Counts a connection for as long as it is open.
struct OpenConnection {
    face: Arc<Face>,
}

impl OpenConnection {
    fn new(face: Arc<Face>) -> Self {
        face.counters.count_connection(1);
        OpenConnection { face }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.face.counters.count_connection(-1);
    }
}
