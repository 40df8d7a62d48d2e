//! What supervises a job and writes its last events: the same for its attempts and for
//! its rollback, also for one that is run later.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::child;
use super::child::{Child, ExitedChild, SignalTarget, Streams, Timeout};
use super::outcome::{JobEnd, describe};
use crate::job::capture::output_capture::{Capture, ChildPipes};
use crate::job::capture::output_file::OutputFile;
use crate::job::capture::stream;
use crate::job::capture::stream::{OnWarning, Passthrough, lock};
use crate::job::error::StartError;
use crate::job::process::job_env::{JOB_VARIABLE, RUN_VARIABLE};
use crate::job::process::poll::wait_for_either;
use crate::job::process::signals::SignalFd;
use crate::job::spec::job_spec::{AfterJob, JobSpec};
use crate::log::format::payload::JobEnded;
use crate::log::{AppendError, Batch, Close, Durability, EventType, LogView, RunLog, StorageError};
use crate::telemetry::{PendingSnapshots, Probe, Snapshots};
use crate::volume::{JobId, error_chain};

/// How long snapshots may take before a stage goes on without them.
pub(crate) const SNAPSHOT_TIMEOUT: Duration = Duration::from_millis(250);
/// How long the lock is waited for before signals are looked at.
const LOCK_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often the last event of a job is tried again after an error.
const MAX_END_RETRIES: u32 = 3;

/// What stays the same over all attempts.
pub(crate) struct Supervisor<'a> {
    pub spec: &'a JobSpec,
    pub log: Arc<RunLog>,
    pub signals: SignalFd,
    pub probe: Arc<Probe>,
    pub sink: Arc<Mutex<OutputFile>>,
    pub reach: SignalTarget,
    pub trouble: OnWarning,
    env: Vec<(&'static str, OsString)>,
    captures: Vec<Capture>,
}

/// What supervises, taken before the job is.
#[derive(Debug)]
pub(crate) struct SupervisorEnv {
    pub reach: SignalTarget,
    pub signals: SignalFd,
    pub probe: Probe,
}

impl SupervisorEnv {
    /// Takes over the signals, and starts to watch the host.
    pub(crate) fn take(detached: bool, volume: &Path) -> Result<Self, StartError> {
        let io_error = |action| move |source| StartError::System { action, source };
        let reach = SignalTarget::detect(detached);
        let signals = SignalFd::block(reach == SignalTarget::Group)
            .map_err(io_error("take over the signals"))?;
        let probe =
            Probe::start(volume.to_owned()).map_err(io_error("start the telemetry thread"))?;
        Ok(Self {
            reach,
            signals,
            probe,
        })
    }

    /// The host and its processes, taken while something else is done.
    pub(crate) fn begin_snapshot(&self) -> PendingSnapshots {
        begin_snapshot(&self.probe)
    }
}

/// The job's tree is that of its supervisor.
fn begin_snapshot(probe: &Probe) -> PendingSnapshots {
    probe.request(Some(std::process::id()), SNAPSHOT_TIMEOUT)
}

impl<'a> Supervisor<'a> {
    /// `env` are variables for the job, besides those that tell it its run and its id.
    pub(crate) fn new(
        spec: &'a JobSpec,
        log: Arc<RunLog>,
        job: &JobId,
        sink: OutputFile,
        around: SupervisorEnv,
        trouble: OnWarning,
        mut env: Vec<(&'static str, OsString)>,
    ) -> Self {
        env.push((RUN_VARIABLE, log.run_id().as_str().into()));
        env.push((JOB_VARIABLE, job.as_str().into()));
        Self {
            spec,
            log,
            signals: around.signals,
            probe: Arc::new(around.probe),
            sink: Arc::new(Mutex::new(sink)),
            reach: around.reach,
            trouble,
            env,
            captures: Vec::new(),
        }
    }
}

impl Supervisor<'_> {
    /// The host and its processes now.
    pub(crate) fn snapshot(&self) -> Snapshots {
        self.begin_snapshot().wait()
    }

    /// The same, taken while something else is done.
    pub(crate) fn begin_snapshot(&self) -> PendingSnapshots {
        begin_snapshot(&self.probe)
    }

    /// A signal that came and asks for the end.
    pub(crate) fn shutdown_requested(&self) -> Option<i32> {
        let arrived = std::iter::from_fn(|| self.signals.next());
        arrived
            .map(|a| a.signal)
            .find(|signal| child::asks_for_end(*signal))
    }

