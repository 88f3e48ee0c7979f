//! Nodes that are programs: one process each, lines over pipes, a real clock.
//!
//! Four threads serve a node: one writes to it, so that a node that doesn't read holds up nobody; one each reads what
//! it says and what it complains about; and the run's own thread decides. A process is killed when the run is over, and
//! before if the run wants that; what such a one said and nobody has heard yet is dropped, as a lost message would be.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::address::NodeIndex;
use crate::fault::StartError;
use crate::message::Message;
use crate::nodes::{Nodes, Said};

/// How many lines of a node's standard error are kept for reports.
const LAST_WORDS_MAX: usize = 20;

/// How long a node that has closed its output is waited for, to learn how it ended and what it had to say.
const END_WITHIN: Duration = Duration::from_secs(2);

/// A program and what it is called with.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file, or a name to look for.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where to keep what nodes write for people, and all messages.
    pub logs: Option<PathBuf>,
}

enum Heard {
    Line(String),
    Closed,
}

struct Process {
    /// Which of all that were ever started this is.
    start: u64,
    child: Child,
    to_write: Sender<String>,
    last_words: Arc<Mutex<VecDeque<String>>>,
    /// Disconnected once the standard error has been read to its end.
    complaints_end: Receiver<()>,
}

/// The nodes of a cluster, each a process.
pub struct Processes {
    program: Program,
    nodes: Vec<Process>,
    starts: u64,
    say: Sender<(NodeIndex, u64, Heard)>,
    heard: Receiver<(NodeIndex, u64, Heard)>,
    began: Instant,
    messages: Option<BufWriter<File>>,
}

impl Processes {
    /// Starts `count` processes of one program.
    pub fn start(program: &Program, count: u16) -> Result<Self, StartError> {
        let messages = match &program.logs {
            Some(directory) => {
                let failed = |error| StartError::Logs { path: directory.clone(), error };
                fs::create_dir_all(directory).map_err(failed)?;
                Some(BufWriter::new(create(&directory.join("messages.jsonl"))?))
            }
            None => None,
        };
        let (say, heard) = channel();
        let mut processes = Processes {
            program: program.clone(),
            nodes: Vec::new(),
            starts: 0,
            say,
            heard,
            began: Instant::now(),
            messages,
        };
        for node in NodeIndex::all(count) {
            if let Some(directory) = &program.logs {
                create(&directory.join(format!("{node}.log")))?;
            }
            // Those that are started already are killed if this one can't be.
            let process = processes.start_one(node)?;
            processes.nodes.push(process);
        }
        Ok(processes)
    }

    fn start_one(&mut self, node: NodeIndex) -> Result<Process, StartError> {
        self.starts += 1;
        Process::start(&self.program, node, self.starts, self.say.clone())
    }

    fn log(&mut self, line: &str) {
        if let Some(messages) = &mut self.messages {
            // A full disk shall not change what is found out about the program.
            let _ = writeln!(messages, "{line}");
        }
    }

    fn ended(&mut self, node: NodeIndex) -> Said {
        let process = &mut self.nodes[usize::from(node.0)];
        let deadline = Instant::now() + END_WITHIN;
        let how = loop {
            match process.child.try_wait() {
                Ok(Some(status)) => break status.to_string(),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Ok(None) => break "it has closed its standard output, and runs on".into(),
                Err(error) => break format!("its exit status cannot be read ({error})"),
            }
        };
        // So that its last words are complete.
        let _ = process.complaints_end.recv_timeout(END_WITHIN);
        Said::Ended(how)
    }
}

impl Process {
    fn start(
        program: &Program,
        node: NodeIndex,
        start: u64,
        say: Sender<(NodeIndex, u64, Heard)>,
    ) -> Result<Self, StartError> {
        let mut log = match &program.logs {
            Some(directory) => Some(append(&directory.join(format!("{node}.log")))?),
            None => None,
        };
        let mut child = Command::new(&program.path)
            .args(&program.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| StartError::Program { program: program.path.clone(), error })?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let (to_write, written) = channel::<String>();
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let (end_complaints, complaints_end) = channel::<()>();
        let process = Process { start, child, to_write, last_words, complaints_end };

        spawn(move || {
            for mut line in written {
                line.push('\n');
                // A node that doesn't read any more has ended, or will be found silent.
                if stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).is_err() {
                    return;
                }
            }
        })?;
        spawn(move || {
            each_line(stdout, |line| say.send((node, start, Heard::Line(line))).is_ok());
            let _ = say.send((node, start, Heard::Closed));
        })?;
        let words = Arc::clone(&process.last_words);
        spawn(move || {
            each_line(stderr, |line| {
                if let Some(log) = &mut log {
                    let _ = writeln!(log, "{line}");
                }
                let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
                if words.len() == LAST_WORDS_MAX {
                    words.pop_front();
                }
                words.push_back(line);
                true
            });
            drop(end_complaints);
        })?;
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nodes for Processes {
    fn now(&mut self) -> Duration {
        self.began.elapsed()
    }

    fn deliver(&mut self, node: NodeIndex, message: &Message) {
        let line = message.to_line();
        self.log(&line);
        let _ = self.nodes[usize::from(node.0)].to_write.send(line);
    }

    fn hear(&mut self, until: Duration) -> Option<(NodeIndex, Said)> {
        loop {
            // Nobody hangs up while we hold an end of it ourselves: an error is that nobody has spoken in time.
            let wait = until.saturating_sub(self.began.elapsed());
            let (node, start, heard) = self.heard.recv_timeout(wait).ok()?;
            if start != self.nodes[usize::from(node.0)].start {
                continue;
            }
            return Some(match heard {
                Heard::Line(line) => {
                    self.log(&line);
                    (node, Said::Line(line))
                }
                Heard::Closed => (node, self.ended(node)),
            });
        }
    }

    fn kill(&mut self, node: NodeIndex) {
        let process = &mut self.nodes[usize::from(node.0)];
        // What it has said so far has the number of a process that is no more.
        process.start = 0;
        // It may have ended by itself.
        let _ = process.child.kill();
        let _ = process.child.wait();
    }

    fn start_again(&mut self, node: NodeIndex) -> Result<(), StartError> {
        self.nodes[usize::from(node.0)] = self.start_one(node)?;
        Ok(())
    }

    fn last_words(&mut self, node: NodeIndex) -> Vec<String> {
        let process = &mut self.nodes[usize::from(node.0)];
        // Whoever is asked for last words has said the last: only then is it certain that all of them have arrived.
        let _ = process.child.kill();
        let _ = process.complaints_end.recv_timeout(END_WITHIN);
        process.last_words.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn create(path: &Path) -> Result<File, StartError> {
    File::create(path).map_err(|error| StartError::Logs { path: path.to_path_buf(), error })
}

/// A node that is started again goes on with the log that it had.
fn append(path: &Path) -> Result<File, StartError> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|error| StartError::Logs { path: path.to_path_buf(), error })
}

fn spawn(body: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    thread::Builder::new().spawn(body).map(drop).map_err(StartError::Thread)
}

/// Hands on every line until there are no more, or nobody wants them. What is no UTF-8 is shown as well as may be.
fn each_line(from: impl std::io::Read, mut take: impl FnMut(String) -> bool) {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    while matches!(from.read_until(b'\n', &mut bytes), Ok(count) if count > 0) {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        let line = String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_string();
        if !take(line) {
            return;
        }
        bytes.clear();
    }
}
