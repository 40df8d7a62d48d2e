//! The supervisor of a job, which writes its last events. Attempts and rollbacks share it, even
//! rollbacks that run later.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};

use super::child::{Child, ChildStdin, EndCause, ExitedChild, Program, Streams, Timeout};
use super::control::JobControl;
use super::missing_events::MissingEvents;
use super::outcome::{JobEnd, describe, record_oom_kills};
use super::supervisor_env::{SupervisorEnv, begin_snapshot};
use super::unwritten::Unwritten;
use crate::job::capture::output_capture::{Capture, CaptureOptions, ChildPipes, WaitForEvents};
use crate::job::capture::output_file::OutputFile;
use crate::job::capture::stream;
use crate::job::capture::stream::{OnReaderGone, OnWarning, Passthrough};
use crate::job::process::job_env::{
    JOB_VARIABLE, JOBS_SEPARATOR, JOBS_VARIABLE, RUN_VARIABLE, jobs_entry,
};
use crate::job::process::poll::{Readiness, is_hung_up};
use crate::job::process::supervision_page::ROLLBACK_STEP;
use crate::job::spec::job_spec::{DurationBounds, JobSpec};
use crate::log::RunLog;
use crate::log::format::payload::JobEnded;
use crate::sync::lock;
use crate::telemetry;
use crate::telemetry::{PendingSnapshots, Probe, Snapshots};
use crate::volume::JobId;

/// How long the last event of an attempt waits for output that is being passed on, so that it
/// can record how much was not delivered.
const DELIVERY_TIMEOUT: Duration = Duration::from_millis(100);
/// How long a job that was asked to end waits for the reader of its output. Without runlog, it
/// would not wait at all.
pub(super) const READER_TIMEOUT: Duration = Duration::from_secs(1);

/// The state that all attempts share.
pub(crate) struct Supervisor<'a> {
    pub spec: &'a JobSpec,
    pub log: Arc<RunLog>,
    pub control: JobControl,
    pub probe: Arc<Probe>,
    pub sink: Arc<Mutex<OutputFile>>,
    pub on_warning: OnWarning,
    /// Events that could not be written yet.
    pub(super) unwritten: Unwritten,
    pub missing: Arc<MissingEvents>,
    env: Vec<(&'static str, OsString)>,
    pub(super) captures: Vec<Capture>,
    /// The pipes of a job whose supervisor died.
    inherited_pipes: Option<[Option<OwnedFd>; 2]>,
    /// The pipe of a hook that a dead supervisor had started.
    pub hook_output: Option<OwnedFd>,
    /// Whether the last attempt or its rollback was asked to end, by a signal or a limit.
    pub(super) was_asked_to_end: bool,
}

/// Why a command was not spawned.
#[derive(Debug)]
pub(crate) enum SpawnError {
    /// Runlog cannot prepare it.
    Setup(io::Error),
    /// The command cannot be executed.
    Command(io::Error),
}

impl From<io::Error> for SpawnError {
    fn from(e: io::Error) -> Self {
        Self::Setup(e)
    }
}

impl SpawnError {
    /// Returns the error of the system call.
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Setup(e) | Self::Command(e) => e,
        }
    }
}

/// A submitted job, and where it is recorded.
pub(crate) struct SubmittedJob<'a> {
    pub spec: &'a JobSpec,
    pub id: JobId,
    pub log: Arc<RunLog>,
    pub sink: OutputFile,
}

impl<'a> Supervisor<'a> {
    /// Creates the supervisor of a job. `env` are variables for the job, besides those that
    /// identify it. The value of [`JOBS_VARIABLE`] contains the enclosing jobs, if any.
    pub(crate) fn new(
        job: SubmittedJob<'a>,
        supervisor_env: SupervisorEnv,
        on_warning: OnWarning,
        mut env: Vec<(&'static str, OsString)>,
    ) -> Self {
        let SubmittedJob {
            spec,
            id,
            log,
            sink,
        } = job;
        let above = env.iter().position(|(name, _)| *name == JOBS_VARIABLE);
        let mut jobs = above.map(|at| env.swap_remove(at).1).unwrap_or_default();
        if !jobs.is_empty() {
            jobs.push(OsStr::from_bytes(&[JOBS_SEPARATOR]));
        }
        jobs.push(jobs_entry(log.run_id().as_str(), id.as_str()));
        env.push((JOBS_VARIABLE, jobs));
        env.push((RUN_VARIABLE, log.run_id().as_str().into()));
        env.push((JOB_VARIABLE, id.as_str().into()));
        Self {
            spec,
            log,
            control: supervisor_env.control,
            probe: Arc::new(supervisor_env.probe),
            sink: Arc::new(Mutex::new(sink)),
            missing: Arc::new(MissingEvents::new(Arc::clone(&on_warning))),
            on_warning,
            unwritten: Unwritten::default(),
            env,
            captures: Vec::new(),
            inherited_pipes: None,
            hook_output: None,
            was_asked_to_end: false,
        }
    }

    /// Returns the job's variables besides those of runlog itself.
    pub(crate) fn job_env(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let set = self.spec.env.iter();
        let set = set.map(|(k, v)| (OsStr::new(k), OsStr::new(v)));
        set.chain(self.env.iter().map(|(k, v)| (OsStr::new(k), v.as_os_str())))
    }

    /// Sets the pipes of a job whose supervisor died.
    pub(crate) fn inherit_pipes(&mut self, pipes: [Option<OwnedFd>; 2]) {
        self.inherited_pipes = Some(pipes);
    }
}

impl Supervisor<'_> {
    /// Returns a snapshot of the host and its processes.
    pub(crate) fn snapshot(&self) -> Snapshots {
        self.begin_snapshot().wait()
    }

