//! The face on a real port, over a node that is a map in memory: with the clients that this crate generates, with a
//! stock client, and with bare sockets.

mod disconnects;
mod endpoints;
mod fake_node;
mod gateway;
mod generated_client;
mod refusals;
mod stock_client;
mod unfinished;

use std::net::SocketAddr;
use std::sync::Arc;

use quorate_api_etcd::proto::etcdserverpb::kv_client::KvClient;
use quorate_api_etcd::{Error, Face, FaceConfig};
use quorate_core::NodeId;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use fake_node::Node;

/// A face that is being served.
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), Error>>,
}

impl Served {
    /// Serves a face of the node on a port of its own.
    async fn start(node: Node) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("the listener is bound");
        let face = Arc::new(Face::new(config(), node.clone(), node, Arc::default()));
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(quorate_api_etcd::serve(listener, face, async {
            // A test that ends without stopping the face stops it by dropping the sender.
            let _ = stopped.await;
        }));
        Served { address, stop, ended }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(self.url()).expect("the address makes a URL");
        endpoint.connect().await.expect("the face accepts connections")
    }

    async fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel().await)
    }
}

/// How much the face takes of requests that are not whole: a few of the longest.
const UNFINISHED_BYTES_MAX: usize = 4 << 20;

/// A face of the first of two members.
fn config() -> FaceConfig {
    FaceConfig {
        drain_timeout_ms: 50,
        unfinished_bytes_max: UNFINISHED_BYTES_MAX,
        ..FaceConfig::new(99, NodeId(1))
    }
}
