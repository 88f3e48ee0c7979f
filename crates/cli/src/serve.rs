//! `quorate serve`: one node, in the foreground.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use clap::builder::TypedValueParser;
use quorate_server::{Config, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::error::CliError;

/// Run one node of a cluster
///
/// Flags are named as etcd's are. Each can also be set by an environment variable (QUORATE_ and its name) or in the
/// file that --config names; a flag wins over a variable, and a variable over the file.
#[derive(Debug, Args)]
#[command(after_help = "Example, the first of three nodes:\n  \
quorate serve --name n1 --data-dir n1 --listen-client-urls http://10.0.0.1:2379 \\\n    \
--listen-peer-urls http://10.0.0.1:2380 \\\n    \
--initial-cluster n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380")]
pub(crate) struct ServeArgs {
    /// A TOML file with the same names as keys
    #[arg(long, value_name = "FILE", env = "QUORATE_CONFIG")]
    config: Option<PathBuf>,

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

    /// error, warn, info, debug or trace; also by module, as in info,quorate_server=debug
    #[arg(long, value_name = "LEVEL", env = "QUORATE_LOG_LEVEL", default_value = "info")]
    log_level: String,

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
        }
    }
}

/// Runs a node until it stops.
pub(crate) fn run(args: ServeArgs) -> Result<(), CliError> {
    let config = Config::from_settings(args.settings())?;
    start_log(&args.log_level)?;
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

fn start_log(level: &str) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        CliError::Misuse(format!(
            "--log-level {level}: {error}; write error, warn, info, debug or trace"
        ))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}
