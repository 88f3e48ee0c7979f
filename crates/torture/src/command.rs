//! One run of the binary that is expected to end by itself: a misuse, or a start that cannot succeed.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::TortureError;

/// How long such a run may take.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// The same command with another value for a flag that it has.
pub fn with_flag(command: &Command, flag: &str, value: impl AsRef<OsStr>) -> Command {
    let mut changed = Command::new(command.get_program());
    let mut is_value = false;
    for argument in command.get_args() {
        changed.arg(if is_value { value.as_ref() } else { argument });
        is_value = argument == flag;
    }
    for (name, _) in command.get_envs().filter(|(_, value)| value.is_none()) {
        changed.env_remove(name);
    }
    changed
}

/// Runs a command to its end. One that does not end is killed, and is an error.
pub async fn run_to_end(command: Command) -> Result<Finished, TortureError> {
    let program = command.get_program().to_owned();
    let line = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(ENDS_WITHIN, command.output())
        .await
        .map_err(|_| TortureError::RunsOn { command: line, within: ENDS_WITHIN })?
        .map_err(|source| TortureError::File { action: "run", path: program.into(), source })?;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
