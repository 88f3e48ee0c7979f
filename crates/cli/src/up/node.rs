//! One node's process.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::CliError;
use crate::up::layout::{Layout, Member};

/// How many of its last lines a dead node is quoted with.
const LAST_LINES: usize = 5;
/// Where these lines are looked for at most, from the end of the log.
const TAIL_BYTES: u64 = 8 * 1024;
/// How long a node may take to say whether it is ready.
const READY_ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A process that this one started. It stops when this is dropped, since its standard input ends then.
#[derive(Debug)]
pub(crate) struct Node {
    name: String,
    child: Child,
    _keeps_alive: Option<ChildStdin>,
    log: PathBuf,
    /// Where this process' part of the log begins.
    log_begins: u64,
    death: Option<Death>,
}

#[derive(Debug)]
struct Death {
    status: ExitStatus,
    at: Instant,
    is_reported: bool,
}

impl Node {
    /// Starts the node. It may still find that it cannot run.
    pub(crate) fn start(
        layout: &Layout,
        member: &Member,
        cluster: &Path,
    ) -> Result<Self, CliError> {
        let dir = member.dir(cluster);
        let file_error =
            |action, path: &Path, error| CliError::File { action, path: path.into(), error };
        std::fs::create_dir_all(&dir).map_err(|error| file_error("create", &dir, error))?;
        let log = dir.join("log");
        let open = || {
            let file = OpenOptions::new().create(true).append(true).open(&log)?;
            let begins = file.metadata()?.len();
            Ok((file.try_clone()?, file, begins))
        };
        let (out, err, log_begins) = open().map_err(|error| file_error("write", &log, error))?;
        let binary = std::env::current_exe()
            .map_err(|error| file_error("find", Path::new("this binary"), error))?;
        let mut child = Command::new(&binary)
            .args(arguments(layout, member, cluster))
            // What a file or a variable says about one node cannot hold for all of them.
            .env_remove("QUORATE_CONFIG")
            .env_remove("QUORATE_CONFIG_FILE")
            .env_remove("ETCD_CONFIG")
            .env_remove("ETCD_CONFIG_FILE")
            // A group of its own, so that a Ctrl-C in the terminal reaches only `up`, which then stops the nodes.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|error| file_error("run", &binary, error))?;
        let _keeps_alive = child.stdin.take();
        Ok(Node { name: member.name.clone(), child, _keeps_alive, log, log_begins, death: None })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Whether the process is still there.
    pub(crate) fn lives(&mut self) -> bool {
        if self.death.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.death = Some(Death { status, at: Instant::now(), is_reported: false });
        }
        self.death.is_none()
    }

    /// How it died, once, if it did; with the end of its log where that can say why.
    pub(crate) fn obituary(&mut self) -> Option<String> {
        self.lives();
        let death = self.death.as_mut().filter(|death| !death.is_reported)?;
        death.is_reported = true;
        let (name, status, log) = (&self.name, death.status, self.log.display());
        if ended_from_outside(status) {
            return Some(format!("{name} was ended from outside ({status}); its log is {log}"));
        }
        let mut said = format!("{name} died ({status}); its log, {log}, ends with");
        let lines = self.last_lines();
        if lines.is_empty() {
            said.push_str(" nothing of this run");
        }
        lines.iter().for_each(|line| said.push_str(&format!("\n             {line}")));
        Some(said)
    }

    /// For how long the process has been seen to be gone.
    pub(crate) fn dead_for(&self) -> Option<Duration> {
        self.death.as_ref().map(|death| death.at.elapsed())
    }

    /// SIGTERM, unless it is gone.
    pub(crate) fn ask_to_stop(&mut self) {
        // A process that has been waited for may have left its id to another one.
        if self.lives()
            && let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw)
        {
            // The only error left is that it has just died.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.lives();
    }

