//! `quorate up`: a cluster on this machine, one process a node.
//!
//! The nodes are this same binary, run as `quorate serve`, on 127.0.0.1 only. What belongs together is written to
//! `cluster.json` in the cluster's directory ([`layout`]), so that a second `up` there goes on with the same data.
//! A node that dies is reported and left dead, unless `--restart` was given: watching what the others do then is what
//! a local cluster is for.
//!
//! **No node outlives its `up`.** Each has the reading end of a pipe as its standard input and stops when that ends,
//! which it does however this process ends.
//!
//! Open first: [`layout`], [`node`].

pub(crate) mod layout;
mod node;
mod roles;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::CliError;
use crate::table::{self, Align};
use crate::up::layout::Layout;
use crate::up::node::Node;
use crate::up::roles::Roles;
use crate::{print, waiting_runtime};

/// How long the nodes have to become ready. A cluster needs an election, and a node its log.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long nodes have to stop by themselves.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How often to look whether a node has died.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often to ask a node that is starting whether it is ready.
const ASK_READY_EVERY: Duration = Duration::from_millis(20);
/// How long a dead node stays dead with `--restart`, so that one that cannot start does not keep the machine busy.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Run a cluster on this machine, one process a node; Ctrl-C stops it
#[derive(Debug, Args)]
#[command(
    after_help = "Node k has client port base + 10(k - 1), and its peer port is the next one. Everything is \
under DIR:\nnK/data, nK/log and cluster.json. A second `up` with the same DIR goes on with the same data.\n\
Settings of every node can be given by environment variables, such as QUORATE_LOG_LEVEL; see `quorate serve --help`."
)]
pub(crate) struct UpArgs {
    /// How many nodes [default: 5, or as many as DIR has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: Option<u16>,

    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = layout::DEFAULT_DIR)]
    dir: PathBuf,

    /// The first node's client port [default: 2379, or what DIR has]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    base_port: Option<u16>,

    /// Start a node again when it dies
    #[arg(long)]
    restart: bool,
}

/// Runs the cluster until it is told to stop.
pub(crate) fn run(args: UpArgs) -> Result<(), CliError> {
    waiting_runtime()?.block_on(async {
        let mut stop = Stop::listen()?;
        let layout = Layout::open(&args.dir, args.nodes, args.base_port)?;
        layout.check_ports()?;
        layout.write(&args.dir)?;
        let nodes = start_all(&layout, &args.dir)?;
        let mut cluster = Cluster { dir: args.dir, layout, nodes, restart: args.restart };
        cluster.note_pids()?;
        // Whatever happens, the nodes are stopped in order before anyone reads the reason.
        let outcome = cluster.run(&mut stop).await;
        let stopped = cluster.stop_all().await;
        outcome.and(stopped)?;
        // A terminal that echoed Ctrl-C as ^C has not ended that line.
        print(&format!(
            "\nAll nodes have stopped; `quorate up` with the same --dir goes on with the data in {}.\n",
            cluster.dir.display()
        ))
    })
}

fn start_all(layout: &Layout, dir: &Path) -> Result<Vec<Node>, CliError> {
    layout.members.iter().map(|member| Node::start(layout, member, dir)).collect()
}

/// What tells the cluster to stop: Ctrl-C, or SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(CliError::Runtime);
        let (interrupt, terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Stop { interrupt, terminate })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

struct Cluster {
    dir: PathBuf,
    layout: Layout,
    nodes: Vec<Node>,
    restart: bool,
}

impl Cluster {
    async fn run(&mut self, stop: &mut Stop) -> Result<(), CliError> {
        let started = Instant::now();
        tokio::select! {
            ready = self.wait_until_ready() => ready?,
            () = stop.asked() => return Ok(()),
        }
        let (mut roles, mut seen) = Roles::watch(&self.layout)?;
        // The first look fills the table; what follows are changes.
        let first = tokio::select! {
            first = seen.recv() => first,
            () = stop.asked() => return Ok(()),
        };
        if let Some(first) = first {
            roles.update(first);
        }
        print(&self.introduction(&roles, started.elapsed()))?;
        self.attend(stop, &mut roles, &mut seen, started).await
    }

