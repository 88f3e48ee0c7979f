//! Why a configuration is none.

use thiserror::Error;

use super::{BadValue, HttpUrl, TlsFault, UrlFault};

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
    /// What cannot be meant about TLS.
    #[error(transparent)]
    Tls(#[from] TlsFault),
    /// What cannot be meant about something else.
    #[error(transparent)]
    BadValue(#[from] BadValue),
    /// A limit for requests that none or too many would pass.
    #[error("--max-request-bytes {value}: must be between 1 and 33554432 (32 MiB)")]
    MaxRequestBytes {
        /// As it was written.
        value: u64,
    },
}
