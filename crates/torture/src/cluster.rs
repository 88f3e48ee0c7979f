//! Nodes as processes: started, killed, paused, restarted, and looked after.
//!
//! The life of a [`Cluster`]: [`Cluster::start`] takes ports, makes a directory, and returns once every node says that
//! it is ready. The test then does to it what it likes. [`Cluster::finish`] stops what still runs and sees to it that
//! every node stopped cleanly and none panicked. A test that fails instead prints the end of every node's log, kills the
//! processes, and leaves the directory where it is, with its path printed; one that succeeds removes it.

mod observe;
mod ports;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use etcd_client::Client;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::command::run_to_end;
use crate::error::TortureError;
use crate::http;
use crate::process::Process;
use ports::Claim;

/// How long a node may take to become ready, to stop, or to find a leader. A machine that is busy building takes
/// seconds; one that has not managed by now has a bug.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// How long one question to a node may take, when another may be asked after it.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Between two such questions.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How often a cluster is started anew because a port was taken.
const STARTS_MAX: usize = 5;
/// How many lines of each node's log a failed test shows.
const LAST_LINES: usize = 25;

/// A node's place in its cluster, from 0. It is shown as the node's name, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub usize);

impl fmt::Display for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0 + 1)
    }
}

#[derive(Debug)]
struct Node {
    client: Claim,
    peer: Claim,
    process: Option<Process>,
    is_paused: bool,
    /// What `--initial-cluster` says to a node that joined; none for those that were there from the beginning.
    joins: Option<String>,
}

/// Nodes that run as processes of their own on loopback.
#[derive(Debug)]
pub struct Cluster {
    binary: PathBuf,
    token: String,
    /// What every node is told beside who it is.
    flags: Vec<String>,
    nodes: Vec<Node>,
    /// None once it is kept for a person to look at.
    dir: Option<TempDir>,
    /// Whether something went wrong that a person will want to look into.
    has_failed: bool,
}

impl Cluster {
    /// Starts `size` nodes of the binary, and waits until each is ready.
    pub async fn start(binary: impl Into<PathBuf>, size: usize) -> Result<Self, TortureError> {
        Self::start_with(binary, size, &[]).await
    }

    /// As [`Cluster::start`], with more flags for each node.
    pub async fn start_with(
        binary: impl Into<PathBuf>,
        size: usize,
        flags: &[&str],
    ) -> Result<Self, TortureError> {
        Self::start_on(binary.into(), size, flags, None).await
    }

    /// Makes the directories of `size` nodes from a backup, each by itself, and then as [`Cluster::start`].
    pub async fn restore(
        binary: impl Into<PathBuf>,
        size: usize,
        backup: &Path,
    ) -> Result<Self, TortureError> {
        Self::start_on(binary.into(), size, &[], Some(backup)).await
    }

    async fn start_on(
        binary: PathBuf,
        size: usize,
        flags: &[&str],
        backup: Option<&Path>,
    ) -> Result<Self, TortureError> {
        let mut starts = 1;
        loop {
            let mut cluster = Self::prepare(binary.clone(), size, flags)?;
            match cluster.launch_all(backup).await {
                // Somebody listens there who came between our look and the node's.
                Err(TortureError::Ended { log, .. })
                    if log.contains("Address already in use") && starts < STARTS_MAX =>
                {
                    starts += 1;
                }
                outcome => {
                    cluster.has_failed = outcome.is_err();
                    return outcome.map(|()| cluster);
                }
            }
        }
    }

    /// Takes ports and makes a directory.
    fn prepare(binary: PathBuf, size: usize, flags: &[&str]) -> Result<Self, TortureError> {
        let dir = tempfile::Builder::new().prefix("quorate-torture-").tempdir();
        let dir = dir.map_err(|source| TortureError::File {
            action: "make a directory in",
            path: std::env::temp_dir(),
            source,
        })?;
        let nodes = (0..size).map(|_| {
            let (client, peer) = (ports::claim()?, ports::claim()?);
            Ok(Node { client, peer, process: None, is_paused: false, joins: None })
        });
        let nodes = nodes.collect::<Result<Vec<_>, TortureError>>()?;
        // Another token for each, so that a node that dials into the wrong cluster is told so.
        let token = format!("torture-{}", nodes[0].client.port);
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Ok(Cluster { binary, token, flags, nodes, dir: Some(dir), has_failed: false })
    }