    fn last_lines(&self) -> Vec<String> {
        let read = || {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.log_begins.max(length.saturating_sub(TAIL_BYTES))))?;
            let mut tail = Vec::new();
            file.read_to_end(&mut tail)?;
            Ok::<_, std::io::Error>(tail)
        };
        // A log that cannot be read leaves nothing to quote; its name is said in any case.
        let tail = read().unwrap_or_default();
        let tail = String::from_utf8_lossy(&tail);
        let lines: Vec<&str> = tail.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..]
            .iter()
            .map(|line| line.to_string())
            .collect()
    }
}

/// Whether the process fell to SIGKILL. It cannot have written why, so that whatever its log ends with would mislead.
fn ended_from_outside(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

/// The command line of a node.
fn arguments(layout: &Layout, member: &Member, cluster: &Path) -> Vec<std::ffi::OsString> {
    let data_dir = member.data_dir(cluster);
    let texts = [
        ("--name", member.name.clone()),
        ("--listen-client-urls", member.client_url()),
        ("--advertise-client-urls", member.client_url()),
        ("--listen-peer-urls", member.peer_url()),
        ("--initial-advertise-peer-urls", member.peer_url()),
        ("--initial-cluster", layout.initial_cluster()),
        ("--initial-cluster-token", layout.token.clone()),
        ("--initial-cluster-state", "new".into()),
    ];
    let mut arguments = vec!["serve".into(), "--data-dir".into(), data_dir.into()];
    arguments.extend(texts.into_iter().flat_map(|(flag, value)| [flag.into(), value.into()]));
    arguments.push("--exit-with-stdin".into());
    arguments
}

/// Whether the node on this port says that it is ready; why not, otherwise.
pub(crate) async fn ask_ready(port: u16) -> Result<(), String> {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request =
            format!("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(TAIL_BYTES).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = match tokio::time::timeout(READY_ANSWER_WITHIN, ask).await {
        Ok(answer) => answer.map_err(|error| error.to_string())?,
        Err(_) => return Err("it does not answer".into()),
    };
    read_readiness(&String::from_utf8_lossy(&answer))
}

/// What an HTTP answer to `/readyz` says: 200 is ready, everything else a reason.
fn read_readiness(answer: &str) -> Result<(), String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let first = head.lines().next().unwrap_or_default();
    match first.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some(_) if !body.trim().is_empty() => Err(body.trim().into()),
        Some(status) => Err(format!("it answers with status {status}")),
        None => Err("it does not answer as a node does".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_when_it_says_so_and_otherwise_has_a_reason() {
        assert_eq!(read_readiness("HTTP/1.1 200 OK\r\n\r\nok"), Ok(()));
        let body = read_readiness("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nno leader\n");
        assert_eq!(body, Err("no leader".into()));
        assert_eq!(
            read_readiness("HTTP/1.1 503 x\r\n\r\n"),
            Err("it answers with status 503".into())
        );
        assert!(read_readiness("").is_err());
    }

    #[test]
    fn only_a_node_that_could_say_why_it_ended_is_quoted() {
        // As wait(2) has it: a signal is in the low seven bits, an exit code in the byte above.
        assert!(ended_from_outside(ExitStatus::from_raw(9)));
        for could_speak in [ExitStatus::from_raw(6), ExitStatus::from_raw(9 << 8)] {
            assert!(!ended_from_outside(could_speak), "{could_speak}");
        }
    }

    #[test]
    fn the_nodes_command_line_is_one_that_serve_takes() {
        use clap::Parser;
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path(), Some(3), None).unwrap();
        let line = arguments(&layout, &layout.members[1], dir.path());
        let line = std::iter::once("quorate".into()).chain(line);
        let crate::Command::Serve(args) = crate::Cli::try_parse_from(line).unwrap().command else {
            panic!("not serve")
        };
        let config = quorate_server::Config::from_settings(args.settings()).unwrap();
        assert_eq!((config.name.as_str(), config.members.len()), ("n2", 3));
        assert!(config.listen_client.iter().all(|at| at.address.ip().is_loopback()));
        assert!(config.listen_peer.iter().all(|at| at.address.ip().is_loopback()));
    }
}
