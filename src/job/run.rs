//! A job from its submission to its end.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::StartError;
use super::capture::{self, Capture, JobEnds, PassOn, Trouble};
use super::child::{self, Child, Ended, Limit, Reach, Streams};
use super::end::{End, Outcome, canceled, describe, spawn_error};
use super::liveness;
use super::recorder::{OnStarted, Recorder};
use super::rollback;
use super::sink::Sink;
use super::spec::{After, JOB_VARIABLE, JobSpec, RUN_VARIABLE};
use super::stages::{Stages, millis};
use super::submit::Submission;
use super::sys::Signals;
use super::validate::validate;
use crate::log::payload::{ErrorKind, JobEnded, JobError, JobStarted, RunOpened};
use crate::log::{Batch, Close, Durability, EventType, LogError, RunLog, View};
use crate::telemetry::{Probe, Snapshots};
use crate::volume::{JobId, Volume};

/// How long snapshots may take before a stage goes on without them.
pub(super) const SNAPSHOT_LIMIT: Duration = Duration::from_millis(250);
/// How long the lock is waited for before signals are looked at.
const LOCK_LOOK: Duration = Duration::from_secs(1);
/// How often the last event of a job is tried again after an error.
const LAST_TRIES: u32 = 3;

/// What a job needs besides its specification.
pub struct Setup<'a> {
    /// The volume.
    pub volume: &'a Volume,
    /// The log of the run, which may be new.
    pub log: Arc<RunLog>,
    /// What `run_opened` says, should the run be new.
    pub opening: RunOpened,
    /// `PATH` of our own environment.
    pub path_variable: Option<OsString>,
    /// Variables that tell the job where it runs, besides run and job id.
    pub env: Vec<(&'static str, OsString)>,
    /// Told about trouble that does not concern the job.
    pub trouble: Trouble,
    /// Told once the job's submission is durable, before it starts.
    pub on_submitted: Box<dyn FnOnce(&JobId)>,
    /// Told once its start is durable, or why it is not.
    pub on_started: OnStarted,
}

/// What stays the same over all attempts.
pub(super) struct Context<'a> {
    pub spec: &'a JobSpec,
    pub log: Arc<RunLog>,
    pub signals: Signals,
    pub probe: Arc<Probe>,
    pub sink: Arc<Mutex<Sink>>,
    pub reach: Reach,
    pub trouble: Trouble,
    env: Vec<(&'static str, OsString)>,
    captures: Vec<Capture>,
}

/// Runs a job: submits, validates, starts, supervises and ends it.
///
/// # Errors
/// The job could not be submitted, and did not start. Trouble with the log after the
/// start is told to `setup.trouble` and does not concern the job.
pub fn run_job(spec: &JobSpec, setup: Setup<'_>) -> Result<Outcome, StartError> {
    let volume = setup.volume.path();
    let around = Around::take(spec.detached, volume)?;
    let before = around.probe.take(Some(std::process::id()), SNAPSHOT_LIMIT);
    let validated = validate(spec, volume, setup.path_variable.as_deref());

    let log = setup.log;
    let submission = Submission {
        spec,
        opening: setup.opening,
        before,
        validated: &validated,
    };
    let (stages, sink) = submission.submit(&log)?;
    (setup.on_submitted)(&stages.job);

    let mut context = Context::new(
        spec,
        log,
        &stages.job,
        sink,
        around,
        setup.trouble,
        setup.env,
    );
    if let Err(error) = validated {
        // `job_failed` is in the log already, with the submission.
        return Ok(Outcome {
            end: End::NotStarted(error),
            unfinished: Vec::new(),
        });
    }
    let outcome = context.attempts(stages, setup.on_started);
    context.pass_on_the_rest();
    Ok(outcome)
}

pub(super) fn closing(after: After) -> Close {
    match after {
        After::CloseOwn | After::CloseIfLast => Close::IfAllEnded,
        After::StayOpen => Close::No,
    }
}

/// Somebody else may have closed the run meanwhile.
pub(super) fn close_if_open(close: Close, view: &View<'_>) -> Close {
    if view.is_closed { Close::No } else { close }
}

/// What supervises, taken before the job is.
pub(super) struct Around {
    pub reach: Reach,
    pub signals: Signals,
    pub probe: Probe,
}

impl Around {
    /// Takes over the signals, and starts to watch the host.
    pub(super) fn take(detached: bool, volume: &Path) -> Result<Self, StartError> {
        let io_error = |action| move |source| StartError::System { action, source };
        let reach = Reach::detect(detached);
        let signals =
            Signals::block(reach == Reach::Group).map_err(io_error("take over the signals"))?;
        let probe =
            Probe::start(volume.to_owned()).map_err(io_error("start the telemetry thread"))?;
        Ok(Self {
            reach,
            signals,
            probe,
        })
    }
}

