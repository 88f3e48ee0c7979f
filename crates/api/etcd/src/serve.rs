//! The port: accepts connections, tells gRPC from JSON and plain HTTP, and lets calls end when the node stops.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::error::Error;
use crate::face::Face;
use crate::gateway;
use crate::grpc::{self, Payload};
use crate::http as plain;

/// How often an idle HTTP/2 connection is asked whether its client is still there. A client whose machine vanished
/// would otherwise hold its connection for ever.
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// How long such a question may go unanswered.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long to wait before accepting again when the process has run out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves clients on a port until `shutdown` is ready, then lets calls under way end for
/// [`drain_timeout_ms`](crate::FaceConfig::drain_timeout_ms) and cuts off the rest.
///
/// Calls run on the runtime that this runs on; one thread is enough. A call whose client goes away is dropped where
/// it stands, and what it asked of the node finds nobody waiting.
///
/// # Errors
/// [`Error::Accept`] if the port is lost.
pub async fn serve(
    listener: TcpListener,
    face: Arc<Face>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(face.config.calls_per_connection_max);
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
            Ok((stream, _)) => {
                connections.spawn(connection(&builder, &graceful, stream, face.clone()));
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

/// One connection from its first byte to its last.
fn connection(
    builder: &Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    stream: TcpStream,
    face: Arc<Face>,
) -> impl Future<Output = ()> + Send + 'static {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let open = OpenConnection::new(face.clone());
    let service = service_fn(move |request| respond(face.clone(), request));
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    async move {
        let _open = open;
        if let Err(error) = connection.await {
            tracing::debug!(error, "a connection broke");
        }
    }
}

async fn respond(
    face: Arc<Face>,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    Ok(if is_grpc(&head.headers) {
        grpc::call(&face, path, &head.headers, body).await
    } else if path.starts_with(gateway::PREFIX) {
        gateway::respond(&face, &head.method, path, &head.headers, body).await
    } else {
        plain::respond(&face, &head.method, &head.uri).await
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
