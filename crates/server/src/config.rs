//! What a node is told when it starts: as people write it ([`Settings`]), and as the server uses it ([`Config`]).
//!
//! A [`Settings`] is text, under the names of the flags; a [`Config`] exists only once every rule between its parts
//! has been checked. So nothing behind [`Config`] looks at a URL or a name again.
//!
//! **Identities are part of the format.** Members find each other, and their logs, by ids that each of them computes
//! alone from the same settings; two versions that computed them differently could not form one cluster. See
//! [`member_id`] and [`cluster_id`], and [`Beginning`] for a cluster that begins with a backup.
//!
//! A node that joins a cluster has its ids from there; those that are computed here then only tell members apart.
//!
//! Omitted: several peer URLs a member. They are refused by name.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use quorate_core::NodeId;

mod error;
mod identity;
mod limits;
mod tls;
mod url;

#[cfg(test)]
mod tests;

pub use error::ConfigError;
pub use identity::{Beginning, cluster_id, member_id};
pub(crate) use limits::read_duration;
pub use limits::{AuthToken, AutoCompaction, BadValue};
pub use tls::{SelfSigned, TlsConfig, TlsFault, TlsSettings};
pub use url::{HttpUrl, UrlFault};

/// How many heartbeats an election timeout must span, so that one late heartbeat does not unseat a leader.
const HEARTBEATS_PER_ELECTION_TIMEOUT_MIN: u64 = 5;
/// Longer than this, a cluster is down for longer after a failure than anyone means it to be. It is etcd's limit too.
const ELECTION_TIMEOUT_MS_MAX: u64 = 50_000;
/// A request travels as one frame between peers and lies in one record of the log; both hold 64 MiB at most.
const MAX_REQUEST_BYTES_MAX: u64 = 32 << 20;

/// A cluster. Told apart by id so that a node of one never takes part in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// What a person wrote, under the names of the flags. [`Settings::default`] is a cluster of one on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `--name`
    pub name: String,
    /// `--data-dir`; `NAME.quorate` unless given.
    pub data_dir: Option<PathBuf>,
    /// `--listen-client-urls`
    pub listen_client_urls: Vec<String>,
    /// `--advertise-client-urls`; as `--listen-client-urls` if empty.
    pub advertise_client_urls: Vec<String>,
    /// `--listen-peer-urls`
    pub listen_peer_urls: Vec<String>,
    /// `--initial-advertise-peer-urls`; as `--listen-peer-urls` if empty.
    pub initial_advertise_peer_urls: Vec<String>,
    /// `--initial-cluster`, one `NAME=URL` each; this node alone if empty.
    pub initial_cluster: Vec<String>,
    /// `--initial-cluster-token`
    pub initial_cluster_token: String,
    /// `--initial-cluster-state`: `new` or `existing`.
    pub initial_cluster_state: String,
    /// `--heartbeat-interval`, in milliseconds.
    pub heartbeat_interval_ms: u64,
    /// `--election-timeout`, in milliseconds.
    pub election_timeout_ms: u64,
    /// `--max-request-bytes`
    pub max_request_bytes: u64,
    /// `--snapshot-count`
    pub snapshot_count: u64,
    /// `--quota-backend-bytes`; 0 for none.
    pub quota_backend_bytes: u64,
    /// What is said about TLS for clients.
    pub client_tls: TlsSettings,
    /// What is said about TLS between peers.
    pub peer_tls: TlsSettings,
    /// `--tls-min-version`
    pub tls_min_version: String,
    /// `--tls-max-version`; the latest if empty.
    pub tls_max_version: String,
    /// `--self-signed-cert-validity`, in years.
    pub self_signed_cert_validity: u32,
    /// `--listen-metrics-urls`
    pub listen_metrics_urls: Vec<String>,
    /// `--max-txn-ops`
    pub max_txn_ops: usize,
    /// `--max-concurrent-streams`
    pub max_concurrent_streams: u32,
    /// `--grpc-keepalive-interval`; 0 for never.
    pub grpc_keepalive_interval: String,
    /// `--grpc-keepalive-timeout`
    pub grpc_keepalive_timeout: String,
    /// `--watch-progress-notify-interval`
    pub watch_progress_notify_interval: String,
    /// `--auto-compaction-mode`: `periodic` or `revision`.
    pub auto_compaction_mode: String,
    /// `--auto-compaction-retention`; 0 for no automatic compaction.
    pub auto_compaction_retention: String,
    /// `--corrupt-check-time`; 0 for never.
    pub corrupt_check_time: String,
    /// `--auth-token`
    pub auth_token: String,
    /// `--auth-token-ttl`, in seconds.
    pub auth_token_ttl: u64,
    /// `--bcrypt-cost`
    pub bcrypt_cost: u32,
    /// `--audit`
    pub audit: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            name: "default".into(),
            data_dir: None,
            listen_client_urls: vec!["http://127.0.0.1:2379".into()],
            advertise_client_urls: Vec::new(),
            listen_peer_urls: vec!["http://127.0.0.1:2380".into()],
            initial_advertise_peer_urls: Vec::new(),
            initial_cluster: Vec::new(),
            initial_cluster_token: "quorate-cluster".into(),
            initial_cluster_state: "new".into(),
            heartbeat_interval_ms: 50,
            election_timeout_ms: 500,
            max_request_bytes: 1_572_864,
            snapshot_count: 1_000_000,
            quota_backend_bytes: 0,
            client_tls: TlsSettings::default(),
            peer_tls: TlsSettings::default(),
            tls_min_version: "TLS1.2".into(),
            tls_max_version: String::new(),
            self_signed_cert_validity: 1,
            listen_metrics_urls: Vec::new(),
            max_txn_ops: 128,
            max_concurrent_streams: 1 << 16,
            grpc_keepalive_interval: "60s".into(),
            grpc_keepalive_timeout: "20s".into(),
            watch_progress_notify_interval: "10m".into(),
            auto_compaction_mode: "periodic".into(),
            auto_compaction_retention: "0".into(),
            corrupt_check_time: "4h".into(),
            auth_token: "simple".into(),
            auth_token_ttl: 300,
            bcrypt_cost: 10,
            audit: false,
        }
    }
}

