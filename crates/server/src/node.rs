//! A node's life.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quorate_api_etcd::{Entrance, Face, FaceConfig, TokenKind};
use quorate_kv::node::{self, DEFAULT_GROUP};
use quorate_protocols::consensus::raft;
use quorate_runtime::{Driver, DriverError, Handle, Identity, Metrics, Options, PeerListener};
use quorate_storage::data_dir::{DataDir, DataDirError};
use quorate_storage::vfs::DiskVfs;
use quorate_tls::{Acceptor, Dialer, TlsError, self_signed};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError as TaskError, JoinSet};
use tracing::{info, warn};

use crate::codec::NodeCodec;
use crate::config::{Config, Listener, SelfSigned, TlsConfig};
use crate::desk::Desk;
use crate::engines::{self, EnginesError};
use crate::keeper::Keeper;
use crate::place::{self, FindError, JoinError, Place};
use crate::recovery::{self, draw_log_id};
use crate::tokens::{self, TokenError};

/// How long one that is no member any more may still be told so.
const HANG_UP_AFTER: Duration = Duration::from_secs(5);

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
        advice: String,
    },
    /// There is no TLS to be spoken.
    #[error("cannot speak TLS with {whom}: {source}")]
    Tls {
        /// With whom.
        whom: &'static str,
        /// Why.
        source: TlsError,
    },
    /// Users could not be given tokens.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The data directory could not be taken.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What the stores lie in could not be opened.
    #[error(transparent)]
    Engines(#[from] EnginesError),
    /// What a store lies in can't be used, and no other node has the data.
    #[error(
        "the data of {name} is damaged or missing ({why}), and the cluster has no other member to fetch it from; restore a backup into an empty directory (what is left is in {data_dir})"
    )]
    Unservable {
        /// The node.
        name: String,
        /// What is wrong.
        why: String,
        /// Where its data is.
        data_dir: String,
    },
    /// The cluster could not be joined.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The node is no member of its cluster.
    #[error(
        "{name} was removed from its cluster, for ever, and what is in {data_dir} is of no use to it any more; to join \
         again, remove that directory, run quorate member add {name} --peer-urls {peer_url}, and start this node with \
         --initial-cluster-state existing"
    )]
    Removed {
        /// What people call it.
        name: String,
        /// Where its data is.
        data_dir: String,
        /// Where the others reached it.
        peer_url: String,
    },
    /// The log, or what is in it.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The client port was lost.
    #[error(transparent)]
    Face(#[from] quorate_api_etcd::Error),
}

impl From<FindError> for ServerError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::DataDir(error) => error.into(),
            FindError::Join(error) => error.into(),
        }
    }
}

/// How a face ended.
type FaceOutcome = Result<(), quorate_api_etcd::Error>;

