//! The child process: spawning it, waiting for it, and ending it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::control::JobControl;
use crate::job::capture::output_capture::Capture;
use crate::job::process::exec::Exec;
use crate::job::process::passed_signals::PassedSignal;
use crate::job::process::process_handle::ProcessHandle;
use crate::job::process::signals::ChildSetup;
use crate::job::process::supervision_page::{Claim, SupervisionPage};
use crate::job::process::wait_status;
use crate::job::process::wait_status::{ChildState, WaitStatus};
use crate::job::spec::job_spec::{DEFAULT_KILL_AFTER, JobSpec};
use crate::log::format::payload::Cost;
use crate::telemetry;

/// The maximum time between two checks of the child, in case its SIGCHLD is lost.
const CHILD_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two checks of a child whose end cannot be awaited.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// The maximum number of failed checks of a dead child: its new parent may take a while to reap
/// it.
const MAX_WAIT_RETRIES: u32 = 50;

/// The program of a child.
#[derive(Debug)]
pub(crate) struct Program {
    pub command: Command,
    /// The file to execute; `None` to search for it in `PATH`.
    pub file: Option<PathBuf>,
}

/// The streams of the child.
pub(crate) enum Streams {
    /// Those of runlog.
    Inherit,
    /// Pipes that runlog reads, or `/dev/null`.
    Given { stdout: OwnedFd, stderr: OwnedFd },
}

/// The stdin of the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildStdin {
    /// That of runlog.
    Inherit,
    /// `/dev/null`.
    Null,
}

/// A child that was not reaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Child {
    pub claim: Claim,
}

/// The reason why a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndCause {
    /// It ended by itself, or by a signal of another process.
    Own,
    /// It exceeded its time limit.
    TimedOut,
    /// The front was killed.
    FrontKilled,
}

/// The end of a child.
#[derive(Debug)]
pub(crate) struct ExitedChild {
    pub claim: Claim,
    pub status: WaitStatus,
    /// The resource usage; `None` if another process has reaped it.
    pub cost: Option<Cost>,
    pub duration: Duration,
    pub cause: EndCause,
    /// Whether a signal that asked for the end was passed on, and the child did not survive it.
    pub interrupted: bool,
    /// The signals that were passed on to it.
    pub signals: Vec<PassedSignal>,
}

/// The time limits of a child.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeout {
    /// How long the child may run.
    pub limit: Option<Duration>,
    /// The time from SIGTERM to SIGKILL.
    pub kill_after: Duration,
    /// Whether a SIGTERM, SIGINT or SIGHUP that was passed on is followed by SIGKILL too.
    pub kill_after_signal: bool,
    /// Whether the child ends if the front is killed.
    pub ends_with_front: bool,
}

impl Timeout {
    /// Returns the limits of an attempt.
    pub(crate) fn new(spec: &JobSpec) -> Self {
        Self {
            limit: spec.timeout,
            kill_after: spec.kill_after.unwrap_or(DEFAULT_KILL_AFTER),
            kill_after_signal: spec.kill_after.is_some(),
            ends_with_front: true,
        }
    }
}

impl Child {
    /// Spawns the command as the given step, unless the step was started before.
    ///
    /// # Errors
    /// The command cannot be executed.
    pub(crate) fn spawn(
        program: Program,
        streams: Streams,
        control: &JobControl,
        step: u32,
        stdin: ChildStdin,
    ) -> io::Result<Self> {
        let Program { mut command, file } = program;
        let inherits_output = matches!(streams, Streams::Inherit);
        if let Streams::Given { stdout, stderr } = streams {
            command
                .stdout(Stdio::from(stdout))
                .stderr(Stdio::from(stderr));
        }
        command.process_group(control.forwarder.target.group());
        let page = control.page;
        let setup = ChildSetup {
            inherits_stdin: stdin == ChildStdin::Inherit,
            inherits_output,
        };
        let exec = file.map(|file| Exec::new(&command, &file, control.front_pid()));
        let spawned = exec.transpose().and_then(|mut exec| {
            setup.apply(&mut command, move || {
                // The process has only one thread here, so this is the child's pid.
                let pid = rustix::process::getpid().as_raw_nonzero().get() as u32;
                if !page.claim(step, pid) {
                    return Err(io::Error::from_raw_os_error(libc::ECANCELED));
                }
                exec.as_mut().map_or(Ok(()), |exec| Err(exec.execute(pid)))
            });
            // The end is awaited with `waitid`, which also returns the resource usage.
            command.spawn()
        });
        match (spawned, page.claimed()) {
            (Ok(_), Some(claim)) => Ok(Self { claim }),
            (Ok(child), None) => Ok(Self {
                claim: Claim {
                    step,
                    pid: child.id(),
                },
            }),
            // A supervisor that died had started it.
            (Err(e), Some(claim))
                if claim.step == step && e.raw_os_error() == Some(libc::ECANCELED) =>
            {
                Ok(Self { claim })
            }
            (Err(e), _) => {
                page.record_exit(step);
                page.acknowledge(step);
                Err(e)
            }
        }
    }