/// One node of the cluster, as every node knows it from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Computed from the peer URL and the cluster's token; see [`member_id`].
    pub id: NodeId,
    /// What people call it.
    pub name: String,
    /// Where the other members reach it.
    pub peer_url: HttpUrl,
}

/// Whether a node without data begins a cluster or joins one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// It begins one, with the other members.
    New,
    /// It joins one that is there.
    Existing,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address to bind.
    pub address: SocketAddr,
    /// Whether TLS is spoken there.
    pub is_tls: bool,
}

/// What one node runs with. Immutable, and consistent in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node's id: that of the member with its name.
    pub node: NodeId,
    /// This node's name.
    pub name: String,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// What tells this cluster apart from others with the same members.
    pub token: String,
    /// All nodes of the cluster, this one among them, in order of their ids. No two share a name, an id or a URL.
    pub members: Vec<Member>,
    /// Where the other members reach this node.
    pub peer_url: HttpUrl,
    /// Whether it begins the cluster or joins it, if it has no data yet.
    pub cluster_state: ClusterState,
    /// Everything that the node keeps is under this directory. It need not exist yet.
    pub data_dir: PathBuf,
    /// Where clients are listened for. At least one, and none twice.
    pub listen_client: Vec<Listener>,
    /// Where peers are listened for. At least one, none twice, and none that is for clients.
    pub listen_peer: Vec<Listener>,
    /// Where metrics are asked for, and nothing else is; none that is listened on otherwise.
    pub listen_metrics: Vec<Listener>,
    /// What clients are told to connect to.
    pub advertise_client_urls: Vec<HttpUrl>,
    /// How often a leader lets its followers know that it lives.
    pub heartbeat_interval: Duration,
    /// How long a follower waits for its leader, at least, before it stands for election.
    pub election_timeout: Duration,
    /// The largest request that a client may send.
    pub max_request_bytes: usize,
    /// After how many entries the store is made durable, at the latest, and the log before it let go.
    pub snapshot_count: u64,
    /// How large the store may be, in bytes on the disk, until no more writes are taken.
    pub quota_bytes: Option<u64>,
    /// TLS on the client port, if it is spoken there.
    pub client_tls: Option<TlsConfig>,
    /// TLS between peers, if it is spoken to any.
    pub peer_tls: Option<TlsConfig>,
    /// How many operations a block of a transaction may have.
    pub txn_operations_max: usize,
    /// How many calls one connection may have under way.
    pub calls_per_connection_max: u32,
    /// How often a client that is silent is asked whether it is still there; none for never.
    pub keep_alive_interval: Option<Duration>,
    /// How long it may take to answer that.
    pub keep_alive_timeout: Duration,
    /// How often a watcher that asks for it is told how far the store is.
    pub progress_notify_interval: Duration,
    /// How history is compacted by itself, if it is.
    pub auto_compaction: Option<AutoCompaction>,
    /// How often the leader has the members' data compared, if ever.
    pub corrupt_check_time: Option<Duration>,
    /// How users prove who they are.
    pub auth_token: AuthToken,
    /// For how long such a proof holds.
    pub auth_token_ttl: Duration,
    /// How much work it is to check a password: 4 to 31, one more for twice as much.
    pub bcrypt_cost: u32,
    /// Whether a line of the log says who asked for each change, and what became of it.
    pub audit: bool,
    /// What was said and has no effect, for a person to read.
    pub warnings: Vec<String>,
}