/// Runs one node until `shutdown` ends, or until it cannot go on.
///
/// Everything runs as tasks of the current runtime; one thread is best (see [`quorate_runtime`]).
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let auth_token = tokens::kind(&config)?;
    let ports = Ports::open(&config).await?;
    let dialer = ports.dialer.clone();

    let mut shutdown = std::pin::pin!(shutdown);
    let vfs = DiskVfs;
    let place = tokio::select! {
        // Where there is nobody to ask, a shutdown must not keep a wrong directory from being reported.
        biased;
        place = place::find(&config, dialer.as_ref(), &vfs) => place?,
        // It was still looking for a member to join.
        () = &mut shutdown => return Ok(()),
    };
    let mut data_dir = DataDir::open(&vfs, &config.data_dir, &place.identity, draw_log_id())?;

    let metrics = Arc::new(Metrics::default());
    let node_config = node_config(&config, &place);
    let recovered = recovery::recover(&mut data_dir, &vfs, &node_config, &metrics)?;
    let (enquiries, enquired) = Handle::channel();
    let options = Options {
        identity: Identity {
            cluster: place.identity.cluster_id,
            me: place.node(),
            address: config.peer_url.address(),
        },
        addresses: place.addresses.clone(),
        hang_up_after: HANG_UP_AFTER,
        enquiries,
        listeners: ports.peers,
        dialer: dialer.clone(),
    };
    let (driver, handle) =
        Driver::<_, NodeCodec, _>::start(node_config.clone(), recovered, options);
    if let Some(why) = driver.node().why_unservable(&node_config) {
        return Err(ServerError::Unservable {
            name: config.name.clone(),
            why,
            data_dir: data_dir.path().display().to_string(),
        });
    }
    info!(
        name = config.name,
        node = %place.node(),
        cluster = format_args!("{:x}", place.identity.cluster_id),
        data_dir = %config.data_dir.display(),
        clients = %addresses(&config.listen_client),
        peers = %addresses(&config.listen_peer),
        "node started"
    );

    let (leader, changes) = Handle::channel();
    let desk = Desk::new(handle.clone(), place.node(), place.identity.cluster_id, dialer);
    desk.clone().serve(enquired, changes);
    let removed = keeper(&config, &place, desk, metrics.clone()).run();

    let (stop, stopped) = watch::channel(());
    let face =
        Arc::new(Face::new(face_config(&config, &place, auth_token), handle, leader, metrics));
    let mut faces = JoinSet::new();
    for entrance in ports.clients {
        let mut stopped = stopped.clone();
        faces.spawn(quorate_api_etcd::serve(entrance, face.clone(), async move {
            // Told, or the node is gone: it is time to stop either way.
            let _ = stopped.changed().await;
        }));
    }
    drop(face);
    let mut end = End::Asked;
    let run = driver.run(async {
        tokio::select! {
            () = &mut shutdown => {}
            () = removed => end = End::Removed,
            // A face ends before it is told to only if its port is lost.
            Some(ended) = faces.join_next() => end = End::Lost(ended),
        }
        // Answers first, then the log: what is under way gets a moment to finish while the node still runs.
        drop(stop);
        while faces.join_next().await.is_some() {}
    });
    engines::close(run.await?.into_engines());
    why_it_ended(&config, end)?;
    info!(name = config.name, "node stopped");
    Ok(())
}

/// Why a node stops in good order.
enum End {
    /// It was asked to.
    Asked,
    /// It is no member any more.
    Removed,
    /// A face ended before it was told to.
    Lost(Result<FaceOutcome, TaskError>),
}

/// What the end of a node is to who started it: one that nobody can ask any more, or that is no member, must not pass
/// for one that was stopped.
fn why_it_ended(config: &Config, end: End) -> Result<(), ServerError> {
    match end {
        End::Asked => Ok(()),
        End::Removed => Err(ServerError::Removed {
            name: config.name.clone(),
            data_dir: config.data_dir.display().to_string(),
            peer_url: config.peer_url.to_string(),
        }),
        End::Lost(Ok(outcome)) => Ok(outcome?),
        End::Lost(Err(failed)) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => Ok(()),
        },
    }
}

/// What a node listens on, and dials its peers with.
struct Ports {
    clients: Vec<Entrance>,
    /// The configuration has at least one; connections are alike, whichever address they came to.
    peers: Vec<PeerListener>,
    dialer: Option<Dialer>,
}

impl Ports {
    /// Takes the ports, and reads the certificates. Those that the node makes itself are made now.
    async fn open(config: &Config) -> Result<Self, ServerError> {
        let mut clients = Vec::new();
        for at in &config.listen_client {
            clients.push((
                listen("clients", "listen-client-urls", at.address).await?,
                at.is_tls,
                false,
            ));
        }
        for at in &config.listen_metrics {
            clients.push((
                listen("metrics", "listen-metrics-urls", at.address).await?,
                at.is_tls,
                true,
            ));
        }
        let mut peers = Vec::new();
        for at in &config.listen_peer {
            peers.push((listen("peers", "listen-peer-urls", at.address).await?, at.is_tls));
        }
        let client_tls = acceptor(&config.client_tls, "clients")?;
        let peer_tls = acceptor(&config.peer_tls, "peers")?;
        let callers = config.peer_tls.as_ref().map(|tls| Dialer::new(&tls.port.caller()));
        let dialer =
            callers.transpose().map_err(|source| ServerError::Tls { whom: "peers", source })?;
        let clients = clients.into_iter().map(|(listener, is_tls, is_for_metrics)| {
            let entrance = Entrance::with_tls(listener, client_tls.clone().filter(|_| is_tls));
            if is_for_metrics { entrance.for_metrics() } else { entrance }
        });
        let peers = peers.into_iter().map(|(listener, is_tls)| match &peer_tls {
            Some(tls) if is_tls => PeerListener::with_tls(listener, tls.clone()),
            _ => PeerListener::from(listener),
        });
        Ok(Ports { clients: clients.collect(), peers: peers.collect(), dialer })
    }
}

