//! Connections inside TLS.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use quorate_tls::{Dialer, Stream};
use tokio::net::TcpStream;
use tower_service::Service;

/// Connects to one node, whatever it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) authority: String,
    pub(crate) dialer: Dialer,
}

impl Connector {
    async fn connect(self) -> io::Result<TokioIo<Stream>> {
        let tcp = TcpStream::connect(&self.authority).await?;
        tcp.set_nodelay(true)?;
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host);
        self.dialer.connect(host, tcp).await.map(TokioIo::new)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}