    /// Reports what happens, until it is told to stop or no node is left.
    async fn attend(
        &mut self,
        stop: &mut Stop,
        roles: &mut Roles,
        seen: &mut mpsc::Receiver<roles::Seen>,
        started: Instant,
    ) -> Result<(), CliError> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let report = tokio::select! {
                () = stop.asked() => return Ok(()),
                _ = look.tick() => self.look_after_nodes()?,
                Some(seen) = seen.recv() => roles.update(seen),
            };
            for line in report {
                print(&format!("{:>7.1} s  {line}\n", started.elapsed().as_secs_f64()))?;
            }
            if !self.restart && self.nodes.iter_mut().all(|node| !node.lives()) {
                return Err(CliError::Up("every node has died; see the logs named above".into()));
            }
        }
    }

    /// What there is to say about nodes that died since the last look; starts them again if that was asked for.
    fn look_after_nodes(&mut self) -> Result<Vec<String>, CliError> {
        let mut report = Vec::new();
        let mut has_restarted = false;
        for at in 0..self.nodes.len() {
            if let Some(obituary) = self.nodes[at].obituary() {
                report.push(obituary);
            }
            if self.restart && self.nodes[at].dead_for().is_some_and(|dead| dead >= RESTART_AFTER) {
                self.nodes[at] = Node::start(&self.layout, &self.layout.members[at], &self.dir)?;
                let (name, pid) = (&self.layout.members[at].name, self.nodes[at].pid());
                report.push(format!("{name} was started again, with pid {pid}"));
                has_restarted = true;
            }
        }
        if has_restarted {
            self.note_pids()?;
        }
        Ok(report)
    }

    async fn wait_until_ready(&mut self) -> Result<(), CliError> {
        let deadline = Instant::now() + READY_WITHIN;
        let has_terminal = std::io::stderr().is_terminal();
        let began = Instant::now();
        let mut waiting: Vec<(usize, String)> =
            (0..self.nodes.len()).map(|at| (at, "nothing yet".to_string())).collect();
        while !waiting.is_empty() {
            if let Some(obituary) = self.nodes.iter_mut().find_map(Node::obituary) {
                return Err(CliError::Up(format!("the cluster did not start: {obituary}")));
            }
            let mut still = Vec::new();
            for (at, _) in waiting {
                let member = &self.layout.members[at];
                if let Err(why) = node::ask_ready(member.client_port).await {
                    still.push((at, why));
                }
            }
            waiting = still;
            if Instant::now() >= deadline {
                return Err(CliError::Up(self.late(&waiting)));
            }
            if has_terminal && began.elapsed() > Duration::from_secs(2) {
                // The last of these is for no node at all, which erases the line.
                let said = match waiting.len() {
                    0 => String::new(),
                    left => format!("waiting for {left} of {} nodes", self.nodes.len()),
                };
                eprint!("\r{said:<32}\r");
            }
            if !waiting.is_empty() {
                tokio::time::sleep(ASK_READY_EVERY).await;
            }
        }
        Ok(())
    }

    fn late(&self, waiting: &[(usize, String)]) -> String {
        let mut said = format!(
            "not every node was ready within {} s; their logs say more:",
            READY_WITHIN.as_secs()
        );
        for (at, why) in waiting {
            let (name, log) = (&self.layout.members[*at].name, self.nodes[*at].log());
            said.push_str(&format!("\n  {name}: {why} (log: {})", log.display()));
        }
        said
    }

    fn introduction(&self, roles: &Roles, took: Duration) -> String {
        let rows: Vec<Vec<String>> = self
            .layout
            .members
            .iter()
            .zip(&self.nodes)
            .enumerate()
            .map(|(at, (member, node))| {
                let (pid, role) = (node.pid().to_string(), roles.of(at).to_string());
                vec![member.name.clone(), pid, member.client_url(), role]
            })
            .collect();
        let header = [
            ("node", Align::Left),
            ("pid", Align::Right),
            ("client URL", Align::Left),
            ("role", Align::Left),
        ];
        let first = &self.layout.members[0];
        let (etcd, endpoints) = (first.authority(), self.layout.endpoints().join(","));
        // Run from where it was built, as by cargo, it is in nobody's PATH: what is shown must work when it is copied.
        let quorate =
            std::env::args().next().filter(|path| path.contains('/')).unwrap_or("quorate".into());
        // The commands' defaults reach a cluster on the default ports, and any node will do.
        let named = if first.client_port == layout::DEFAULT_BASE_PORT {
            String::new()
        } else {
            format!(" --endpoints {endpoints}")
        };
        let ready = match self.nodes.len() {
            1 => "1 node is".to_string(),
            several => format!("{several} nodes are"),
        };
        // Where there is nobody to take over, there is nothing to watch.
        let kill = match self.nodes.len() {
            1 => String::new(),
            _ => format!(
                "  kill -9 {}        and watch here what the others do\n",
                self.nodes[roles.leader().unwrap_or(0)].pid()
            ),
        };
        format!(
            "{ready} ready after {:.1} s; data and logs are in {} (nK/data, nK/log).\n\n{}\n\
             Try in another terminal:\n  \
             {quorate} put greeting hello{named}\n  {quorate} get greeting{named}\n  \
             etcdctl --endpoints {etcd} put greeting hello\n  \
             etcdctl --endpoints {etcd} get greeting\n{kill}\n\
             Ctrl-C stops all nodes. Changes from here on:\n",
            took.as_secs_f64(),
            self.dir.display(),
            table::render(&header, &rows),
        )
    }

    /// Has `cluster.json` say which processes the nodes are now.
    fn note_pids(&mut self) -> Result<(), CliError> {
        for (member, node) in self.layout.members.iter_mut().zip(&mut self.nodes) {
            member.pid = node.lives().then(|| node.pid());
        }
        self.layout.write(&self.dir)
    }

    async fn stop_all(&mut self) -> Result<(), CliError> {
        let deadline = Instant::now() + STOP_WITHIN;
        self.nodes.iter_mut().for_each(Node::ask_to_stop);
        while self.nodes.iter_mut().any(|node| node.lives()) {
            if Instant::now() >= deadline {
                for (member, node) in self.layout.members.iter().zip(&mut self.nodes) {
                    if node.lives() {
                        eprintln!(
                            "{} did not stop within {} s and is killed",
                            member.name,
                            STOP_WITHIN.as_secs()
                        );
                        node.kill();
                    }
                }
                break;
            }
            tokio::time::sleep(ASK_READY_EVERY).await;
        }
        self.note_pids()
    }
}
