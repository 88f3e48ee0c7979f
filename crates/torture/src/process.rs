//! A process that runs beside the test, and its log.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::TortureError;

/// How often a process is looked at. The system tells a parent of a child's end by a signal only, which is the whole
/// program's and not ours to take.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A process that ends with this one, however this one ends: its standard input is a pipe from here.
#[derive(Debug)]
pub struct Process {
    child: Child,
    _keeps_alive: Option<ChildStdin>,
}

impl Process {
    /// Starts the command with its output at the end of `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self, TortureError> {
        let file_error =
            |action, path: PathBuf| move |source| TortureError::File { action, path, source };
        let open = OpenOptions::new().create(true).append(true).open(log);
        let out = open.map_err(file_error("write", log.into()))?;
        let err = out.try_clone().map_err(file_error("write", log.into()))?;
        let program = PathBuf::from(command.get_program());
        command.stdin(Stdio::piped()).stdout(out).stderr(err);
        let mut child = command.spawn().map_err(file_error("run", program))?;
        let _keeps_alive = child.stdin.take();
        Ok(Process { child, _keeps_alive })
    }

    /// What the system calls it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn end(&mut self) -> Option<ExitStatus> {
        // The only error is that it is not our child.
        self.child.try_wait().expect("a process that was started here is a child of ours")
    }

    /// How it ended, once it does; `None` if it has not within the given time.
    pub async fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.end() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Sends a signal; one that has ended no longer minds.
    pub(crate) fn signal(&mut self, signal: Signal) {
        // A process that has been waited for may have left its id to another one.
        if self.end().is_none()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            // The only error left is that it has just ended.
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGKILL, and waits for the end, which comes at once.
    pub(crate) fn kill_9(&mut self) {
        // The only error is that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_9();
    }
}
