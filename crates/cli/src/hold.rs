//! Something that is held as long as a lease lives, and a command that runs meanwhile.
//!
//! The cluster gives what is held to the next one when the lease ends, whether the command knows of it or not. So the
//! command is told to end when two thirds of the lease's time have passed without a renewal, and is killed at the end of
//! it. Time counts from before the request that was last answered: the cluster, which began to count later, ends the lease
//! later. What remains is a process that was stopped as a whole, this one with it; the fencing token is for that.
//!
//! *Omitted.* Processes that the command has started and left behind.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use clap::Args;
use quorate_client::{Client, ClientError, Outcome};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::Instant;

use crate::endpoints::EndpointArgs;
use crate::error::CliError;

/// What a shell adds to the number of the signal that ended a command.
const SIGNALED: i32 = 128;

/// A wait that fails sooner than this has failed at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// After how many failures at once, one after the other, there is no use in waiting anew.
const FAILURES_MAX: u32 = 5;

/// Flags of every command that holds something.
#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    /// How long the lease outlives this process if it dies, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    ttl: u64,

    #[command(flatten)]
    endpoints: EndpointArgs,

    /// What to run meanwhile
    #[arg(last = true)]
    command: Vec<OsString>,
}

impl HoldArgs {
    /// A client of the nodes. Must be called within a runtime.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        self.endpoints.client()
    }
}

/// What shows that something is held: the key, which is there as long as it is, and the revision at which it was created.
pub(crate) struct Token {
    pub(crate) key: Vec<u8>,
    pub(crate) revision: i64,
}

/// The signals by which this process is told to stop.
pub(crate) struct Stop {
    interrupt: Signals,
    terminate: Signals,
}

impl Stop {
    pub(crate) fn listen() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(CliError::Runtime);
        let (interrupt, terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Stop { interrupt, terminate })
    }

    /// Waits for one of them, and returns which.
    pub(crate) async fn asked(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
        }
    }
}

/// A lease, as far as this process knows.
struct Lease {
    id: i64,
    ttl: Duration,
    /// When the last request was sent that was answered with its renewal.
    renewed: Instant,
}

impl Lease {
    async fn grant(client: &Client, ttl: Duration) -> Result<Self, CliError> {
        let renewed = Instant::now();
        let grant = client.grant_lease(ttl).await?;
        let granted = Duration::from_secs(u64::try_from(grant.ttl).unwrap_or(0));
        // The server may have granted more than was asked for. Less it never does.
        Ok(Lease { id: grant.id, ttl: granted.max(ttl), renewed })
    }

    /// Renews it for as long as that can be done. Returns when there is reason to fear for it.
    async fn keep(&mut self, client: &Client) {
        loop {
            let next = self.renewed + self.ttl / 3;
            tokio::time::sleep_until(next.max(Instant::now() + self.ttl / 30)).await;
            let began = Instant::now();
            let last_moment = self.renewed + self.ttl * 2 / 3;
            match tokio::time::timeout_at(last_moment, client.renew_lease(self.id)).await {
                Ok(Ok(true)) => self.renewed = began,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::debug!(%error, "the lease is not renewed"),
                Err(_) => return,
            }
            if Instant::now() >= self.renewed + self.ttl * 2 / 3 {
                return;
            }
        }
    }

    /// Ends it. If that cannot be done, it ends by itself.
    async fn end(self, client: &Client) {
        if let Err(error) = client.revoke_lease(self.id).await {
            eprintln!(
                "quorate: what was held is free in at most {} s: {error}",
                self.ttl.as_secs()
            );
        }
    }
}

