//! The child process: spawning it, sending it signals, waiting for it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::job::capture::output_capture::Capture;
use crate::job::process::poll::wait_readable;
use crate::job::process::signals;
use crate::job::process::signals::SignalFd;
use crate::job::process::wait_status;
use crate::job::process::wait_status::WaitStatus;
use crate::log::format::payload::Cost;
use crate::telemetry;

/// Longest wait between two looks at the child, should its SIGCHLD be lost.
const CHILD_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How often a look at the child may fail before it is given up, should it be dead.
const MAX_WAIT_RETRIES: u32 = 5;

/// How signals reach the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalTarget {
    /// The job stays in our terminal's process group.
    Terminal,
    /// The job has a process group of its own.
    Group,
}

impl SignalTarget {
    /// At a terminal means: a controlling terminal can be opened.
    pub(crate) fn detect(detached: bool) -> Self {
        let terminal = || std::fs::File::open("/dev/tty").is_ok();
        if !detached && terminal() {
            Self::Terminal
        } else {
            Self::Group
        }
    }
}

/// Which streams the child gets.
pub(crate) enum Streams {
    /// Ours.
    Inherit,
    /// Pipes that runlog reads, or nothing.
    Given { stdout: OwnedFd, stderr: OwnedFd },
}

/// A spawned child that was not waited for.
#[derive(Debug)]
pub(crate) struct Child {
    pub pid: u32,
    pub started: Instant,
    reach: SignalTarget,
}

/// How a child ended.
#[derive(Debug)]
pub(crate) struct ExitedChild {
    pub status: WaitStatus,
    pub cost: Cost,
    pub duration: Duration,
    pub timed_out: bool,
    /// A signal that asks for the end was passed on.
    pub interrupted: bool,
}

/// When a child is stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeout {
    pub timeout: Option<Duration>,
    pub kill_after: Duration,
}

impl Child {
    pub(crate) fn spawn(
        mut command: Command,
        streams: Streams,
        signals: &SignalFd,
        reach: SignalTarget,
    ) -> io::Result<Self> {
        match streams {
            Streams::Inherit => {}
            Streams::Given { stdout, stderr } => {
                command
                    .stdout(Stdio::from(stdout))
                    .stderr(Stdio::from(stderr));
            }
        }
        if reach == SignalTarget::Group {
            command.process_group(0);
        } else {
            // Orphans of the job come to us, so that time-outs reach them too.
            rustix::process::set_child_subreaper(Some(rustix::process::getpid())).ok();
        }
        signals.restore_in(&mut command);
        let started = Instant::now();
        // Its end is collected with `wait4`, which also tells the cost.
        let child = command.spawn()?;
        Ok(Self {
            pid: child.id(),
            started,
            reach,
        })
    }

    /// Waits for the end, passing on signals and minding the time; what the job prints gets
    /// its threads meanwhile.
    ///
    /// # Errors
    /// It cannot be told any more how it ends.
    pub(crate) fn wait(
        &self,
        signals: &SignalFd,
        limit: Timeout,
        mut output: Option<&mut Capture>,
    ) -> io::Result<ExitedChild> {
        let mut timed_out = false;
        let mut interrupted = false;
        let mut failures = 0;
        let mut next_stop = limit.timeout.map(|t| self.started + t);
        loop {
            let waited = match wait_status::try_wait(self.pid) {
                // The kernel cannot be asked now, or somebody else collected it: while it
                // lives it is supervised, and the question is put again.
                Err(_) if failures < MAX_WAIT_RETRIES || self.is_alive() => {
                    failures += 1;
                    None
                }
                waited => waited?,
            };
            if let Some((status, cost)) = waited {
                let duration = self.started.elapsed();
                return Ok(ExitedChild {
                    status,
                    cost,
                    duration,
                    timed_out,
                    interrupted,
                });
            }
            let now = Instant::now();
            if next_stop.is_some_and(|at| at <= now) {
                if timed_out {
                    self.send(libc::SIGKILL);
                    next_stop = None;
                } else {
                    self.send(libc::SIGTERM);
                    timed_out = true;
                    next_stop = Some(now + limit.kill_after);
                }
            }
            let look = if failures > 0 {
                CHILD_POLL_INTERVAL / 50
            } else {
                CHILD_POLL_INTERVAL
            };
            let pause = next_stop.map_or(look, |at| at.saturating_duration_since(now).min(look));
            match &mut output {
                Some(output) => output.wait(signals.fd(), pause),
                None => wait_readable(signals.fd(), pause),
            }
            while let Some(arrived) = signals.next() {
                if arrived.signal == libc::SIGCHLD {
                    wait_status::reap_others(self.pid);
                } else if !(arrived.from_kernel && self.reach == SignalTarget::Terminal) {
                    self.send(arrived.signal);
                }
                interrupted |= asks_for_end(arrived.signal);
            }
        }
    }

    fn is_alive(&self) -> bool {
        telemetry::live_start_ticks(self.pid).is_some()
    }

    /// Sends a signal to the job: its group, or at a terminal all its processes, but
    /// never our own group.
    fn send(&self, signal: i32) {
        let send_all = |signal| match self.reach {
            SignalTarget::Group => signals::kill(-(self.pid as i32), signal),
            SignalTarget::Terminal => {
                for pid in telemetry::descendants(std::process::id()) {
                    signals::kill(pid as i32, signal);
                }
            }
        };
        send_all(signal);
        if signal == libc::SIGTERM {
            // A stopped job would not hear it.
            send_all(libc::SIGCONT);
        }
    }
}

/// Whether a signal that was passed on asks the job to end.
pub(crate) fn asks_for_end(signal: i32) -> bool {
    matches!(
        signal,
        libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT
    )
}

/// A command that runs `line` as a shell does.
pub(crate) fn shell(line: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).stdin(Stdio::null());
    command
}
