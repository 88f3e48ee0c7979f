//! `quorate serve`: one node, in the foreground.
//!
//! Open first: [`ServeArgs`], then [`foreign`] for what etcd has and this has not.

pub(crate) mod foreign;
mod logging;
#[cfg(test)]
mod page;
mod tls;

use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{ArgAction, Args};
use quorate_server::{Config, Settings};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::CliError;
use foreign::ForeignFlags;
use logging::LogArgs;
use tls::TlsArgs;

/// Run one node of a cluster
///
/// Flags are named as etcd's are; docs/FLAGS.md tells where they differ. Each can also be set by an environment variable
/// (QUORATE_ or ETCD_ and its name) or in a file; a flag wins over a variable, and a variable over the file.
#[derive(Debug, Args)]
#[command(after_help = "Example, the first of three nodes:\n  \
quorate serve --name n1 --data-dir n1 --listen-client-urls http://10.0.0.1:2379 \\\n    \
--listen-peer-urls http://10.0.0.1:2380 \\\n    \
--initial-cluster n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380")]
pub(crate) struct ServeArgs {
    /// A TOML file with the same names as keys
    #[arg(long, value_name = "FILE", env = "QUORATE_CONFIG")]
    config: Option<PathBuf>,

    /// A YAML file as etcd has it
    #[arg(long, value_name = "FILE", env = "QUORATE_CONFIG_FILE", conflicts_with = "config")]
    config_file: Option<PathBuf>,

    /// This node's name, one of those in --initial-cluster
    #[arg(long, env = "QUORATE_NAME", default_value_t = Settings::default().name)]
    name: String,

    /// Where everything is kept [default: NAME.quorate]
    #[arg(long, value_name = "DIR", env = "QUORATE_DATA_DIR")]
    data_dir: Option<PathBuf>,

    /// Where to listen for clients, by address
    #[arg(long, value_name = "URLS", value_delimiter = ',', env = "QUORATE_LISTEN_CLIENT_URLS")]
    #[arg(default_values_t = Settings::default().listen_client_urls)]
    listen_client_urls: Vec<String>,

    /// What clients are told to connect to [default: as --listen-client-urls]
    #[arg(long, value_name = "URLS", value_delimiter = ',', env = "QUORATE_ADVERTISE_CLIENT_URLS")]
    advertise_client_urls: Vec<String>,

    /// Where to listen for the other members, by address
    #[arg(long, value_name = "URLS", value_delimiter = ',', env = "QUORATE_LISTEN_PEER_URLS")]
    #[arg(default_values_t = Settings::default().listen_peer_urls)]
    listen_peer_urls: Vec<String>,

    /// Where the other members reach this node [default: as --listen-peer-urls]
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    #[arg(env = "QUORATE_INITIAL_ADVERTISE_PEER_URLS")]
    initial_advertise_peer_urls: Vec<String>,

    /// All members, this one included: NAME=URL,NAME=URL,… [default: this node alone]
    #[arg(long, value_name = "MEMBERS", value_delimiter = ',', env = "QUORATE_INITIAL_CLUSTER")]
    initial_cluster: Vec<String>,

    /// Tells clusters apart: the same on all members, another for each cluster
    #[arg(long, value_name = "TOKEN", env = "QUORATE_INITIAL_CLUSTER_TOKEN")]
    #[arg(default_value_t = Settings::default().initial_cluster_token)]
    initial_cluster_token: String,

