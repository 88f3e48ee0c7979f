//! `quorate snapshot`: a backup of the store in one file, a look at one, and a new cluster that begins with one.
//!
//! A file is written under another name, checked against its digest, made durable, and only then given its own.

mod file;
mod restore;

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use crate::endpoints::EndpointArgs;
use crate::error::CliError;
use crate::{print, waiting_runtime};
use file::BackupFile;
use restore::RestoreArgs;

/// How often a terminal is told how far it is.
const SAY_EVERY: Duration = Duration::from_millis(200);

/// Save a backup of all data, look at one, or begin a new cluster with one
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[command(subcommand)]
    command: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
enum SnapshotCommand {
    /// Write all data of the cluster, as one node has it now, to a file
    Save(SaveArgs),
    /// Check a file, and say what it holds
    Status(StatusArgs),
    Restore(RestoreArgs),
}

#[derive(Debug, Args)]
struct SaveArgs {
    /// Where to write it; a file that is there is replaced once the new one is whole
    file: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoints: EndpointArgs,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// The file
    file: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `quorate snapshot`
pub(crate) fn run(args: SnapshotArgs) -> Result<(), CliError> {
    match args.command {
        SnapshotCommand::Save(args) => waiting_runtime()?.block_on(save(args)),
        SnapshotCommand::Status(args) => {
            let found = BackupFile::check(&args.file)?;
            print(&found.shown(&args.file, args.json))
        }
        SnapshotCommand::Restore(args) => restore::run(args),
    }
}

async fn save(args: SaveArgs) -> Result<(), CliError> {
    let mut part = args.file.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let outcome = receive(&args, &part).await;
    if outcome.is_err() {
        // What is there of it is of no use; if it cannot be removed, it says by its name what it is.
        let _ = std::fs::remove_file(&part);
    }
    outcome
}

async fn receive(args: &SaveArgs, part: &Path) -> Result<(), CliError> {
    let mut snapshot = args.endpoints.client()?.snapshot().await?;
    let failed = |action| move |error| CliError::File { action, path: part.into(), error };
    let mut file = File::create(part).map_err(failed("create"))?;
    let mut progress = Progress::new();
    while let Some(piece) = snapshot.next().await? {
        file.write_all(&piece.blob).map_err(failed("write"))?;
        progress.say(piece.blob.len() as u64, piece.remaining_bytes);
    }
    progress.end();
    file.sync_all().map_err(failed("sync"))?;
    drop(file);
    let found = BackupFile::check(part)?;
    std::fs::rename(part, &args.file).map_err(failed("rename"))?;
    let dir =
        args.file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| CliError::File {
        action: "sync",
        path: dir.into(),
        error,
    })?;
    print(&found.shown(&args.file, args.json))
}

/// How far a backup is, for a terminal.
struct Progress {
    is_shown: bool,
    received: u64,
    said_at: Instant,
    has_said: bool,
}

impl Progress {
    fn new() -> Self {
        let is_shown = std::io::stderr().is_terminal();
        Progress { is_shown, received: 0, said_at: Instant::now(), has_said: false }
    }

    fn say(&mut self, bytes: u64, remaining: u64) {
        self.received += bytes;
        if self.is_shown && self.said_at.elapsed() >= SAY_EVERY {
            self.said_at = Instant::now();
            self.has_said = true;
            let share = 100 * self.received / (self.received + remaining).max(1);
            eprint!("\r{} MiB, about {share} %   ", self.received >> 20);
        }
    }

    fn end(&self) {
        if self.has_said {
            eprint!("\r{:<32}\r", "");
        }
    }
}
