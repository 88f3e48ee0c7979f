//! One node: configuration, listeners, lifecycle.
//!
//! Open first: [`config`].

pub mod config;

pub use config::{Config, ConfigError, Settings};

use thiserror::Error;

/// Why a node stopped, or did not start.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The node behind the configuration is not part of this build.
    #[error("node {0} is configured, but this build has no database to run")]
    NoDatabase(String),
}

/// Runs one node until it is told to stop or cannot go on.
pub async fn serve(config: Config) -> Result<(), ServerError> {
    Err(ServerError::NoDatabase(config.name))
}