    /// new: form a cluster with the other members; existing: join one
    #[arg(long, value_name = "STATE", env = "QUORATE_INITIAL_CLUSTER_STATE")]
    #[arg(default_value_t = Settings::default().initial_cluster_state)]
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(["new", "existing"]).map(String::from))]
    initial_cluster_state: String,

    /// How often a leader shows that it lives, in milliseconds
    #[arg(long, value_name = "MS", env = "QUORATE_HEARTBEAT_INTERVAL")]
    #[arg(default_value_t = Settings::default().heartbeat_interval_ms)]
    heartbeat_interval: u64,

    /// How long a follower waits for its leader, at least, in milliseconds; at least 5 heartbeats
    #[arg(long, value_name = "MS", env = "QUORATE_ELECTION_TIMEOUT")]
    #[arg(default_value_t = Settings::default().election_timeout_ms)]
    election_timeout: u64,

    /// The largest request a client may send
    #[arg(long, value_name = "BYTES", env = "QUORATE_MAX_REQUEST_BYTES")]
    #[arg(default_value_t = Settings::default().max_request_bytes)]
    max_request_bytes: u64,

    /// After how many writes the store is made durable, at the latest, and the log before it let go
    #[arg(long, value_name = "WRITES", env = "QUORATE_SNAPSHOT_COUNT")]
    #[arg(default_value_t = Settings::default().snapshot_count)]
    snapshot_count: u64,

    /// How large the store may grow on the disk until only what makes room is taken; 0: as large as the disk
    #[arg(long, value_name = "BYTES", env = "QUORATE_QUOTA_BACKEND_BYTES")]
    #[arg(default_value_t = Settings::default().quota_backend_bytes)]
    quota_backend_bytes: u64,

    /// Where to be asked for metrics and health, and for nothing else, by address
    #[arg(long, value_name = "URLS", value_delimiter = ',', env = "QUORATE_LISTEN_METRICS_URLS")]
    listen_metrics_urls: Vec<String>,

    /// How many operations a block of a transaction may have
    #[arg(long, value_name = "N", env = "QUORATE_MAX_TXN_OPS")]
    #[arg(default_value_t = Settings::default().max_txn_ops)]
    max_txn_ops: usize,

    /// How many calls one connection may have under way
    #[arg(long, value_name = "N", env = "QUORATE_MAX_CONCURRENT_STREAMS")]
    #[arg(default_value_t = Settings::default().max_concurrent_streams)]
    max_concurrent_streams: u32,

    /// How often a silent client is asked whether it is still there; 0 for never
    #[arg(long, value_name = "TIME", env = "QUORATE_GRPC_KEEPALIVE_INTERVAL")]
    #[arg(default_value_t = Settings::default().grpc_keepalive_interval)]
    grpc_keepalive_interval: String,

    /// How long it may take to answer that until its connection is closed
    #[arg(long, value_name = "TIME", env = "QUORATE_GRPC_KEEPALIVE_TIMEOUT")]
    #[arg(default_value_t = Settings::default().grpc_keepalive_timeout)]
    grpc_keepalive_timeout: String,

    /// How often a watcher that asks for it is told how far the store is
    #[arg(long, value_name = "TIME", env = "QUORATE_WATCH_PROGRESS_NOTIFY_INTERVAL")]
    #[arg(alias = "experimental-watch-progress-notify-interval")]
    #[arg(default_value_t = Settings::default().watch_progress_notify_interval)]
    watch_progress_notify_interval: String,

    /// What --auto-compaction-retention counts: periodic (time) or revision
    #[arg(long, value_name = "MODE", env = "QUORATE_AUTO_COMPACTION_MODE")]
    #[arg(default_value_t = Settings::default().auto_compaction_mode)]
    auto_compaction_mode: String,

    /// How much history is kept: hours, a time such as 30m, or so many revisions; 0: all of it
    #[arg(long, value_name = "HISTORY", env = "QUORATE_AUTO_COMPACTION_RETENTION")]
    #[arg(default_value_t = Settings::default().auto_compaction_retention)]
    auto_compaction_retention: String,

    /// How often the leader compares the members' data; 0: never
    ///
    /// Each member reads all of its data for that, in the background. One whose data is not that of the majority gets the
    /// alarm CORRUPT, and nothing is changed until it is cleared. etcd does so only when it is told to; but what nobody
    /// looks for, nobody finds.
    #[arg(long, value_name = "TIME", env = "QUORATE_CORRUPT_CHECK_TIME")]
    #[arg(alias = "experimental-corrupt-check-time")]
    #[arg(default_value_t = Settings::default().corrupt_check_time)]
    corrupt_check_time: String,

    /// How users prove who they are: simple, or jwt and its options
    #[arg(long, value_name = "TYPE", env = "QUORATE_AUTH_TOKEN")]
    #[arg(default_value_t = Settings::default().auth_token)]
    auth_token: String,

    /// For how long such a proof holds, in seconds
    #[arg(long, value_name = "SECONDS", env = "QUORATE_AUTH_TOKEN_TTL")]
    #[arg(default_value_t = Settings::default().auth_token_ttl)]
    auth_token_ttl: u64,

    /// How much work it is to check a password, 4 to 31
    #[arg(long, value_name = "COST", env = "QUORATE_BCRYPT_COST")]
    #[arg(default_value_t = Settings::default().bcrypt_cost)]
    bcrypt_cost: u32,

    /// Log who asked for each change, and what became of it
    #[arg(long, env = "QUORATE_AUDIT", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(default_value_t = false, value_name = "BOOL")]
    audit: bool,

    #[command(flatten)]
    tls: TlsArgs,

    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    foreign: ForeignFlags,

    /// Stop when the standard input ends: how the nodes of `quorate up` end with it, however it ends
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