/// Takes what is to be held, by `take`, and holds it while the command runs, or until this process is told to stop.
///
/// `take` is given a lease, and returns none if what it has taken is lost already; `show` prints what was taken, if there
/// is no command.
pub(crate) async fn hold(
    client: &Client,
    args: &HoldArgs,
    take: impl AsyncFn(Client, i64) -> Result<Option<Token>, ClientError>,
    show: impl Fn(&Token) -> Result<(), CliError>,
) -> Result<ExitCode, CliError> {
    let mut stop = Stop::listen()?;
    let mut failures = 0;
    loop {
        let mut lease = Lease::grant(client, Duration::from_secs(args.ttl)).await?;
        let (id, began) = (lease.id, Instant::now());
        let taken = tokio::select! {
            taken = take(client.clone(), id) => taken,
            () = lease.keep(client) => Ok(None),
            signal = stop.asked() => {
                lease.end(client).await;
                return Ok(code(SIGNALED + signal.as_raw()));
            }
        };
        failures = if began.elapsed() > AT_ONCE { 0 } else { failures + 1 };
        match taken {
            Ok(Some(token)) => {
                let mut holding = Holding { client, lease, stop };
                let ended = match args.command.split_first() {
                    Some((program, arguments)) => holding.run(program, arguments, &token).await,
                    None => match show(&token) {
                        Ok(()) => holding.wait().await,
                        Err(error) => Err(error),
                    },
                };
                holding.lease.end(client).await;
                return ended;
            }
            // Under another lease: see the client's `session`.
            Ok(None) => lease.end(client).await,
            Err(error)
                if error.outcome() == Outcome::MayHaveHappened && failures < FAILURES_MAX =>
            {
                eprintln!("quorate: waiting anew: {error}");
                lease.end(client).await;
            }
            Err(error) => {
                lease.end(client).await;
                return Err(error.into());
            }
        }
    }
}

/// Something is held.
struct Holding<'a> {
    client: &'a Client,
    lease: Lease,
    stop: Stop,
}

impl Holding<'_> {
    /// Holds it until this process is told to stop.
    async fn wait(&mut self) -> Result<ExitCode, CliError> {
        tokio::select! {
            _ = self.stop.asked() => Ok(ExitCode::SUCCESS),
            () = self.lease.keep(self.client) => Err(lost()),
        }
    }

    /// Holds it while a command runs.
    async fn run(
        &mut self,
        program: &OsStr,
        arguments: &[OsString],
        token: &Token,
    ) -> Result<ExitCode, CliError> {
        let (key, revision) = (OsStr::from_bytes(&token.key), token.revision.to_string());
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        command.env("QUORATE_LOCK_KEY", key).env("QUORATE_LOCK_REVISION", &revision);
        command.env("ETCD_LOCK_KEY", key).env("ETCD_LOCK_REV", &revision);
        let failed =
            |action| move |error| CliError::File { action, path: PathBuf::from(program), error };
        let mut child = command.spawn().map_err(failed("run"))?;
        loop {
            tokio::select! {
                status = child.wait() => return status.map(ended_with).map_err(failed("wait for")),
                signal = self.stop.asked() => {
                    // A terminal has sent its interrupt to the command too.
                    if signal == Signal::TERM {
                        send(&child, signal);
                    }
                }
                () = self.lease.keep(self.client) => {
                    self.end(child).await;
                    return Err(lost());
                }
            }
        }
    }

    /// Ends the command before the lease does, or soon if it has ended already.
    async fn end(&self, mut child: Child) {
        send(&child, Signal::TERM);
        let ttl = self.lease.ttl;
        let last_moment = (self.lease.renewed + ttl).min(Instant::now() + ttl / 3);
        if tokio::time::timeout_at(last_moment, child.wait()).await.is_err()
            && let Err(error) = child.kill().await
        {
            eprintln!("quorate: the command cannot be killed: {error}");
        }
    }
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // The only error is that it has just ended.
        let _ = kill_process(pid, signal);
    }
}

fn lost() -> CliError {
    CliError::NotDone(
        "what was held is lost: its lease could not be renewed, or somebody has revoked it".into(),
    )
}

/// What this process ends with when the command has ended like this.
fn ended_with(status: ExitStatus) -> ExitCode {
    let signaled = || status.signal().map_or(1, |signal| SIGNALED + signal);
    code(status.code().unwrap_or_else(signaled))
}

fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
