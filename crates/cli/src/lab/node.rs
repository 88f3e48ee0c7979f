//! `quorate lab node`: one node that plays a protocol of the catalogue, as a program that speaks Maelstrom's protocol.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufReader};
use std::path::PathBuf;

use clap::Args;
use quorate_maelstrom::Workload;
use quorate_maelstrom_nodes::{Show, program, role};

use crate::error::CliError;

/// Be one node of a cluster that plays a protocol of the catalogue, for a harness that speaks Maelstrom's protocol
#[derive(Debug, Args)]
#[command(
    after_help = "Messages come in on the standard input and go out on the standard output, one JSON object a line \
(github.com/jepsen-io/maelstrom, doc/protocol.md). The harness starts one process a node and passes messages on.\n\n\
Protocols that serve every workload: raft, multi_paxos, viewstamped_replication, zab.\nProtocols that serve broadcast and \
g-set: reliable_broadcast, fifo_broadcast, causal_broadcast, total_order_broadcast, gossip.\nunique-ids: lamport_clock.\n\
Requests of the first four are entries of a replicated log, reads included. viewstamped_replication keeps no log on the \
disk, as in its paper: once more than f of 2f + 1 nodes are down or recovering, none answers again. It and zab need two nodes.\n\n\
Examples:\n  quorate lab maelstrom --bin quorate --workload lin-kv -- lab node raft --workload lin-kv\n  \
quorate lab maelstrom --bin quorate --workload broadcast --kill -- lab node gossip --workload broadcast --data-dir \"$(mktemp -d)\"\n\n\
The same without processes, as a function of the seed:\n  quorate lab maelstrom --protocol raft --workload lin-kv"
)]
pub(crate) struct NodeArgs {
    /// The protocol
    protocol: String,

    /// What will be asked of it
    #[arg(long, value_name = "NAME")]
    workload: Workload,

    /// Keep what must survive a crash in a directory of the node's name in here; without it, a node that is killed
    /// forgets what it has promised. A new directory for each run: what is in it is taken for this cluster's past
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
}

/// `quorate lab node`
pub(crate) fn run(args: &NodeArgs) -> Result<(), CliError> {
    let show = show(&args.protocol, args.workload)?;
    // The chances of a real node: nobody plays them again.
    let seed = RandomState::new().build_hasher().finish();
    let (input, mut output) = (BufReader::new(io::stdin()), io::stdout().lock());
    let complain = |what: &str| eprintln!("{what}");
    program::play(&show, seed, args.data_dir.as_deref(), input, &mut output, complain)
        .map_err(|error| CliError::NotDone(error.to_string()))
}

/// The protocol of that name under that workload.
pub(super) fn show(name: &str, workload: Workload) -> Result<Show, CliError> {
    let show = role(name).and_then(|role| role.show(workload));
    show.map_err(|error| CliError::Misuse(error.to_string()))
}
