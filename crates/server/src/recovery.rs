//! What a node makes of what it finds on its disk.
//!
//! A log that is damaged was durable once, and may have held votes and acknowledgements that others count on. It is set
//! aside, never deleted, and the node starts as one that has lost its memory: it counts for nothing until the others,
//! who have what it had, have taken it in again. Where there are no others, the log is left as it is, and the node
//! refuses to start: what is left of its data is there and nowhere else.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use quorate_engine::LsmEngine;
use quorate_kv::node::{self, Durable, Node, membership_in};
use quorate_runtime::{DriverError, Metrics, Recovered};
use quorate_storage::data_dir::DataDir;
use quorate_storage::log::{LogId, LogOptions};
use quorate_storage::vfs::Vfs;
use tracing::{info, warn};

use crate::codec::NodeCodec;
use crate::engines;
use crate::node::ServerError;

/// Reads a node's log and opens its engines.
pub(crate) fn recover<V: Vfs + Clone>(
    data_dir: &mut DataDir<V>,
    vfs: &V,
    config: &node::Config,
    metrics: &Arc<Metrics>,
) -> Result<Recovered<Node<LsmEngine>, V>, ServerError> {
    let mut recovered = match open(data_dir, vfs, config, metrics) {
        Err(ServerError::Driver(DriverError::Log(damage)))
            if damage.is_damage() && !is_alone(data_dir, config)? =>
        {
            let aside = data_dir.set_aside(vfs, draw_log_id(), &damage.to_string())?;
            let kept = aside.map_or_else(String::new, |path| path.display().to_string());
            warn!(%damage, kept, "the log is set aside; this node asks the others to take it in again");
            open(data_dir, vfs, config, metrics)?
        }
        outcome => outcome?,
    };
    if data_dir.memory_lost().is_some() && !recovered.durable.lose_memory(&config.groups) {
        // Its log has said so in its own words since.
        data_dir.regain_memory(vfs)?;
        info!("this node remembers that it lost its memory; the mark is taken away");
    }
    Ok(recovered)
}

fn open<V: Vfs + Clone>(
    data_dir: &DataDir<V>,
    vfs: &V,
    config: &node::Config,
    metrics: &Arc<Metrics>,
) -> Result<Recovered<Node<LsmEngine>, V>, ServerError> {
    let engines = engines::open(data_dir.path(), &config.groups)?;
    let options = LogOptions::new(data_dir.log_id());
    let base = Durable::new(engines);
    let log_dir = data_dir.log_dir();
    Ok(Recovered::open::<NodeCodec>(vfs.clone(), log_dir, options, base, metrics.clone())?)
}

/// Whether it is known that there is no other member, who could have what this one had.
fn is_alone<V: Vfs>(data_dir: &DataDir<V>, config: &node::Config) -> Result<bool, ServerError> {
    let me = config.raft.me;
    let engines = engines::open(data_dir.path(), &config.groups)?;
    Ok(engines.values().all(|engine| {
        let kept = membership_in(engine);
        // One that joined does not know the members it began with.
        let voters = kept.as_ref().unwrap_or(&config.raft.bootstrap).voters();
        !voters.is_empty() && voters.iter().all(|voter| *voter == me)
    }))
}

/// A number that no other log has. The system's hash seeds are random.
pub(crate) fn draw_log_id() -> LogId {
    let half = || u128::from(RandomState::new().hash_one(std::process::id()));
    LogId(half() << 64 | half())
}