impl<'a> Context<'a> {
    /// `env` are variables for the job, besides those that tell it its run and its id.
    pub(super) fn new(
        spec: &'a JobSpec,
        log: Arc<RunLog>,
        job: &JobId,
        sink: Sink,
        around: Around,
        trouble: Trouble,
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

impl Context<'_> {
    fn attempts(&mut self, mut stages: Stages, on_started: OnStarted) -> Outcome {
        let mut on_started = Some(on_started);
        let mut attempt = 1;
        let mut last_end = None;
        loop {
            let told = on_started.take().unwrap_or_else(|| Box::new(|_| {}));
            let (end, mut event, interrupted, after) = match self.attempt(&stages, attempt, told) {
                Ok(ended) => {
                    let after = self.snapshot();
                    let (end, event) = self.describe(&ended, attempt);
                    (end, event, ended.interrupted, after)
                }
                Err(error) => {
                    let event = JobEnded {
                        error: Some(error.clone()),
                        ..JobEnded::default()
                    };
                    // An earlier attempt did run: its end is what the caller gets.
                    let end = last_end.take().unwrap_or(End::NotStarted(error));
                    (end, event, true, self.snapshot())
                }
            };
            let failed = event.error.is_some();
            if failed && !interrupted && attempt <= self.spec.retries {
                event.retry_in_ms = Some(millis(self.spec.retry_delay));
                self.retry_later(&stages, &event, &after);
                if let Some(signal) = self.pause() {
                    let event = canceled(attempt, signal);
                    return self.conclude(&stages, End::Canceled(signal), &event);
                }
                attempt += 1;
                last_end = Some(end);
                stages.before = self.snapshot();
                continue;
            }
            return self.conclude_with(&stages, end, &event, &after);
        }
    }

    /// The host and its processes now; the job's tree is that of its supervisor.
    pub(super) fn snapshot(&self) -> Snapshots {
        self.probe.take(Some(std::process::id()), SNAPSHOT_LIMIT)
    }

    fn conclude(&mut self, stages: &Stages, end: End, event: &JobEnded) -> Outcome {
        let after = self.snapshot();
        self.conclude_with(stages, end, event, &after)
    }

    /// Writes the end of the job, rolls it back if that was asked for, and closes the
    /// run if that is due.
    fn conclude_with(
        &mut self,
        stages: &Stages,
        end: End,
        event: &JobEnded,
        after: &Snapshots,
    ) -> Outcome {
        let began = !matches!(end, End::NotStarted(_));
        let rollback = self
            .spec
            .rollback
            .clone()
            .filter(|_| event.error.is_some() && began);
        let close = match rollback {
            Some(_) => Close::No,
            None => closing(self.spec.after),
        };
        if let Some(why) = event.output.as_ref().and_then(|o| o.truncated.as_ref()) {
            (self.trouble)(why);
        }
        let mut unfinished = self.write_last("the end of the job", |view| {
            let ended = view
                .state
                .job(stages.job.as_str())
                .is_some_and(|j| j.stage.is_terminal());
            let drafts = if ended {
                Vec::new()
            } else {
                vec![stages.ended(event, after)?]
            };
            Ok(Batch {
                drafts,
                close: close_if_open(close, view),
            })
        });
        if let Some(command) = rollback {
            unfinished = rollback::roll_back(self, stages, &command).unfinished;
        }
        Outcome {
            end,
            unfinished: unfinished.unwrap_or_default(),
        }
    }

    fn retry_later(&self, stages: &Stages, event: &JobEnded, after: &Snapshots) {
        let written = stages
            .ended(event, after)
            .and_then(|draft| self.log.append(&[draft], Durability::Process));
        if let Err(e) = written {
            (self.trouble)(&format!("a failed attempt is not in the log: {e}"));
        }
    }

    /// A signal that came and asks for the end.
    fn end_asked_for(&self) -> Option<i32> {
        let arrived = std::iter::from_fn(|| self.signals.next());
        arrived
            .map(|a| a.signal)
            .find(|signal| child::asks_for_end(*signal))
    }

    /// Waits for the next attempt; gives the signal that calls it off.
    fn pause(&self) -> Option<i32> {
        let until = Instant::now() + self.spec.retry_delay;
        loop {
            if let Some(signal) = self.end_asked_for() {
                return Some(signal);
            }
            let left = until.checked_duration_since(Instant::now())?;
            child::wait_readable(self.signals.fd(), left);
        }
    }

    /// Runs the command once.
    fn attempt(
        &mut self,
        stages: &Stages,
        attempt: u32,
        on_started: OnStarted,
    ) -> Result<Ended, JobError> {
        let canceled = |e: io::Error| JobError {
            kind: ErrorKind::Canceled,
            message: format!("runlog cannot start the job: {e}"),
        };
        let recorder = Recorder::start(
            Arc::clone(&self.log),
            stages.clone(),
            Arc::clone(&self.probe),
            self.spec.sample,
            on_started,
            Arc::clone(&self.trouble),
        )
        .map_err(canceled)?;
        let program = self.spec.argv.first().cloned().unwrap_or_default();
        let mut command = Command::new(&program);
        command
            .args(self.spec.argv.iter().skip(1))
            .current_dir(&self.spec.cwd);
        command.stdin(if self.spec.detached {
            Stdio::null()
        } else {
            Stdio::inherit()
        });
        let child = match self.spawn(command, PassOn::Apart).map_err(canceled)? {
            Ok(child) => child,
            Err(e) => {
                recorder.finish();
                return Err(spawn_error(&program.to_string_lossy(), &e));
            }
        };
        recorder.started(JobStarted {
            attempt,
            process: liveness::process(child.pid),
        });
        let limit = Limit {
            timeout: self.spec.timeout,
            kill_after: self.spec.kill_after,
        };
        let ended = child.wait(&self.signals, limit);
        self.drain();
        recorder.finish();
        ended.map_err(|e| JobError {
            kind: ErrorKind::Lost,
            message: format!("the end of the job cannot be told: {e}"),
        })
    }

    /// Spawns a command whose output goes where the job's goes. The outer error is
    /// ours, the inner one that of the command.
    pub(super) fn spawn(
        &mut self,
        mut command: Command,
        pass_on: PassOn,
    ) -> io::Result<io::Result<Child>> {
        command.envs(self.spec.env.iter().map(|(k, v)| (k, v)));
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        let mode = self.spec.output;
        let pass_on = if mode.pass_on { pass_on } else { PassOn::No };
        let streams = match (mode.capture, pass_on) {
            (true, _) => {
                let (capture, JobEnds { stdout, stderr }) =
                    Capture::start(&self.sink, pass_on, &self.trouble)?;
                self.captures.push(capture);
                Streams::Given { stdout, stderr }
            }
            (false, PassOn::Apart) => Streams::Inherit,
            (false, PassOn::ToStderr) => {
                let stderr = rustix::stdio::stderr();
                Streams::Given {
                    stdout: stderr.try_clone_to_owned()?,
                    stderr: stderr.try_clone_to_owned()?,
                }
            }
            (false, PassOn::No) => Streams::Given {
                stdout: capture::null()?.into(),
                stderr: capture::null()?.into(),
            },
        };
        let child = Child::spawn(command, streams, &self.signals, self.reach);
        if child.is_err() {
            self.drain();
        }
        Ok(child)
    }

    /// Stores what the job has left in its pipes.
    pub(super) fn drain(&mut self) {
        if let Some(capture) = self.captures.last_mut() {
            capture.drain();
        }
    }

    /// Waits until all output was passed on, unless a signal asks for the end.
    fn pass_on_the_rest(&self) {
        for capture in &self.captures {
            while !child::wait_for_either(&self.signals, capture.ended()) {
                if self.end_asked_for().is_some() {
                    return;
                }
            }
        }
    }

    /// What the log and the caller are told about an attempt.
    pub(super) fn describe(&self, ended: &Ended, attempt: u32) -> (End, JobEnded) {
        let capture = self.spec.output.capture;
        let output = capture.then(|| lock(&self.sink).output());
        describe(ended, attempt, self.spec.timeout, output)
    }

    /// Writes what cannot be written later, trying again where it makes sense. Gives the
    /// jobs that kept the run open; `None` where it is not in the log for certain.
    pub(super) fn write_last(
        &self,
        what: &str,
        mut batch: impl FnMut(&View<'_>) -> Result<Batch, LogError>,
    ) -> Option<Vec<String>> {
        let deadline = Instant::now() + EventType::JobFailed.lock_budget();
        let mut tries = 0;
        loop {
            match self
                .log
                .append_with(Durability::Power, LOCK_LOOK, &mut batch)
            {
                Ok(appended) => return Some(appended.unfinished),
                // Between two looks at the lock, a signal can call the wait off.
                Err(LogError::LockTimeout { .. })
                    if Instant::now() < deadline && self.end_asked_for().is_none() => {}
                Err(
                    LogError::ShortWrite { .. } | LogError::NoSpace { .. } | LogError::Volume(_),
                ) if tries < LAST_TRIES => {
                    tries += 1;
                }
                Err(e @ LogError::NotDurable { .. }) => {
                    (self.trouble)(&format!("{what}: {e}"));
                    return None;
                }
                Err(e) => {
                    (self.trouble)(&format!("{what} is not in the log: {e}"));
                    return None;
                }
            }
        }
    }
}

fn lock(sink: &Mutex<Sink>) -> MutexGuard<'_, Sink> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}
