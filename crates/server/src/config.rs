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
//! Omitted: TLS, several peer URLs a member. Each is refused by name.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use quorate_core::NodeId;
use thiserror::Error;

mod identity;
mod url;

#[cfg(test)]
mod tests;

pub use identity::{Beginning, cluster_id, member_id};
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
    pub listen_client: Vec<SocketAddr>,
    /// Where peers are listened for. At least one, none twice, and none that is for clients.
    pub listen_peer: Vec<SocketAddr>,
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
}

/// Why a node cannot start with what it was told. Nothing has been touched on the disk or the network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A URL that a node cannot use.
    #[error("--{flag} {value}: {fault}")]
    Url {
        /// Without its dashes.
        flag: &'static str,
        /// As it was written.
        value: String,
        /// What is wrong.
        fault: UrlFault,
    },
    /// A flag that needs a URL has none.
    #[error("--{flag} is empty; give at least one URL such as http://127.0.0.1:2379")]
    NoUrl {
        /// Without its dashes.
        flag: &'static str,
    },
    /// One address is listened on twice.
    #[error(
        "--{flag} {url}: the address is already listened on through --{other}; give each its own port"
    )]
    AddressTwice {
        /// Where the second one is.
        flag: &'static str,
        /// The second one.
        url: String,
        /// Where the first one is.
        other: &'static str,
    },
    /// A name that could not be written in `--initial-cluster`.
    #[error("--name {name:?}: a name must not be empty nor contain '=', ',' or white space")]
    BadName {
        /// As it was written.
        name: String,
    },
    /// A member that is not `NAME=URL`.
    #[error(
        "--initial-cluster {value}: write each member as NAME=URL, as in n1=http://127.0.0.1:2380"
    )]
    MalformedMember {
        /// As it was written.
        value: String,
    },
    /// Two members with one name.
    #[error(
        "--initial-cluster names {name} twice; each member has one name and one peer URL, so rename or remove one"
    )]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Two members with one peer URL.
    #[error(
        "--initial-cluster gives {url} to both {first} and {second}; each member needs a peer URL of its own"
    )]
    DuplicatePeerUrl {
        /// The URL.
        url: HttpUrl,
        /// A member that has it.
        first: String,
        /// Another that has it.
        second: String,
    },
    /// Two members whose ids are equal by chance.
    #[error(
        "--initial-cluster-token {token}: {first} and {second} happen to get the same id; choose another token"
    )]
    DuplicateId {
        /// The token.
        token: String,
        /// A member with the id.
        first: String,
        /// Another with the id.
        second: String,
    },
    /// This node is not a member.
    #[error(
        "--name {name}: no such member in --initial-cluster, which has {known}; give one of these names, or add NAME=URL there"
    )]
    NotAMember {
        /// This node's name.
        name: String,
        /// The members' names.
        known: String,
    },
    /// This node advertises another peer URL than its fellows know.
    #[error(
        "--initial-advertise-peer-urls {advertised}: --initial-cluster has {listed} for {name}; make the two the same"
    )]
    OwnPeerUrlDiffers {
        /// This node's name.
        name: String,
        /// What the flag says.
        advertised: HttpUrl,
        /// What the list of members says.
        listed: HttpUrl,
    },
    /// More than one peer URL of its own.
    #[error(
        "--initial-advertise-peer-urls {value}: a member has one peer URL; leave only the one that --initial-cluster has"
    )]
    SeveralPeerUrls {
        /// As it was written.
        value: String,
    },
    /// Neither `new` nor `existing`.
    #[error("--initial-cluster-state {value}: write 'new' or 'existing'")]
    UnknownClusterState {
        /// As it was written.
        value: String,
    },
    /// A heartbeat that never waits.
    #[error("--heartbeat-interval 0: give at least 1 (milliseconds)")]
    HeartbeatZero,
    /// An election timeout too close to the heartbeat.
    #[error(
        "--election-timeout {election_ms}: must be at least 5 times --heartbeat-interval ({heartbeat_ms} ms); \
         give {least_ms} or more, or a shorter heartbeat"
    )]
    ElectionTimeoutTooShort {
        /// In milliseconds.
        election_ms: u64,
        /// In milliseconds.
        heartbeat_ms: u64,
        /// The shortest that goes with this heartbeat, in milliseconds.
        least_ms: u64,
    },
    /// An election timeout beyond all use.
    #[error("--election-timeout {election_ms}: must not exceed 50000 (milliseconds)")]
    ElectionTimeoutTooLong {
        /// In milliseconds.
        election_ms: u64,
    },
    /// A store that would be made durable after nothing.
    #[error("--snapshot-count 0: give at least 1 (entries)")]
    SnapshotCountZero,
    /// A limit for requests that none or too many would pass.
    #[error("--max-request-bytes {value}: must be between 1 and 33554432 (32 MiB)")]
    MaxRequestBytes {
        /// As it was written.
        value: u64,
    },
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

        let client = parse_listeners("listen-client-urls", &settings.listen_client_urls, None)?;
        let peer = parse_listeners("listen-peer-urls", &settings.listen_peer_urls, Some(&client))?;
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

        let members = parse_members(&settings, own_peer_url)?;
        let node = own_member(&members, &settings.name, own_peer_url)?;
        Ok(Config {
            node,
            peer_url: own_peer_url.clone(),
            cluster_state,
            cluster: cluster_id(&settings.initial_cluster_token, &members),
            token: settings.initial_cluster_token,
            members,
            data_dir: settings
                .data_dir
                .unwrap_or_else(|| PathBuf::from(format!("{}.quorate", settings.name))),
            name: settings.name,
            listen_client: client,
            listen_peer: peer,
            advertise_client_urls,
            heartbeat_interval: Duration::from_millis(settings.heartbeat_interval_ms),
            election_timeout: Duration::from_millis(settings.election_timeout_ms),
            max_request_bytes,
            snapshot_count: settings.snapshot_count,
            quota_bytes: (settings.quota_backend_bytes > 0).then_some(settings.quota_backend_bytes),
        })
    }
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

/// The addresses to bind, none of which is already among `taken` (the clients' ones).
fn parse_listeners(
    flag: &'static str,
    urls: &[String],
    taken: Option<&[SocketAddr]>,
) -> Result<Vec<SocketAddr>, ConfigError> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for value in urls {
        let address = parse_url(flag, value)?.socket_addr().ok_or_else(|| ConfigError::Url {
            flag,
            value: value.clone(),
            fault: UrlFault::NotAnAddress,
        })?;
        let taken_by_clients = taken.is_some_and(|taken| taken.contains(&address));
        if taken_by_clients || addresses.contains(&address) {
            let other = if taken_by_clients { "listen-client-urls" } else { flag };
            return Err(ConfigError::AddressTwice { flag, url: value.clone(), other });
        }
        addresses.push(address);
    }
    if addresses.is_empty() { Err(ConfigError::NoUrl { flag }) } else { Ok(addresses) }
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