    /// Returns the process of a step that a supervisor that died had started.
    pub(crate) fn started_before(page: &SupervisionPage, step: u32) -> Option<Self> {
        let claim = page.claimed().filter(|claim| claim.step == step)?;
        Some(Self { claim })
    }

    /// Waits for the end of the child, while watching the time and the front. Meanwhile, streams
    /// with output get their threads.
    ///
    /// # Errors
    /// The end of the child can no longer be determined.
    pub(crate) fn wait(
        self,
        control: &mut JobControl,
        timeout: Timeout,
        mut output: Option<&mut Capture>,
    ) -> io::Result<ExitedChild> {
        let page = control.page;
        let step = self.claim.step;
        let started = Instant::now()
            .checked_sub(page.since_claim())
            .unwrap_or_else(Instant::now);
        let mut failures = 0;
        let mut handle = None;
        let mut asked = Vec::new();
        let mut killed = false;
        let mut cause = if page.has_timed_out(step) {
            EndCause::TimedOut
        } else {
            EndCause::Own
        };
        loop {
            let mut poll_interval = CHILD_POLL_INTERVAL;
            match self.state(page, handle.as_ref()) {
                Ok(Some((status, cost))) => {
                    if let Some(cost) = &cost {
                        page.record_end(step, status, cost);
                    }
                    page.record_exit(step);
                    return Ok(ExitedChild {
                        claim: self.claim,
                        status,
                        cost,
                        duration: page.run_time(),
                        cause,
                        interrupted: page.signals.have_ended(step, status),
                        signals: page.signals.list(step),
                    });
                }
                Ok(None) => {}
                // It is the child of another process: the front, which reports its end.
                Err(_) if control.link().is_some() && telemetry::exists(self.claim.pid) => {
                    handle = handle.or_else(|| ProcessHandle::open(self.claim.pid));
                }
                Err(_) if failures < MAX_WAIT_RETRIES => {
                    poll_interval = RETRY_INTERVAL;
                    failures += u32::from(!telemetry::may_be_alive(self.claim.pid));
                }
                Err(e) => {
                    page.record_exit(step);
                    return Err(e);
                }
            }
            let now = Instant::now();
            if cause == EndCause::Own {
                if timeout.limit.is_some_and(|limit| started + limit <= now) {
                    cause = EndCause::TimedOut;
                    page.record_timeout(step);
                    page.request_end(step);
                    asked = control.forwarder.end_all(libc::SIGTERM);
                } else if timeout.ends_with_front && control.is_abandoned() {
                    cause = EndCause::FrontKilled;
                    page.request_end(step);
                    asked = control.forwarder.end_all(libc::SIGTERM);
                }
            }
            let mut pause = poll_interval;
            if let (EndCause::Own, Some(limit)) = (cause, timeout.limit) {
                pause = pause.min((started + limit).saturating_duration_since(now));
            }
            if (cause != EndCause::Own || timeout.kill_after_signal)
                && !killed
                && let Some(since) = page.since_end_request(step)
            {
                match timeout.kill_after.checked_sub(since) {
                    Some(left) if !left.is_zero() => pause = pause.min(left),
                    _ => {
                        killed = true;
                        control.forwarder.kill_all(&asked);
                    }
                }
            }
            match &mut output {
                Some(output) => output.wait(control, pause),
                None => drop(control.wait(&[], Some(pause))),
            }
        }
    }

    /// Returns the state of the child, whose parent is this process, or the front if its
    /// supervisor died, or init if the front died too.
    fn state(
        self,
        page: &SupervisionPage,
        handle: Option<&ProcessHandle>,
    ) -> io::Result<Option<(WaitStatus, Option<Cost>)>> {
        if let Some((status, cost)) = page.end(self.claim.step) {
            return Ok(Some((status, Some(cost))));
        }
        match wait_status::peek(self.claim.pid) {
            Ok(ChildState::Running) => Ok(None),
            Ok(ChildState::Ended(status, cost)) => Ok(Some((status, Some(cost)))),
            Err(e) => match handle.and_then(ProcessHandle::exit_status) {
                Some(status) => Ok(Some((status, None))),
                None => Err(e),
            },
        }
    }
}

/// Returns a command that runs `line` in a shell.
pub(crate) fn shell(line: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).stdin(Stdio::null());
    command
}
