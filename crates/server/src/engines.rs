//! Where the stores of a node keep their data: an engine for each shard, under the data directory.
//!
//! What is in an engine can be had from the log or from other replicas. So one that is damaged is set aside, never
//! deleted, and an empty one takes its place; the node fetches what was in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quorate_core::GroupId;
use quorate_engine::{EngineError, EngineOptions, LsmEngine};
use tracing::{error, warn};

pub(crate) const DIRECTORY: &str = "engine";
const SET_ASIDE: &str = "corrupt-engine";

/// Why the engines could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EnginesError {
    /// The disk failed, or has no room.
    #[error(
        "{0}; check that the disk is healthy, has room, and that this user may write there, and start again"
    )]
    Engine(#[from] EngineError),
    /// A damaged engine could not be moved out of the way.
    #[error("could not move the damaged {from} to {to}: {source}; move it away by hand and start again", from = from.display(), to = to.display())]
    SetAside {
        /// What is damaged.
        from: PathBuf,
        /// Where it should go.
        to: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Opens each group's engine; an empty one where there is none, or none that can be used.
pub(crate) fn open(
    data_dir: &Path,
    groups: &[GroupId],
) -> Result<BTreeMap<GroupId, LsmEngine>, EnginesError> {
    groups.iter().map(|group| Ok((*group, open_one(data_dir, *group)?))).collect()
}

fn open_one(data_dir: &Path, group: GroupId) -> Result<LsmEngine, EnginesError> {
    let dir = data_dir.join(DIRECTORY).join(group.0.to_string());
    match LsmEngine::open(&dir, EngineOptions::default()) {
        Err(damage @ EngineError::Corrupt { .. }) => {
            let to = set_aside(data_dir, &dir)?;
            warn!(%damage, kept = %to.display(), "an engine is damaged; what was in it is fetched again");
            Ok(LsmEngine::open(&dir, EngineOptions::default())?)
        }
        outcome => Ok(outcome?),
    }
}

/// Moves a directory to the next free name for what is damaged.
fn set_aside(data_dir: &Path, from: &Path) -> Result<PathBuf, EnginesError> {
    let mut number = 1;
    let to = loop {
        let to = data_dir.join(format!("{SET_ASIDE}-{number}"));
        if !to.exists() {
            break to;
        }
        number += 1;
    };
    fs::rename(from, &to).map_err(|source| EnginesError::SetAside {
        from: from.to_owned(),
        to: to.clone(),
        source,
    })?;
    Ok(to)
}

/// Makes durable what is only in memory, so that the next start need not apply it again.
pub(crate) fn close(engines: impl Iterator<Item = (GroupId, LsmEngine)>) {
    for (group, engine) in engines {
        if let Err(failure) = engine.close() {
            // Nothing is lost: the log has it.
            error!(%group, %failure, "an engine could not be closed in good order");
        }
    }
}
