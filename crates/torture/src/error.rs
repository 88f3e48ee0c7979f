//! Why an ordeal could not be carried out, or what it brought to light.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use thiserror::Error;

use crate::cluster::NodeIndex;

/// Why an ordeal failed: because it could not be carried out, or because the database did not stand it.
#[derive(Debug, Error)]
pub enum TortureError {
    /// A watcher was told of something else than what happened.
    #[error("{0}")]
    Watch(String),
    /// No file could be made or read.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// In the infinitive.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Too many ports are taken.
    #[error(
        "found no free ports on loopback between {from} and {to}; see what listens there, and stop it"
    )]
    NoPorts {
        /// The first that was tried.
        from: u16,
        /// The last.
        to: u16,
    },
    /// A node is to be signalled that has no process.
    #[error("{node} is not running; start it before it is {what}")]
    NotRunning {
        /// Which.
        node: NodeIndex,
        /// What was to be done, as a participle.
        what: &'static str,
    },
    /// A command failed that was expected to be carried out.
    #[error("{command} failed: {said}")]
    Failed {
        /// Its command line.
        command: String,
        /// What it said.
        said: String,
    },
    /// A node ended while it was expected to run.
    #[error("{node} ended ({status}) while it was expected to run; its log ends with\n{log}")]
    Ended {
        /// Which.
        node: NodeIndex,
        /// How.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// A node does not end.
    #[error("{node} was told to end and still runs after {within:?}; its log ends with\n{log}")]
    StillRuns {
        /// Which.
        node: NodeIndex,
        /// For how long it was waited.
        within: Duration,
        /// The last lines of its log.
        log: String,
    },
    /// A node that was told to stop did not stop cleanly.
    #[error("{node} was told to stop and ended with {status}; its log ends with\n{log}")]
    UncleanEnd {
        /// Which.
        node: NodeIndex,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// A node panicked.
    #[error("{node} panicked:\n{lines}")]
    Panicked {
        /// Which.
        node: NodeIndex,
        /// What its log says of it.
        lines: String,
    },
    /// Something that was to be seen was not.
    #[error("{what} was not seen within {within:?}; last: {last}")]
    NotSeen {
        /// What.
        what: String,
        /// For how long it was waited.
        within: Duration,
        /// What was seen instead.
        last: String,
    },
    /// A program that was to end by itself runs on.
    #[error("`{command}` was expected to end by itself and still ran after {within:?}")]
    RunsOn {
        /// The command line.
        command: String,
        /// For how long it was waited.
        within: Duration,
    },
    /// A client could not be made.
    #[error("no client for {endpoints}: {source}")]
    Client {
        /// Of which nodes.
        endpoints: String,
        /// The client's reason.
        source: etcd_client::Error,
    },
    /// Two replicas hold different things at one revision.
    #[error("{first} and {other} differ at revision {revision}: {difference}")]
    ReplicasDiffer {
        /// One of the nodes, by its URL.
        first: String,
        /// The other.
        other: String,
        /// At which revision both were read.
        revision: i64,
        /// The first key in which they differ.
        difference: String,
    },
    /// The answers contradict each other, or what is in the store afterwards.
    #[error("{count} contradictions among {operations} operations, the first of them:\n{first}")]
    Contradictions {
        /// How many were found.
        count: usize,
        /// How many operations were looked at.
        operations: usize,
        /// The first few, a line each.
        first: String,
    },
    /// The history is not linearizable.
    #[error("{0}")]
    NotLinearizable(String),
    /// The checker gave up.
    #[error(
        "whether {operations} operations are linearizable was not decided within {steps} steps; record fewer"
    )]
    Undecided {
        /// How many operations.
        operations: usize,
        /// How many steps were tried.
        steps: u64,
    },
}