    /// Starts a snapshot of the host and its processes, in parallel with other work.
    pub(crate) fn begin_snapshot(&self) -> PendingSnapshots {
        begin_snapshot(&self.probe, &self.control)
    }

    /// Spawns a program whose output goes to the same places as the job's.
    ///
    /// # Errors
    /// The system has no more resources, or the command cannot be executed.
    pub(crate) fn spawn(
        &mut self,
        mut program: Program,
        pass_on: Passthrough,
        step: u32,
    ) -> Result<Child, SpawnError> {
        self.control.ensure_group()?;
        program.command.envs(self.job_env());
        let pass_on = self.pass_on(pass_on);
        let streams = if self.spec.reads_output() {
            match self.capture(pass_on) {
                Err(e) if is_out_of_files(&e) && self.spec.passed_on_redactor().is_none() => {
                    // The job needs only its own pipes.
                    lock(&self.sink).stop_storing(&e);
                    uncaptured_streams(pass_on)?
                }
                streams => streams?,
            }
        } else {
            uncaptured_streams(pass_on)?
        };
        self.control
            .page
            .record_oom_kills_before(telemetry::oom_kills());
        let stdin = if step == ROLLBACK_STEP || self.spec.detached {
            ChildStdin::Null
        } else {
            ChildStdin::Inherit
        };
        let child = Child::spawn(program, streams, &self.control, step, stdin);
        if child.is_err() {
            self.drain();
        } else if self.control.page.has_shutdown_request()
            && let Some(link) = self.control.link()
        {
            // It came too late to cancel the start, so the front passes it on.
            link.wake();
        }
        child.map_err(SpawnError::Command)
    }

    /// Creates the pipes of a command, and keeps runlog's ends.
    fn capture(&mut self, pass_on: Passthrough) -> io::Result<Streams> {
        // A job may have many attempts, and each of them holds descriptors.
        self.captures.retain(|capture| !is_hung_up(capture.ended()));
        let on_reader_gone = self.on_reader_gone();
        let options = self.capture_options(pass_on, &on_reader_gone);
        let (capture, ChildPipes { stdout, stderr }) = Capture::start(&options)?;
        let pipes = capture.pipes()?;
        // The start of the command needs as many: a pipe for its error, and its stdin.
        drop((pipe_with(PipeFlags::CLOEXEC)?, stream::null()?));
        let terminals = capture.terminals();
        if let Some(link) = self.control.link() {
            let pipes: Vec<BorrowedFd<'_>> = pipes.iter().map(AsFd::as_fd).collect();
            // A front that has exited no longer needs them.
            link.send_pipes(&pipes).ok();
        }
        self.captures.push(capture);
        self.control.terminals = terminals;
        Ok(Streams::Given { stdout, stderr })
    }