/// Who shakes hands on a port.
fn acceptor(
    config: &Option<TlsConfig>,
    whom: &'static str,
) -> Result<Option<Acceptor>, ServerError> {
    let Some(TlsConfig { port, self_signed }) = config else { return Ok(None) };
    let failed = |source| ServerError::Tls { whom, source };
    if let Some(SelfSigned { dir, hosts, years }) = self_signed {
        self_signed::ensure(dir, hosts, *years).map_err(failed)?;
    }
    Acceptor::new(port).map(Some).map_err(failed)
}

fn addresses(listeners: &[Listener]) -> String {
    let all: Vec<String> = listeners
        .iter()
        .map(|at| format!("{}{}", at.address, if at.is_tls { " (TLS)" } else { "" }))
        .collect();
    all.join(", ")
}

async fn listen(
    whom: &'static str,
    flag: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| {
        let advice = match (source.kind(), flag) {
            (io::ErrorKind::AddrInUse, flag) => {
                format!(
                    "stop what is listening there, or give this node another port with --{flag}"
                )
            }
            _ => "the address must be one of this machine's".into(),
        };
        ServerError::Listen { whom, address, source, advice }
    })
}

fn node_config(config: &Config, place: &Place) -> node::Config {
    let mut raft = raft::Config::new(place.node(), Vec::new());
    raft.bootstrap = place.bootstrap.clone();
    raft.heartbeat_interval = config.heartbeat_interval;
    raft.election_timeout = config.election_timeout;
    raft.entries_kept = raft.entries_kept.min(config.snapshot_count);
    let mut node = node::Config::new(vec![DEFAULT_GROUP], raft);
    node.flush_entries = config.snapshot_count;
    node.quota_bytes = config.quota_bytes;
    // As in etcd: long enough for another leader to be found before it is over.
    let longest_without_leader = config.election_timeout.mul_f64(1.5);
    node.lease_ttl_seconds_min = longest_without_leader.as_secs_f64().ceil().max(2.0) as i64;
    node.operations_max = config.txn_operations_max;
    node
}

fn keeper(config: &Config, place: &Place, desk: Desk, metrics: Arc<Metrics>) -> Keeper {
    let others = config.members.iter().filter(|member| member.peer_url != config.peer_url);
    Keeper {
        desk,
        me: place.node(),
        cluster: place.identity.cluster_id,
        name: config.name.clone(),
        client_urls: config.advertise_client_urls.iter().map(ToString::to_string).collect(),
        addresses: others.map(|member| member.peer_url.address()).collect(),
        auto_compaction: config.auto_compaction,
        corrupt_check_time: config.corrupt_check_time,
        metrics,
    }
}

fn face_config(config: &Config, place: &Place, auth_token: TokenKind) -> FaceConfig {
    FaceConfig {
        auth_token,
        bcrypt_cost: config.bcrypt_cost,
        audit: config.audit,
        group: DEFAULT_GROUP,
        request_bytes_max: config.max_request_bytes,
        calls_per_connection_max: config.calls_per_connection_max,
        keep_alive_interval: config.keep_alive_interval,
        keep_alive_timeout: config.keep_alive_timeout,
        progress_notify_interval: config.progress_notify_interval,
        ..FaceConfig::new(place.identity.cluster_id, place.node())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_whose_client_port_is_lost_does_not_pass_for_one_that_was_stopped() {
        let lost = quorate_api_etcd::Error::Accept(io::Error::other("the port is gone"));
        let config = Config::from_settings(crate::Settings::default()).unwrap();
        let said =
            why_it_ended(&config, End::Lost(Ok(Err(lost)))).expect_err("it was lost").to_string();
        assert!(said.contains("the port is gone"), "{said}");
        assert!(
            why_it_ended(&config, End::Asked).is_ok(),
            "a node that was told to stop has done its work"
        );
    }
}
