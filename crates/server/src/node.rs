//! A node's life.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use quorate_api_etcd::{Face, FaceConfig, Member};
use quorate_core::NodeId;
use quorate_kv::node::{self, DEFAULT_GROUP, Durable, Node};
use quorate_protocols::consensus::raft;
use quorate_runtime::{Cards, Driver, DriverError, Identity, Metrics, Options};
use quorate_storage::data_dir::{self, DataDir, DataDirError};
use quorate_storage::log::{LogId, LogOptions};
use quorate_storage::vfs::DiskVfs;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tracing::info;

use crate::codec::NodeCodec;
use crate::config::Config;

/// Why a node stopped, or did not start.
#[derive(Debug, Error)]
pub enum ServerError {
    /// A port could not be taken. Nothing has been touched.
    #[error("cannot listen for {whom} on {address}: {source}; {advice}")]
    Listen {
        /// Who is listened for.
        whom: &'static str,
        /// Where.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The data directory could not be taken.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log, or what is in it.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The client port was lost.
    #[error(transparent)]
    Face(#[from] quorate_api_etcd::Error),
}

/// How a face ended.
type FaceOutcome = Result<(), quorate_api_etcd::Error>;

/// Runs one node until `shutdown` ends, or until it cannot go on.
///
/// Everything runs as tasks of the current runtime; one thread is best (see [`quorate_runtime`]).
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
    let mut client_listeners = Vec::new();
    for address in &config.listen_client {
        client_listeners.push(listen("clients", "--listen-client-urls", *address).await?);
    }
    // The configuration has at least one; connections are alike, whichever address they came to.
    let mut peer_listeners = Vec::new();
    for address in &config.listen_peer {
        peer_listeners.push(listen("peers", "--listen-peer-urls", *address).await?);
    }

    let vfs = DiskVfs;
    let owner = data_dir::Identity { cluster_id: config.cluster.0, node_id: config.node.0 };
    let data_dir = DataDir::open(&vfs, &config.data_dir, &owner, draw_log_id())?;

    let metrics = Arc::new(Metrics::default());
    let cards = Cards::default();
    let options = Options {
        identity: Identity {
            cluster: config.cluster.0,
            me: config.node,
            members: config.members.iter().map(|member| member.id).collect(),
        },
        card: client_urls(&config).join(",").into(),
        cards: cards.clone(),
        addresses: peer_addresses(&config),
        listeners: peer_listeners,
        vfs,
        log_dir: data_dir.path().join("log"),
        log: LogOptions::new(data_dir.log_id()),
    };
    let (driver, handle) = Driver::<Node, NodeCodec, _>::start(
        node_config(&config),
        Durable::default(),
        options,
        metrics.clone(),
    )?;
    info!(
        name = config.name,
        node = %config.node,
        cluster = %config.cluster,
        data_dir = %config.data_dir.display(),
        clients = ?config.listen_client,
        peers = ?config.listen_peer,
        "node started"
    );

    let (stop, stopped) = watch::channel(());
    let face = Arc::new(Face::new(face_config(&config), handle, cards, metrics));
    let mut faces = JoinSet::new();
    for listener in client_listeners {
        let mut stopped = stopped.clone();
        faces.spawn(quorate_api_etcd::serve(listener, face.clone(), async move {
            // Told, or the node is gone: it is time to stop either way.
            let _ = stopped.changed().await;
        }));
    }
    drop(face);
    let mut lost = None;
    let run = driver.run(async {
        let mut shutdown = std::pin::pin!(shutdown);
        tokio::select! {
            () = &mut shutdown => {}
            // A face ends before it is told to only if its port is lost.
            Some(ended) = faces.join_next() => lost = Some(ended),
        }
        // Answers first, then the log: what is under way gets a moment to finish while the node still runs.
        drop(stop);
        while faces.join_next().await.is_some() {}
    });
    run.await?;
    why_it_ended(lost)?;
    info!(name = config.name, "node stopped");
    Ok(())
}

/// Why a face ended before it was told to, if one did: a node that nobody can ask any more must not pass for one that
/// was stopped.
fn why_it_ended(face: Option<Result<FaceOutcome, JoinError>>) -> Result<(), ServerError> {
    match face {
        None => Ok(()),
        Some(Ok(outcome)) => Ok(outcome?),
        Some(Err(failed)) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => Ok(()),
        },
    }
}

async fn listen(
    whom: &'static str,
    flag: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| {
        let advice = match (source.kind(), flag) {
            (io::ErrorKind::AddrInUse, "--listen-client-urls") => {
                "stop what is listening there, or give this node another port with --listen-client-urls"
            }
            (io::ErrorKind::AddrInUse, _) => {
                "stop what is listening there, or give this node another port with --listen-peer-urls"
            }
            _ => "the address must be one of this machine's",
        };
        ServerError::Listen { whom, address, source, advice }
    })
}

/// A number that no other log has. The system's hash seeds are random.
fn draw_log_id() -> LogId {
    let half = || u128::from(RandomState::new().hash_one(std::process::id()));
    LogId(half() << 64 | half())
}

fn peer_addresses(config: &Config) -> BTreeMap<NodeId, String> {
    config.members.iter().map(|member| (member.id, member.peer_url.authority())).collect()
}

fn node_config(config: &Config) -> node::Config {
    let members = config.members.iter().map(|member| member.id).collect();
    let mut raft = raft::Config::new(config.node, members);
    raft.heartbeat_interval = config.heartbeat_interval;
    raft.election_timeout = config.election_timeout;
    node::Config { groups: vec![DEFAULT_GROUP], raft }
}

/// Where this node serves clients; its card says so to its peers.
fn client_urls(config: &Config) -> Vec<String> {
    config.advertise_client_urls.iter().map(ToString::to_string).collect()
}

fn face_config(config: &Config) -> FaceConfig {
    let members = config
        .members
        .iter()
        .map(|member| Member {
            id: member.id,
            name: member.name.clone(),
            peer_urls: vec![member.peer_url.to_string()],
        })
        .collect();
    FaceConfig {
        group: DEFAULT_GROUP,
        client_urls: client_urls(config),
        request_bytes_max: config.max_request_bytes,
        ..FaceConfig::new(config.cluster.0, config.node, members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_whose_client_port_is_lost_does_not_pass_for_one_that_was_stopped() {
        let lost = quorate_api_etcd::Error::Accept(io::Error::other("the port is gone"));
        let said = why_it_ended(Some(Ok(Err(lost)))).expect_err("it was lost").to_string();
        assert!(said.contains("the port is gone"), "{said}");
        assert!(why_it_ended(None).is_ok(), "a node that was told to stop has done its work");
    }
}