impl Config {
    /// Checks every rule, and computes the ids. The first rule that does not hold is the error.
    pub fn from_settings(settings: Settings) -> Result<Self, ConfigError> {
        check_name(&settings.name)?;
        let cluster_state = match settings.initial_cluster_state.as_str() {
            "new" => ClusterState::New,
            "existing" => ClusterState::Existing,
            other => return Err(ConfigError::UnknownClusterState { value: other.into() }),
        };
        check_timing(&settings)?;
        let max_request_bytes = usize::try_from(settings.max_request_bytes)
            .ok()
            .filter(|_| (1..=MAX_REQUEST_BYTES_MAX).contains(&settings.max_request_bytes))
            .ok_or(ConfigError::MaxRequestBytes { value: settings.max_request_bytes })?;
        if settings.snapshot_count == 0 {
            return Err(ConfigError::SnapshotCountZero);
        }

        let client = parse_listeners("listen-client-urls", &settings.listen_client_urls, &[])?;
        let taken: &[_] = &[("listen-client-urls", &client[..])];
        let peer = parse_listeners("listen-peer-urls", &settings.listen_peer_urls, taken)?;
        let taken: &[_] = &[taken[0], ("listen-peer-urls", &peer[..])];
        let metrics = match settings.listen_metrics_urls.as_slice() {
            [] => Vec::new(),
            urls => parse_listeners("listen-metrics-urls", urls, taken)?,
        };
        let advertise_client_urls = parse_advertised(
            "advertise-client-urls",
            &settings.advertise_client_urls,
            &settings.listen_client_urls,
        )?;
        let advertised_peers = parse_advertised(
            "initial-advertise-peer-urls",
            &settings.initial_advertise_peer_urls,
            &settings.listen_peer_urls,
        )?;
        let [own_peer_url] = advertised_peers.as_slice() else {
            let value = join(&advertised_peers);
            return Err(ConfigError::SeveralPeerUrls { value });
        };

        let data_dir = settings
            .data_dir
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("{}.quorate", settings.name)));
        let mut warnings = Vec::new();
        let client_tls = client_side(&settings)?.plan(&settings, &data_dir, &mut warnings)?;
        let peer_tls = peer_side(&settings)?.plan(&settings, &data_dir, &mut warnings)?;
        let times = limits::Times::read(&settings)?;
        let auto_compaction = limits::auto_compaction(&settings)?;
        let auth_token = limits::auth_token(&settings.auth_token)?;

        let members = parse_members(&settings, own_peer_url)?;
        let node = own_member(&members, &settings.name, own_peer_url)?;
        Ok(Config {
            node,
            peer_url: own_peer_url.clone(),
            cluster_state,
            cluster: cluster_id(&settings.initial_cluster_token, &members),
            token: settings.initial_cluster_token,
            members,
            data_dir,
            name: settings.name,
            listen_client: client,
            listen_peer: peer,
            listen_metrics: metrics,
            advertise_client_urls,
            heartbeat_interval: Duration::from_millis(settings.heartbeat_interval_ms),
            election_timeout: Duration::from_millis(settings.election_timeout_ms),
            max_request_bytes,
            snapshot_count: settings.snapshot_count,
            quota_bytes: (settings.quota_backend_bytes > 0).then_some(settings.quota_backend_bytes),
            client_tls,
            peer_tls,
            txn_operations_max: limits::check_range(
                "max-txn-ops",
                settings.max_txn_ops,
                1,
                1 << 20,
            )?,
            calls_per_connection_max: settings.max_concurrent_streams.max(1),
            keep_alive_interval: (!times.keep_alive_interval.is_zero())
                .then_some(times.keep_alive_interval),
            keep_alive_timeout: times.keep_alive_timeout,
            progress_notify_interval: times.progress_notify_interval,
            auto_compaction,
            corrupt_check_time: times.corrupt_check_time,
            auth_token,
            auth_token_ttl: Duration::from_secs(settings.auth_token_ttl),
            bcrypt_cost: limits::check_range("bcrypt-cost", settings.bcrypt_cost as usize, 4, 31)?
                as u32,
            audit: settings.audit,
            warnings,
        })
    }
}

