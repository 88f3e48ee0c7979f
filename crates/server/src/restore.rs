//! A data directory made of a backup: that of one node of a new cluster, which begins with what an old one held.
//!
//! Nothing but the directory is touched, and no other node is asked. The engine comes first, then the node's identity;
//! until that is there, the directory is refused by everything but another restore ([`quorate_storage::data_dir`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate_engine::{EngineError, EngineOptions, LsmEngine};
use quorate_kv::node::DEFAULT_GROUP;
use quorate_kv::restore::{Restore, RestoreError as StoreError};
use quorate_kv::store::snapshot::{SnapshotError, SnapshotInfo};
use quorate_storage::data_dir::{DataDirError, Identity, Origin, Restoring};
use quorate_storage::vfs::DiskVfs;
use thiserror::Error;

use crate::config::{Beginning, Config, ConfigError};
use crate::recovery::draw_log_id;
use crate::{engines, place};

/// Why nothing was restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The new cluster makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The backup could not be read.
    #[error("cannot read the backup: {0}")]
    Read(#[from] io::Error),
    /// The backup is not what it should be, or does not go in.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was restored could not be made durable.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What an earlier attempt has left could not be removed.
    #[error("cannot remove {}, which an earlier attempt has left: {source}", path.display())]
    Remove {
        /// What it has left.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The node, and the cluster that it is of from now on.
    pub config: Config,
    /// What is in its store.
    pub info: SnapshotInfo,
}

/// Makes the data directory of one node. `config` says which, and who the others are; its ids are not those of the new
/// cluster, which depend on the backup as well. `chunks` are those of the backup.
///
/// # Errors
/// The directory then still holds nothing that a node would start with.
pub fn restore(
    config: Config,
    beginning: &Beginning,
    chunks: impl Iterator<Item = io::Result<Bytes>>,
) -> Result<Restored, RestoreError> {
    let config = beginning.of(config)?;
    let identity =
        Identity { cluster_id: config.cluster.0, node_id: config.node.0, origin: Origin::Restored };
    let vfs = DiskVfs;
    let restoring = Restoring::begin(&vfs, &config.data_dir, identity, draw_log_id())?;
    let dir = restoring.path().join(engines::DIRECTORY);
    clear(&dir)?;
    let engine = LsmEngine::open(dir.join(DEFAULT_GROUP.0.to_string()), EngineOptions::default())?;
    let (info, engine) = take_in(engine, &config, beginning, chunks)?;
    engine.close()?;
    for made in [&dir, restoring.path()] {
        fs::File::open(made)?.sync_all()?;
    }
    restoring.finish(&vfs)?;
    Ok(Restored { config, info })
}

fn take_in(
    engine: LsmEngine,
    config: &Config,
    beginning: &Beginning,
    mut chunks: impl Iterator<Item = io::Result<Bytes>>,
) -> Result<(SnapshotInfo, LsmEngine), RestoreError> {
    let mut restore = Restore::begin(engine)?;
    let mut taken = 0;
    while !restore.is_whole() {
        let chunk = chunks.next().transpose()?;
        let missing = SnapshotError::Truncated { expected: taken };
        restore.add(&chunk.ok_or(missing).map_err(StoreError::from)?)?;
        taken += 1;
    }
    Ok(restore.finish(place::founders(config), beginning.raised_by)?)
}

/// Removes what an earlier attempt has left.
fn clear(path: &Path) -> Result<(), RestoreError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RestoreError::Remove { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