    /// Returns the process of a step that a supervisor that died had started, and continues to
    /// read its pipes.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub(crate) fn resume(&mut self, step: u32, pass_on: Passthrough) -> io::Result<Option<Child>> {
        let Some(child) = Child::started_before(self.control.page, step) else {
            return Ok(None);
        };
        if let Some(pipes) = self.inherited_pipes.take()
            && self.spec.reads_output()
        {
            let on_reader_gone = self.on_reader_gone();
            let options = self.capture_options(self.pass_on(pass_on), &on_reader_gone);
            let capture = Capture::resume(pipes, &options)?;
            self.control.terminals = capture.terminals();
            self.captures.push(capture);
        }
        Ok(Some(child))
    }

    fn pass_on(&self, wanted: Passthrough) -> Passthrough {
        if wanted == Passthrough::ToStderr {
            lock(&self.sink).begin_rollback();
        }
        if self.spec.output.pass_on {
            wanted
        } else {
            Passthrough::No
        }
    }

    fn capture_options<'a>(
        &'a self,
        pass_on: Passthrough,
        on_reader_gone: &'a OnReaderGone,
    ) -> CaptureOptions<'a> {
        CaptureOptions {
            plan: self.spec.output.streams,
            users: self.control.terminal_users(),
            sink: &self.sink,
            pass_on,
            predecessor: self.captures.last(),
            redactor: self.spec.passed_on_redactor(),
            page: self.control.page,
            on_warning: &self.on_warning,
            on_reader_gone,
        }
    }

    fn on_reader_gone(&self) -> OnReaderGone {
        let link = self.control.link();
        Arc::new(move |stream| {
            if let Some(link) = &link {
                // A front that has exited holds no pipe.
                link.send_reader_gone(stream).ok();
            }
        })
    }

    /// Waits for the end of the job, and stores the rest of its pipes.
    ///
    /// # Errors
    /// The end of the job can no longer be determined.
    pub(crate) fn wait(&mut self, child: Child, timeout: Timeout) -> io::Result<ExitedChild> {
        let ended = child.wait(&mut self.control, timeout, self.captures.last_mut());
        if let Ok(ended) = &ended {
            let is_rollback = ended.claim.step == ROLLBACK_STEP;
            self.was_asked_to_end = ended.interrupted
                || ended.cause != EndCause::Own
                || is_rollback && self.was_asked_to_end;
            self.wait_for_leftover_output(ended, timeout);
        }
        self.drain();
        if let Some(capture) = self.captures.last() {
            capture.wait_until_passed_on(DELIVERY_TIMEOUT);
        }
        self.control.restore_terminals();
        ended
    }

    fn drain(&mut self) {
        if let Some(capture) = self.captures.last_mut() {
            capture.drain();
        }
    }

    /// Returns how long to wait for the reader of the job's output, if the wait is limited.
    pub(super) fn reader_deadline(&self) -> Option<Instant> {
        self.was_asked_to_end
            .then(|| Instant::now() + READER_TIMEOUT)
    }

    /// Waits until all output is passed on, unless a signal asks for the end or has ended the
    /// job. Returns how many bytes could not be passed on.
    pub(crate) fn drain_passthrough(&mut self) -> u64 {
        let deadline = self.reader_deadline();
        let output = &self.control.page.output;
        for capture in &self.captures {
            loop {
                let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                if self.control.wait(&[capture.ended()], left) != [Readiness::Idle] {
                    break;
                }
                let is_late = left.is_some_and(|left| left.is_zero());
                if is_late || self.control.page.take_shutdown().is_some() {
                    let in_hand: u64 = output.in_hand_bytes().iter().sum();
                    return output.undelivered_bytes() + in_hand;
                }
            }
        }
        output.undelivered_bytes()
    }

    /// Returns the report about an attempt or a rollback for the log and the caller. `bounds` are
    /// the limits for its duration.
    pub(crate) fn describe(
        &self,
        ended: &ExitedChild,
        attempt: u32,
        bounds: DurationBounds,
    ) -> (JobEnd, JobEnded) {
        let capture = self.spec.output.capture;
        let output = capture.then(|| lock(&self.sink).output());
        let (mut end, mut event) = describe(ended, attempt, self.spec.timeout, output);
        if event.error.is_none()
            && let Some(error) = bounds.violation(ended.duration)
        {
            event.error = Some(error.clone());
            end = JobEnd::Rejected(error);
        }
        let before = self.control.page.oom_kills_before();
        if let Some((before, after)) = before.zip(telemetry::oom_kills()) {
            record_oom_kills(&mut event, after.saturating_sub(before));
        }
        (end, event)
    }
}

/// Returns the streams of a command whose output runlog does not read.
fn uncaptured_streams(pass_on: Passthrough) -> io::Result<Streams> {
    Ok(match pass_on {
        Passthrough::Apart => Streams::Inherit,
        Passthrough::ToStderr => {
            let stderr = rustix::stdio::stderr();
            Streams::Given {
                stdout: stderr.try_clone_to_owned()?,
                stderr: stderr.try_clone_to_owned()?,
            }
        }
        Passthrough::No => Streams::Given {
            stdout: stream::null()?.into(),
            stderr: stream::null()?.into(),
        },
    })
}

fn is_out_of_files(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

impl WaitForEvents for JobControl {
    fn wait_for_events(&mut self, others: &[BorrowedFd<'_>], limit: Duration) -> Vec<Readiness> {
        self.wait(others, Some(limit))
    }
}
