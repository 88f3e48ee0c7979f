//! `quorate snapshot`: a backup of the store in one file, and a look at one.
//!
//! The file is what the node streams: the store's chunks, zeros up to a multiple of 512 bytes, and the SHA-256 of all
//! that. A file is written under another name, checked against its digest, made durable, and only then given its own.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use quorate_engine::MemoryEngine;
use quorate_kv::store::snapshot::{CHUNK_HEAD_BYTES, SnapshotInfo, SnapshotWriter, chunk_bytes};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::endpoints::EndpointArgs;
use crate::error::CliError;
use crate::{print, waiting_runtime};

/// The digest at the end of a file.
const DIGEST_BYTES: usize = 32;
/// The first chunk says what the snapshot is of, and is short; a file whose first chunk is longer is none.
const FIRST_CHUNK_BYTES_MAX: u64 = 1 << 20;
/// How often a terminal is told how far it is.
const SAY_EVERY: Duration = Duration::from_millis(200);

/// Save a backup of all data, or look at one
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
            let found = Found::in_file(&args.file)?;
            print(&found.shown(&args.file, args.json))
        }
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
    let found = Found::in_file(part)?;
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

/// What a whole and undamaged file holds.
struct Found {
    info: SnapshotInfo,
    file_bytes: u64,
    digest: String,
}

impl Found {
    fn in_file(path: &Path) -> Result<Self, CliError> {
        let failed = |error| CliError::File { action: "read", path: path.into(), error };
        let refused = |why: &str| {
            let path = path.display();
            CliError::NotDone(format!("{path}: {why}; save it again, or use another copy"))
        };
        let mut file = File::open(path).map_err(failed)?;
        let file_bytes = file.metadata().map_err(failed)?.len();
        let Some(mut left) = file_bytes.checked_sub(DIGEST_BYTES as u64).filter(|left| *left > 0)
        else {
            return Err(refused("it is too short for a snapshot"));
        };
        let mut digest = Sha256::new();
        let mut head = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let take = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.read_exact(&mut buffer[..take]).map_err(failed)?;
            digest.update(&buffer[..take]);
            let room = (FIRST_CHUNK_BYTES_MAX as usize).saturating_sub(head.len());
            head.extend_from_slice(&buffer[..take.min(room)]);
            left -= take as u64;
        }
        let mut expected = [0; DIGEST_BYTES];
        file.read_exact(&mut expected).map_err(failed)?;
        let digest = digest.finalize();
        if digest[..] != expected {
            return Err(refused("it is damaged: its checksum does not match"));
        }
        let info = first_chunk(&head).map_err(|error| refused(&error))?;
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Found { info, file_bytes, digest })
    }

    fn shown(&self, path: &Path, as_json: bool) -> String {
        let Found { info, file_bytes, digest } = self;
        let (revision, keys) = (info.revision.0, info.live_keys);
        if as_json {
            let found = json!({
                "file": path.display().to_string(),
                "revision": revision,
                "compact_revision": info.compact_revision.0,
                "keys": keys,
                "data_bytes": info.bytes,
                "file_bytes": file_bytes,
                "sha256": digest,
            });
            return format!("{found}\n");
        }
        format!(
            "{}: whole and undamaged, {file_bytes} bytes; revision {revision}, {keys} keys\nsha256 {digest}\n",
            path.display()
        )
    }
}

/// What the first chunk says that the snapshot is of.
fn first_chunk(head: &[u8]) -> Result<SnapshotInfo, String> {
    let start = head.first_chunk::<CHUNK_HEAD_BYTES>().ok_or("it is too short for a snapshot")?;
    let bytes = chunk_bytes(0, start).map_err(|error| error.to_string())?;
    let bytes = usize::try_from(bytes).map_err(|_| "its first chunk is too long")?;
    let chunk = head.get(..bytes).ok_or("its first chunk is too long")?;
    let mut engine = MemoryEngine::default();
    let begun = SnapshotWriter::begin(&mut engine);
    let mut writer = begun.map_err(|error| error.to_string())?;
    writer.add(chunk).map_err(|error| error.to_string())?;
    writer.info().cloned().ok_or_else(|| "its first chunk says nothing".into())
}