impl ServeArgs {
    /// What was said about the node, still as text.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            name: self.name.clone(),
            data_dir: self.data_dir.clone(),
            listen_client_urls: self.listen_client_urls.clone(),
            advertise_client_urls: self.advertise_client_urls.clone(),
            listen_peer_urls: self.listen_peer_urls.clone(),
            initial_advertise_peer_urls: self.initial_advertise_peer_urls.clone(),
            initial_cluster: self.initial_cluster.clone(),
            initial_cluster_token: self.initial_cluster_token.clone(),
            initial_cluster_state: self.initial_cluster_state.clone(),
            heartbeat_interval_ms: self.heartbeat_interval,
            election_timeout_ms: self.election_timeout,
            max_request_bytes: self.max_request_bytes,
            snapshot_count: self.snapshot_count,
            quota_backend_bytes: self.quota_backend_bytes,
            client_tls: self.tls.client(),
            peer_tls: self.tls.peer(),
            tls_min_version: self.tls.tls_min_version.clone(),
            tls_max_version: self.tls.tls_max_version.clone(),
            self_signed_cert_validity: self.tls.self_signed_cert_validity,
            listen_metrics_urls: self.listen_metrics_urls.clone(),
            max_txn_ops: self.max_txn_ops,
            max_concurrent_streams: self.max_concurrent_streams,
            grpc_keepalive_interval: self.grpc_keepalive_interval.clone(),
            grpc_keepalive_timeout: self.grpc_keepalive_timeout.clone(),
            watch_progress_notify_interval: self.watch_progress_notify_interval.clone(),
            auto_compaction_mode: self.auto_compaction_mode.clone(),
            auto_compaction_retention: self.auto_compaction_retention.clone(),
            corrupt_check_time: self.corrupt_check_time.clone(),
            auth_token: self.auth_token.clone(),
            auth_token_ttl: self.auth_token_ttl,
            bcrypt_cost: self.bcrypt_cost,
            audit: self.audit,
        }
    }
}

/// Runs a node until it stops.
pub(crate) fn run(args: ServeArgs) -> Result<(), CliError> {
    let mut config = Config::from_settings(args.settings())?;
    args.log.start()?;
    config.warnings.extend(args.foreign.warnings);
    // One thread: what a node does for a request is less than handing it to another thread would cost.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let outcome = runtime.block_on(async {
        let told_to_stop = told_to_stop(args.exit_with_stdin).map_err(CliError::Runtime)?;
        quorate_server::serve(config, told_to_stop).await.map_err(CliError::from)
    });
    // Whatever is still running holds nothing that must be kept: what was acknowledged is on the disk.
    runtime.shutdown_background();
    outcome
}

/// Ends when the process is asked to stop: by Ctrl-C, by SIGTERM, or by the end of its standard input.
fn told_to_stop(exit_with_stdin: bool) -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (parent_lives, parent_ended) = tokio::sync::oneshot::channel::<()>();
    if exit_with_stdin {
        // A thread of its own, as a read of the standard input cannot be cancelled.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            drop(parent_lives);
        });
    } else {
        // Nothing watches the standard input, so its end must never be reported.
        std::mem::forget(parent_lives);
    }
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("interrupted"),
            _ = terminate.recv() => tracing::info!("told to stop"),
            _ = parent_ended => tracing::info!("the standard input ended, and so does this node"),
        }
    })
}
