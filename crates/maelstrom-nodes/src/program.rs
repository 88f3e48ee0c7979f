//! A node as a program: lines in, lines out, a real clock, and a journal on the disk if there is a place for it.
//!
//! One turn takes all lines that have come, fires the timers that are due, makes durable what was written, once, and then says
//! what may be said. The journal is the log of `quorate_storage`, in a directory that has the node's name. Without a directory
//! a node keeps its records in memory, and must not be killed: it would forget what it has promised.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use quorate_maelstrom::message::{Message, type_of};
use quorate_storage::{DiskVfs, Log, LogError, LogId, LogOptions};
use thiserror::Error;

use crate::cast::Show;
use crate::player::{Node, StrangeJournal};

/// The journals of all nodes are logs of one id: their directories tell them apart.
const LOG_ID: LogId = LogId(0x6d61_656c_7374_726f_6d20_6e6f_6465);

/// How long a file of the journal is.
const SEGMENT_BYTES: u64 = 8 << 20;

/// Why a node ends before its input does.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// Its name cannot be that of a directory.
    #[error("the node_id {0:?} cannot be the name of a directory: letters, digits, - and _ can")]
    Name(String),
    /// Its journal fails.
    #[error("the journal in {}: {error}", path.display())]
    Journal {
        /// Its directory.
        path: PathBuf,
        /// What is wrong.
        error: LogError,
    },
    /// Its journal was written by another protocol.
    #[error("{0}")]
    Strange(#[from] StrangeJournal),
    /// Nobody reads what it says.
    #[error("cannot write to the standard output: {0}")]
    Output(io::Error),
    /// The system gives no thread to read with.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Where records go.
enum Journal {
    Memory,
    Disk { path: PathBuf, log: Box<Log<DiskVfs>> },
}

/// A node that knows its name, and where its records go.
type Playing = (Box<dyn Node>, Journal);

impl Journal {
    /// Opens the journal of the node of that name, and reads what it holds.
    fn open(data_dir: Option<&Path>, name: &str) -> Result<(Self, Vec<Bytes>), ProgramError> {
        let Some(data_dir) = data_dir else { return Ok((Journal::Memory, Vec::new())) };
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(fits) {
            return Err(ProgramError::Name(name.to_owned()));
        }
        let path = data_dir.join(name);
        let mut options = LogOptions::new(LOG_ID);
        options.segment_bytes = SEGMENT_BYTES;
        options.free_segments_max = 0;
        let mut frames = Vec::new();
        match Log::open(DiskVfs, &path, options, |_, frame| frames.push(frame)) {
            Ok((log, _)) => Ok((Journal::Disk { path, log: Box::new(log) }, frames)),
            Err(error) => Err(ProgramError::Journal { path, error }),
        }
    }

    /// Returns once all frames are durable.
    fn write(&mut self, frames: &[Vec<u8>]) -> Result<(), ProgramError> {
        let Journal::Disk { path, log } = self else { return Ok(()) };
        let mut written = || {
            for frame in frames {
                log.append(frame)?;
            }
            log.sync().map(drop)
        };
        written().map_err(|error| ProgramError::Journal { path: path.clone(), error })
    }
}

/// Plays a node until its input ends. `seed` is where its chances come from, and should be new each time; `complain` is told of
/// lines that are no messages, which are passed over.
pub fn play(
    show: &Show,
    seed: u64,
    data_dir: Option<&Path>,
    input: impl BufRead + Send + 'static,
    output: &mut impl Write,
    mut complain: impl FnMut(&str),
) -> Result<(), ProgramError> {
    let began = Instant::now();
    let lines = read_lines(input)?;
    let mut playing: Option<Playing> = None;
    loop {
        let wait = playing.as_ref().and_then(|(node, _)| node.due());
        let mut next = match wait {
            Some(due) => match lines.recv_timeout(due.saturating_sub(began.elapsed())) {
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                line => line.ok(),
            },
            None => match lines.recv() {
                Err(_) => return Ok(()),
                line => line.ok(),
            },
        };
        while let Some(line) = next {
            match Message::parse(&line) {
                Err(why) => complain(&format!("passed over a line that is no message: {why}")),
                Ok(message) => {
                    if playing.is_none() {
                        playing = open(show, seed, data_dir, &message)?;
                    }
                    if let Some((node, _)) = &mut playing {
                        node.hear(began.elapsed(), &message)?;
                    }
                }
            }
            // The end of the input is found when the batch is done.
            next = lines.try_recv().ok();
        }
        let Some((node, journal)) = &mut playing else { continue };
        node.pass(began.elapsed());
        loop {
            let frames = node.take_frames();
            if frames.is_empty() {
                break;
            }
            journal.write(&frames)?;
            node.synced(began.elapsed(), frames.len());
        }
        say(output, &node.take_said()).map_err(ProgramError::Output)?;
    }
}

/// The node that an `init` makes of this program; none as long as there is no other message.
fn open(
    show: &Show,
    seed: u64,
    data_dir: Option<&Path>,
    message: &Message,
) -> Result<Option<Playing>, ProgramError> {
    let name = message.body.get("node_id").and_then(|name| name.as_str());
    let Some(name) = name.filter(|_| type_of(&message.body) == "init") else { return Ok(None) };
    let (journal, frames) = Journal::open(data_dir, name)?;
    Ok(Some((show.node(frames, seed), journal)))
}

fn say(output: &mut impl Write, messages: &[Message]) -> io::Result<()> {
    for message in messages {
        writeln!(output, "{}", message.to_line())?;
    }
    output.flush()
}

/// Reads on a thread of its own, so that timers fire while nobody speaks.
fn read_lines(input: impl BufRead + Send + 'static) -> Result<Receiver<String>, ProgramError> {
    let (hand_on, lines) = channel();
    let read = move || {
        for line in input.lines().map_while(Result::ok) {
            if hand_on.send(line).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().spawn(read).map_err(ProgramError::Thread)?;
    Ok(lines)
}
