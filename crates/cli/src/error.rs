//! Why a command was not done, in words for the person who asked.

use std::path::PathBuf;

use quorate_client::ClientError;
use quorate_server::restore::RestoreError;
use quorate_server::{ConfigError, ServerError};
use thiserror::Error;

/// Why a command was not done.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// It was asked for in a way that cannot be carried out.
    #[error("{0}")]
    Misuse(String),
    /// A node was configured wrongly.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file given by `--config` cannot be used.
    #[error("{}: {fault}", path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        fault: String,
    },
    /// A node stopped, or did not start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A backup was not restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A node did not do what it was asked.
    #[error("{error}{hint}", error = .0, hint = hint(.0))]
    Client(#[from] ClientError),
    /// What was asked for is not possible as things are.
    #[error("{0}")]
    NotDone(String),
    /// The local cluster cannot start or go on.
    #[error("{0}")]
    Up(String),
    /// A file or directory cannot be used.
    #[error("cannot {action} {}: {error}", path.display())]
    File {
        /// In the infinitive.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A benchmark that could not be measured.
    #[error("bench: {0}")]
    Bench(String),
    /// The trial found a rule that was broken. What there is to say of it was printed.
    #[error("simulate: {0}")]
    Simulate(String),
    /// The explorer found a promise that was broken. What there is to say of it was printed.
    #[error("explore: {0}")]
    Explore(String),
    /// A claim of a protocol was broken. What there is to say of it was printed.
    #[error("lab: {0}")]
    Lab(String),
    /// The system gave no threads or no event queue.
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
    /// The standard input cannot be read.
    #[error("cannot read the standard input: {0}")]
    Input(std::io::Error),
    /// The standard output cannot be written.
    #[error("cannot write the standard output: {0}")]
    Output(std::io::Error),
}

fn hint(error: &ClientError) -> &'static str {
    match error {
        ClientError::Unreachable { .. } | ClientError::AllFailed(_) => {
            "\nIs the cluster running, and are these its client ports? `quorate up` starts one here; \
             --endpoints names another."
        }
        _ => "",
    }
}

impl CliError {
    /// What the process ends with: 1 not done, 2 asked for wrongly.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CliError::Misuse(_)
            | CliError::Config(_)
            | CliError::ConfigFile { .. }
            | CliError::Restore(RestoreError::Config(_))
            | CliError::Client(ClientError::BadEndpoint { .. } | ClientError::NoEndpoints) => 2,
            _ => 1,
        }
    }
}