    /// Spawns a command whose output goes where the job's goes. The outer error is
    /// ours, the inner one that of the command.
    pub(crate) fn spawn(
        &mut self,
        mut command: Command,
        pass_on: Passthrough,
    ) -> io::Result<io::Result<Child>> {
        command.envs(self.spec.env.iter().map(|(k, v)| (k, v)));
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        let mode = self.spec.output;
        let pass_on = if mode.pass_on {
            pass_on
        } else {
            Passthrough::No
        };
        let streams = match (mode.capture, pass_on) {
            (true, _) => {
                let (capture, ChildPipes { stdout, stderr }) =
                    Capture::start(&self.sink, pass_on, &self.trouble)?;
                self.captures.push(capture);
                Streams::Given { stdout, stderr }
            }
            (false, Passthrough::Apart) => Streams::Inherit,
            (false, Passthrough::ToStderr) => {
                let stderr = rustix::stdio::stderr();
                Streams::Given {
                    stdout: stderr.try_clone_to_owned()?,
                    stderr: stderr.try_clone_to_owned()?,
                }
            }
            (false, Passthrough::No) => Streams::Given {
                stdout: stream::null()?.into(),
                stderr: stream::null()?.into(),
            },
        };
        let child = Child::spawn(command, streams, &self.signals, self.reach);
        if child.is_err() {
            self.drain();
        }
        Ok(child)
    }

    /// Waits for the end of the job, and stores what it has left in its pipes.
    ///
    /// # Errors
    /// It cannot be told any more how it ends.
    pub(crate) fn wait(&mut self, child: &Child, limit: Timeout) -> io::Result<ExitedChild> {
        let ended = child.wait(&self.signals, limit, self.captures.last_mut());
        self.drain();
        ended
    }

    fn drain(&mut self) {
        if let Some(capture) = self.captures.last_mut() {
            capture.drain();
        }
    }

    /// Waits until all output was passed on, unless a signal asks for the end.
    pub(crate) fn drain_passthrough(&self) {
        for capture in &self.captures {
            while !wait_for_either(&self.signals, capture.ended()) {
                if self.shutdown_requested().is_some() {
                    return;
                }
            }
        }
    }

    /// What the log and the caller are told about an attempt.
    pub(crate) fn describe(&self, ended: &ExitedChild, attempt: u32) -> (JobEnd, JobEnded) {
        let capture = self.spec.output.capture;
        let output = capture.then(|| lock(&self.sink).output());
        describe(ended, attempt, self.spec.timeout, output)
    }

    /// Writes what cannot be written later, trying again where it makes sense. Gives the
    /// jobs that kept the run open; `None` where it is not in the log for certain.
    pub(crate) fn append_terminal(
        &self,
        what: &str,
        mut batch: impl FnMut(&LogView<'_>) -> Result<Batch, AppendError>,
    ) -> Option<Vec<String>> {
        let deadline = Instant::now() + EventType::JobFailed.lock_budget();
        let mut tries = 0;
        loop {
            match self
                .log
                .append_with(Durability::Power, LOCK_POLL_INTERVAL, &mut batch)
            {
                Ok(appended) => return Some(appended.unfinished),
                // Between two looks at the lock, a signal can call the wait off.
                Err(AppendError::NotWritten(StorageError::LockTimeout { .. }))
                    if Instant::now() < deadline && self.shutdown_requested().is_none() => {}
                Err(
                    AppendError::Partial { .. }
                    | AppendError::NotWritten(StorageError::NoSpace { .. } | StorageError::Volume(_)),
                ) if tries < MAX_END_RETRIES => {
                    tries += 1;
                }
                Err(e @ AppendError::NotDurable(_)) => {
                    (self.trouble)(&format!("{what}: {}", error_chain(&e)));
                    return None;
                }
                Err(e) => {
                    (self.trouble)(&format!("{what} is not in the log: {}", error_chain(&e)));
                    return None;
                }
            }
        }
    }
}

pub(crate) fn close_policy(after: AfterJob) -> Close {
    match after {
        AfterJob::CloseOwn | AfterJob::CloseIfLast => Close::IfAllEnded,
        AfterJob::StayOpen => Close::No,
    }
}

/// Somebody else may have closed the run meanwhile.
pub(crate) fn close_if_open(close: Close, view: &LogView<'_>) -> Close {
    if view.is_closed { Close::No } else { close }
}