fn urls_of(flag: &'static str, urls: &[String]) -> Result<Vec<HttpUrl>, ConfigError> {
    urls.iter().map(|url| parse_url(flag, url)).collect()
}

/// Clients' port as TLS sees it. What listens for metrics shows the same certificate.
fn client_side(settings: &Settings) -> Result<tls::Side<'_>, ConfigError> {
    let mut listens_at = urls_of("listen-client-urls", &settings.listen_client_urls)?;
    listens_at.extend(urls_of("listen-metrics-urls", &settings.listen_metrics_urls)?);
    Ok(tls::Side {
        said: &settings.client_tls,
        prefix: "",
        dir: "client",
        allowed_flags: ["client-cert-allowed-cn", "client-cert-allowed-hostname"],
        protocols: &["h2", "http/1.1"],
        listens_at,
    })
}

fn peer_side(settings: &Settings) -> Result<tls::Side<'_>, ConfigError> {
    Ok(tls::Side {
        said: &settings.peer_tls,
        prefix: "peer-",
        dir: "peer",
        allowed_flags: ["peer-cert-allowed-cn", "peer-cert-allowed-hostname"],
        protocols: &[],
        listens_at: urls_of("listen-peer-urls", &settings.listen_peer_urls)?,
    })
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    let is_bad =
        name.is_empty() || name.contains(|c: char| c == '=' || c == ',' || c.is_whitespace());
    if is_bad { Err(ConfigError::BadName { name: name.into() }) } else { Ok(()) }
}

fn check_timing(settings: &Settings) -> Result<(), ConfigError> {
    let (heartbeat_ms, election_ms) =
        (settings.heartbeat_interval_ms, settings.election_timeout_ms);
    if heartbeat_ms == 0 {
        return Err(ConfigError::HeartbeatZero);
    }
    let least_ms = heartbeat_ms.saturating_mul(HEARTBEATS_PER_ELECTION_TIMEOUT_MIN);
    if election_ms < least_ms {
        return Err(ConfigError::ElectionTimeoutTooShort { election_ms, heartbeat_ms, least_ms });
    }
    if election_ms > ELECTION_TIMEOUT_MS_MAX {
        return Err(ConfigError::ElectionTimeoutTooLong { election_ms });
    }
    Ok(())
}

fn parse_url(flag: &'static str, value: &str) -> Result<HttpUrl, ConfigError> {
    value.parse().map_err(|fault| ConfigError::Url { flag, value: value.into(), fault })
}

