//! `quorate snapshot restore`: the data directory of one node of a new cluster, from a backup.

use std::path::PathBuf;

use clap::Args;
use quorate_server::config::Beginning;
use quorate_server::restore::Restored;
use quorate_server::{Config, Settings};
use serde_json::json;

use super::file::BackupFile;
use crate::error::CliError;
use crate::print;

/// Make the data directory of one node of a new cluster from a backup
///
/// Run it once for each node, with the same file, and flags that differ in --name, --data-dir and
/// --initial-advertise-peer-urls only; then start the nodes as usual. No node runs meanwhile, and none is asked. The
/// cluster has an id of its own, so that its nodes and those of the old one never take each other for their fellows.
#[derive(Debug, Args)]
#[command(after_help = "Example, the first of three nodes:\n  \
quorate snapshot restore backup --name n1 --data-dir n1 --initial-cluster-token after-the-fire \\\n    \
--initial-advertise-peer-urls http://10.0.0.1:2380 \\\n    \
--initial-cluster n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380\n\n\
Only files of `quorate snapshot save` (or of etcdctl, saved from a quorate) are read, not etcd's own.")]
pub(super) struct RestoreArgs {
    /// The backup
    file: PathBuf,

    /// This node's name, one of those in --initial-cluster
    #[arg(long, default_value_t = Settings::default().name)]
    name: String,

    /// The directory to make, which must be empty or missing [default: NAME.quorate]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// All members of the new cluster, this one included: NAME=URL,NAME=URL,… [default: this node alone]
    #[arg(long, value_name = "MEMBERS", value_delimiter = ',')]
    initial_cluster: Vec<String>,

    /// Tells clusters apart: the same on all members, another for each cluster
    #[arg(long, value_name = "TOKEN")]
    #[arg(default_value_t = Settings::default().initial_cluster_token)]
    initial_cluster_token: String,

    /// Where the other members will reach this node
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    #[arg(default_values_t = Settings::default().listen_peer_urls)]
    initial_advertise_peer_urls: Vec<String>,

    /// Raise the revision by so many, so that none that the old cluster may have reached since is used again
    #[arg(long, value_name = "N", requires = "mark_compacted")]
    bump_revision: Option<u64>,

    /// Have everything before the raised revision count as compacted; goes with --bump-revision
    #[arg(long, requires = "bump_revision")]
    mark_compacted: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `quorate snapshot restore`
pub(super) fn run(args: RestoreArgs) -> Result<(), CliError> {
    let config = Config::from_settings(Settings {
        name: args.name,
        data_dir: args.data_dir,
        initial_cluster: args.initial_cluster,
        initial_cluster_token: args.initial_cluster_token,
        initial_advertise_peer_urls: args.initial_advertise_peer_urls,
        ..Settings::default()
    })?;
    let backup = BackupFile::check(&args.file)?;
    let chunks = backup.chunks().map_err(|error| CliError::File {
        action: "read",
        path: args.file.clone(),
        error,
    })?;
    let beginning = Beginning { backup: backup.digest, raised_by: args.bump_revision };
    let Restored { config, info } = quorate_server::restore::restore(config, &beginning, chunks)?;
    let (cluster, node) = (config.cluster, config.node.0);
    let data_dir = config.data_dir.display();
    if args.json {
        let restored = json!({
            "data_dir": data_dir.to_string(),
            "cluster_id": cluster.0,
            "member_id": node,
            "revision": info.revision.0,
            "compact_revision": info.compact_revision.0,
            "totalKey": info.live_keys,
        });
        return print(&format!("{restored}\n"));
    }
    let (name, revision, keys) = (&config.name, info.revision.0, info.live_keys);
    print(&format!(
        "{data_dir} is now {name}, node {node:x} of the new cluster {cluster}; revision {revision}, {keys} keys\n"
    ))
}