    async fn launch_all(&mut self, backup: Option<&Path>) -> Result<(), TortureError> {
        for node in self.all() {
            if let Some(backup) = backup {
                let command = self.restore_command(node, backup);
                let line = format!("{command:?}");
                let finished = run_to_end(command).await?;
                if finished.code != Some(0) {
                    return Err(TortureError::Failed { command: line, said: finished.stderr });
                }
            }
            self.launch(node)?;
        }
        self.wait_until_all_ready().await
    }

    /// All nodes, whether they run or not.
    pub fn all(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.nodes.len()).map(NodeIndex)
    }

    /// The nodes whose processes run and are not paused.
    pub fn running(&mut self) -> Vec<NodeIndex> {
        let all = self.all();
        all.filter(|node| !self.nodes[node.0].is_paused && self.runs(*node)).collect()
    }

    /// The process of a node that runs, for whoever looks at what it uses.
    pub fn pid(&mut self, node: NodeIndex) -> Option<u32> {
        let process = self.nodes[node.0].process.as_mut()?;
        process.end().is_none().then(|| process.pid())
    }

    /// Where a node listens for clients.
    pub fn client_address(&self, node: NodeIndex) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.nodes[node.0].client.port).into()
    }

    /// Where a node listens for its peers.
    pub fn peer_address(&self, node: NodeIndex) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.nodes[node.0].peer.port).into()
    }

    /// What a client connects to.
    pub fn client_url(&self, node: NodeIndex) -> String {
        format!("http://{}", self.client_address(node))
    }

    /// What clients connect to, node by node.
    pub fn client_urls(&self) -> Vec<String> {
        self.all().map(|node| self.client_url(node)).collect()
    }

    /// Where a node keeps its data.
    pub fn data_dir(&self, node: NodeIndex) -> PathBuf {
        self.dir().join(node.to_string())
    }

    /// Everything that a node's runs have written, their logs and last words.
    pub fn log(&self, node: NodeIndex) -> String {
        // A node that never ran has no log.
        let bytes = std::fs::read(self.log_path(node)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A stock client that speaks to this node only.
    pub async fn client(&self, node: NodeIndex) -> Result<Client, TortureError> {
        let url = self.client_url(node);
        let client = Client::connect([&url], None).await;
        client.map_err(|source| TortureError::Client { endpoints: url, source })
    }

    /// The command line of a node, to be run as it is or with changes.
    pub fn command(&self, node: NodeIndex) -> Command {
        let members = self.nodes[node.0].joins.clone();
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--name").arg(node.to_string());
        command.arg("--data-dir").arg(self.data_dir(node));
        command.arg("--listen-client-urls").arg(self.client_url(node));
        command.arg("--listen-peer-urls").arg(self.peer_url(node));
        let state = if members.is_some() { "existing" } else { "new" };
        command.arg("--initial-cluster-state").arg(state);
        command.arg("--initial-cluster").arg(members.unwrap_or_else(|| self.founders()));
        command.arg("--initial-cluster-token").arg(&self.token);
        command.arg("--exit-with-stdin");
        command.args(&self.flags);
        forget_settings(&mut command);
        command
    }

    /// The command line that makes a node's directory of a backup, to be run as it is or with changes.
    pub fn restore_command(&self, node: NodeIndex, backup: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["snapshot", "restore"]).arg(backup);
        command.arg("--name").arg(node.to_string());
        command.arg("--data-dir").arg(self.data_dir(node));
        command.arg("--initial-advertise-peer-urls").arg(self.peer_url(node));
        command.arg("--initial-cluster").arg(self.founders());
        command.arg("--initial-cluster-token").arg(&self.token);
        forget_settings(&mut command);
        command
    }

    /// Where a node's peers reach it.
    pub fn peer_url(&self, node: NodeIndex) -> String {
        format!("http://{}", self.peer_address(node))
    }

    /// Those who were there from the beginning, as `--initial-cluster` has them.
    fn founders(&self) -> String {
        let founders = self.all().filter(|node| self.nodes[node.0].joins.is_none());
        let founders: Vec<String> =
            founders.map(|node| format!("{node}={}", self.peer_url(node))).collect();
        founders.join(",")
    }

    /// Has a new node taken in through another one. It is yet to be launched.
    pub async fn add_member(&mut self, through: NodeIndex) -> Result<NodeIndex, TortureError> {
        let node = NodeIndex(self.nodes.len());
        let (client, peer) = (ports::claim()?, ports::claim()?);
        self.nodes.push(Node {
            client,
            peer,
            process: None,
            is_paused: false,
            joins: Some(String::new()),
        });
        let url = self.peer_url(node);
        let endpoint = self.client_url(through);
        let failed = |source| TortureError::Client { endpoints: endpoint.clone(), source };
        let mut client = self.client(through).await?;
        let added = client.member_add([url.clone()], None).await.map_err(failed)?;
        let name = |member: &etcd_client::Member| {
            if member.peer_urls().contains(&url) { node.to_string() } else { member.name().into() }
        };
        let members = added.member_list().iter().flat_map(|member| {
            let name = name(member);
            member.peer_urls().iter().map(move |url| format!("{name}={url}"))
        });
        self.nodes[node.0].joins = Some(members.collect::<Vec<_>>().join(","));
        Ok(node)
    }

    /// Has a member let go of, through another node.
    pub async fn remove_member(
        &mut self,
        through: NodeIndex,
        node: NodeIndex,
    ) -> Result<(), TortureError> {
        let endpoints = self.client_url(through);
        let name = node.to_string();
        let members = self.members(through).await?;
        let Some(member) = members.iter().find(|member| member.name() == name) else {
            let (what, last) = (format!("{name} among the members"), format!("{members:?}"));
            return Err(TortureError::NotSeen { what, within: Duration::ZERO, last });
        };
        let mut client = self.client(through).await?;
        let removed = client.member_remove(member.id()).await;
        removed.map(|_| ()).map_err(|source| TortureError::Client { endpoints, source })
    }

    /// Starts a node that does not run, without waiting for anything.
    pub fn launch(&mut self, node: NodeIndex) -> Result<(), TortureError> {
        assert!(!self.runs(node), "{node} runs already: kill it or stop it first");
        let process = Process::start(self.command(node), &self.log_path(node))?;
        let slot = &mut self.nodes[node.0];
        (slot.process, slot.is_paused) = (Some(process), false);
        Ok(())
    }

    /// Starts a node that does not run, and waits until it is ready, for which a majority must run.
    pub async fn restart(&mut self, node: NodeIndex) -> Result<(), TortureError> {
        self.launch(node)?;
        self.wait_until_ready(node).await
    }

    /// Waits until a node says that the cluster answers through it.
    pub async fn wait_until_ready(&mut self, node: NodeIndex) -> Result<(), TortureError> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let last = match http::get(self.client_address(node), "/readyz", ANSWER_WITHIN).await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => answer.body,
                Err(error) => error.to_string(),
            };
            if let Some(status) = self.process(node, "asked")?.end() {
                return Err(TortureError::Ended { node, status, log: self.last_lines(node) });
            }
            if Instant::now() >= deadline {
                let what = format!("{node} becoming ready");
                return Err(TortureError::NotSeen { what, within: DEADLINE, last });
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn wait_until_all_ready(&mut self) -> Result<(), TortureError> {
        for node in self.all() {
            self.wait_until_ready(node).await?;
        }
        Ok(())
    }

    /// Ends a node's process at once, by SIGKILL. What it had not synced yet it will never have.
    pub fn kill_9(&mut self, node: NodeIndex) -> Result<(), TortureError> {
        self.process(node, "killed")?.kill_9();
        Ok(())
    }

    /// Ends every node's process at the same instant, as a power cut would, but for what the system has in memory.
    pub fn kill_9_all(&mut self) -> Result<(), TortureError> {
        for node in self.all() {
            self.process(node, "killed")?.signal(Signal::KILL);
        }
        self.all().try_for_each(|node| self.kill_9(node))
    }

    /// Asks a node to stop, by SIGTERM, and waits until it has, cleanly.
    pub async fn terminate(&mut self, node: NodeIndex) -> Result<(), TortureError> {
        self.process(node, "terminated")?.signal(Signal::TERM);
        self.wait_until_stopped(node).await
    }

    /// Stops a node's process where it stands, by SIGSTOP: its connections stay open, and it says nothing.
    pub fn pause(&mut self, node: NodeIndex) -> Result<(), TortureError> {
        self.process(node, "paused")?.signal(Signal::STOP);
        self.nodes[node.0].is_paused = true;
        Ok(())
    }

    /// Lets a paused node go on, by SIGCONT, as if no time had passed.
    pub fn resume(&mut self, node: NodeIndex) -> Result<(), TortureError> {
        self.process(node, "resumed")?.signal(Signal::CONT);
        self.nodes[node.0].is_paused = false;
        Ok(())
    }

    /// How a node ended that is expected to end by itself, once it has.
    pub async fn ended(&mut self, node: NodeIndex) -> Result<ExitStatus, TortureError> {
        match self.process(node, "waited for")?.ended(DEADLINE).await {
            Some(status) => Ok(status),
            None => {
                let log = self.last_lines(node);
                Err(TortureError::StillRuns { node, within: DEADLINE, log })
            }
        }
    }

    /// Stops every node that runs, and checks that each stopped cleanly and that none has panicked in any of its runs.
    pub async fn finish(mut self) -> Result<(), TortureError> {
        let outcome = self.stop_all().await;
        self.has_failed = outcome.is_err();
        outcome
    }

    async fn stop_all(&mut self) -> Result<(), TortureError> {
        for node in self.all() {
            if self.runs(node) {
                let process = self.process(node, "stopped")?;
                process.signal(Signal::CONT);
                process.signal(Signal::TERM);
            }
        }
        for node in self.all() {
            if self.runs(node) {
                self.wait_until_stopped(node).await?;
            }
        }
        self.check_for_panics()
    }

    /// Whether any node's log speaks of a panic.
    pub fn check_for_panics(&self) -> Result<(), TortureError> {
        for node in self.all() {
            let log = self.log(node);
            if let Some(at) = log.find("panicked") {
                let start = log[..at].rfind('\n').map_or(0, |newline| newline + 1);
                let lines: Vec<&str> = log[start..].lines().take(LAST_LINES).collect();
                return Err(TortureError::Panicked { node, lines: lines.join("\n") });
            }
        }
        Ok(())
    }

    async fn wait_until_stopped(&mut self, node: NodeIndex) -> Result<(), TortureError> {
        let status = self.ended(node).await?;
        if status.success() {
            return Ok(());
        }
        Err(TortureError::UncleanEnd { node, status, log: self.last_lines(node) })
    }

    fn runs(&mut self, node: NodeIndex) -> bool {
        let process = self.nodes[node.0].process.as_mut();
        process.is_some_and(|process| process.end().is_none())
    }

    fn process(
        &mut self,
        node: NodeIndex,
        what: &'static str,
    ) -> Result<&mut Process, TortureError> {
        let process = self.nodes[node.0].process.as_mut();
        process.ok_or(TortureError::NotRunning { node, what })
    }

    fn dir(&self) -> &Path {
        self.dir.as_ref().expect("the directory is given up only in the end").path()
    }

    fn log_path(&self, node: NodeIndex) -> PathBuf {
        self.dir().join(format!("{node}.log"))
    }

    fn last_lines(&self, node: NodeIndex) -> String {
        let log = self.log(node);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

/// What the environment says about some node cannot hold for these.
fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["QUORATE_", "ETCD_", "ETCDCTL_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.has_failed && !std::thread::panicking() {
            return;
        }
        for node in self.all() {
            eprintln!("--- the log of {node} ends with\n{}", self.last_lines(node));
        }
        for node in &mut self.nodes {
            node.process = None;
        }
        if let Some(dir) = self.dir.take() {
            eprintln!("--- logs and data are kept in {}", dir.keep().display());
        }
    }
}