/// What to listen on, none of which is `taken` through another flag.
fn parse_listeners(
    flag: &'static str,
    urls: &[String],
    taken: &[(&'static str, &[Listener])],
) -> Result<Vec<Listener>, ConfigError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for value in urls {
        let url = parse_url(flag, value)?;
        let address = url.socket_addr().ok_or_else(|| ConfigError::Url {
            flag,
            value: value.clone(),
            fault: UrlFault::NotAnAddress,
        })?;
        let has = |listeners: &[Listener]| listeners.iter().any(|known| known.address == address);
        let other = taken.iter().find(|(_, listeners)| has(listeners)).map(|(other, _)| *other);
        if let Some(other) = other.or_else(|| has(&listeners).then_some(flag)) {
            return Err(ConfigError::AddressTwice { flag, url: value.clone(), other });
        }
        listeners.push(Listener { address, is_tls: url.is_tls });
    }
    if listeners.is_empty() { Err(ConfigError::NoUrl { flag }) } else { Ok(listeners) }
}

/// What others are told, which is what is listened on unless something else was said.
fn parse_advertised(
    flag: &'static str,
    urls: &[String],
    listened_on: &[String],
) -> Result<Vec<HttpUrl>, ConfigError> {
    let urls = if urls.is_empty() { listened_on } else { urls };
    urls.iter()
        .map(|value| {
            let url = parse_url(flag, value)?;
            if url.is_unspecified() {
                return Err(ConfigError::Url {
                    flag,
                    value: value.clone(),
                    fault: UrlFault::Unspecified,
                });
            }
            Ok(url)
        })
        .collect()
}

fn parse_members(settings: &Settings, own_peer_url: &HttpUrl) -> Result<Vec<Member>, ConfigError> {
    const FLAG: &str = "initial-cluster";
    let token = &settings.initial_cluster_token;
    let alone = [format!("{}={own_peer_url}", settings.name)];
    let written =
        if settings.initial_cluster.is_empty() { &alone[..] } else { &settings.initial_cluster };
    let mut members: Vec<Member> = Vec::new();
    for value in written {
        let malformed = || ConfigError::MalformedMember { value: value.clone() };
        let (name, url) = value.split_once('=').ok_or_else(malformed)?;
        check_name(name).map_err(|_| malformed())?;
        let peer_url = parse_url(FLAG, url)?;
        if peer_url.is_unspecified() {
            return Err(ConfigError::Url {
                flag: FLAG,
                value: value.clone(),
                fault: UrlFault::Unspecified,
            });
        }
        if members.iter().any(|member| member.name == name) {
            return Err(ConfigError::DuplicateName { name: name.into() });
        }
        let (first_of, second) = (|member: &Member| member.name.clone(), String::from(name));
        if let Some(first) = members.iter().find(|member| member.peer_url == peer_url) {
            return Err(ConfigError::DuplicatePeerUrl {
                url: peer_url,
                first: first_of(first),
                second,
            });
        }
        let id = member_id(token, &peer_url);
        if let Some(first) = members.iter().find(|member| member.id == id) {
            return Err(ConfigError::DuplicateId {
                token: token.clone(),
                first: first_of(first),
                second,
            });
        }
        members.push(Member { id, name: second, peer_url });
    }
    members.sort_by_key(|member| member.id);
    Ok(members)
}

fn own_member(
    members: &[Member],
    name: &str,
    own_peer_url: &HttpUrl,
) -> Result<NodeId, ConfigError> {
    let Some(own) = members.iter().find(|member| member.name == name) else {
        let mut known: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        known.sort_unstable();
        return Err(ConfigError::NotAMember { name: name.into(), known: join(&known) });
    };
    if own.peer_url != *own_peer_url {
        return Err(ConfigError::OwnPeerUrlDiffers {
            name: name.into(),
            advertised: own_peer_url.clone(),
            listed: own.peer_url.clone(),
        });
    }
    Ok(own.id)
}

fn join<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}
