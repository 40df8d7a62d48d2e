//! A job from its submission to its end.

use std::ffi::OsString;
use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::child::{ExitedChild, Timeout};
use super::job_events::{JobEvents, millis};
use super::outcome::{JobEnd, Outcome, canceled, spawn_error};
use super::recorder::{OnStarted, Recorder};
use super::rollback;
use super::submit::Submission;
use super::supervisor::{Supervisor, SupervisorEnv, close_if_open, close_policy};
use crate::job::capture::stream::{OnWarning, Passthrough};
use crate::job::error::StartError;
use crate::job::process::liveness;
use crate::job::process::poll::wait_readable;
use crate::job::spec::job_spec::JobSpec;
use crate::job::spec::validate::validate;
use crate::log::format::payload::{ErrorKind, JobEnded, JobError, JobStarted, RunOpened};
use crate::log::{AppendError, Batch, Close, Durability, RunLog};
use crate::telemetry::{PendingSnapshots, Snapshots};
use crate::volume::{JobId, Volume, error_chain};

/// Stages that are further apart do not share their snapshots.
const RECENT_EXIT: Duration = Duration::from_millis(100);

/// What supervises a job that is about to be submitted, and the first look at the machine,
/// which is taken while its run is made.
#[derive(Debug)]
pub struct Prepared {
    around: SupervisorEnv,
    before: PendingSnapshots,
    begun: Instant,
}

/// Takes over the signals, and begins to look at the machine.
///
/// # Errors
/// The operating system refuses.
pub fn prepare(spec: &JobSpec, volume: &Volume) -> Result<Prepared, StartError> {
    let around = SupervisorEnv::take(spec.detached, volume.path())?;
    Ok(Prepared {
        before: around.begin_snapshot(),
        begun: Instant::now(),
        around,
    })
}

/// What a job needs besides its specification.
pub struct Setup<'a> {
    /// Made before the log.
    pub prepared: Prepared,
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
    pub trouble: OnWarning,
    /// Told once the job's submission is durable, before it starts.
    pub on_submitted: Box<dyn FnOnce(&JobId)>,
    /// Told once its start is durable, or why it is not.
    pub on_started: OnStarted,
}

/// Runs a job: submits, validates, starts, supervises and ends it.
///
/// # Errors
/// The job could not be submitted, and did not start. Trouble with the log after the
/// start is told to `setup.trouble` and does not concern the job.
pub fn run_job(spec: &JobSpec, setup: Setup<'_>) -> Result<Outcome, StartError> {
    let volume = setup.volume.path();
    let validated = validate(spec, volume, setup.path_variable.as_deref());
    let Prepared {
        around,
        mut before,
        mut begun,
    } = setup.prepared;
    if begun.elapsed() > RECENT_EXIT {
        before = around.begin_snapshot();
        begun = Instant::now();
    }
    let before = before.wait();

    let log = setup.log;
    let submission = Submission {
        spec,
        opening: setup.opening,
        before,
        validated: &validated,
    };
    let (mut stages, sink) = submission.submit(&log)?;
    (setup.on_submitted)(&stages.job);

    let mut context = Supervisor::new(
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
            end: JobEnd::NotStarted(error),
            unfinished: Vec::new(),
        });
    }
    // The submission may have waited for a lock or a slow disk. The other half is for the
    // spawn.
    if begun.elapsed() > RECENT_EXIT / 2 {
        stages.before = context.snapshot();
    }
    let outcome = context.attempts(stages, setup.on_started);
    context.drain_passthrough();
    Ok(outcome)
}

impl Supervisor<'_> {
    fn attempts(&mut self, mut stages: JobEvents, on_started: OnStarted) -> Outcome {
        let mut on_started = Some(on_started);
        let mut attempt = 1;
        let mut last_end = None;
        loop {
            let told = on_started.take().unwrap_or_else(|| Box::new(|_| {}));
            let (end, mut event, interrupted, after) = match self.attempt(&stages, attempt, told) {
                Ok((ended, after)) => {
                    let (end, event) = self.describe(&ended, attempt);
                    (end, event, ended.interrupted, after)
                }
                Err(error) => {
                    let event = JobEnded {
                        error: Some(error.clone()),
                        ..JobEnded::default()
                    };
                    // An earlier attempt did run: its end is what the caller gets.
                    let end = last_end.take().unwrap_or(JobEnd::NotStarted(error));
                    (end, event, true, self.snapshot())
                }
            };
            let failed = event.error.is_some();
            if failed && !interrupted && attempt <= self.spec.retries {
                event.retry_in_ms = Some(millis(self.spec.retry_delay));
                self.retry_later(&stages, &event, &after);
                if let Some(signal) = self.pause() {
                    let event = canceled(attempt, signal);
                    return self.conclude(&stages, JobEnd::Canceled(signal), &event);
                }
                attempt += 1;
                last_end = Some(end);
                stages.before = self.snapshot();
                continue;
            }
            return self.conclude_with(&stages, end, &event, &after);
        }
    }

    fn conclude(&mut self, stages: &JobEvents, end: JobEnd, event: &JobEnded) -> Outcome {
        let after = self.snapshot();
        self.conclude_with(stages, end, event, &after)
    }

    /// Writes the end of the job, rolls it back if that was asked for, and closes the
    /// run if that is due.
    fn conclude_with(
        &mut self,
        stages: &JobEvents,
        end: JobEnd,
        event: &JobEnded,
        after: &Snapshots,
    ) -> Outcome {
        let began = !matches!(end, JobEnd::NotStarted(_));
        let rollback = self
            .spec
            .rollback
            .clone()
            .filter(|_| event.error.is_some() && began);
        let close = match rollback {
            Some(_) => Close::No,
            None => close_policy(self.spec.after),
        };
        if let Some(why) = event.output.as_ref().and_then(|o| o.truncated.as_ref()) {
            (self.trouble)(why);
        }
        let mut unfinished = self.append_terminal("the end of the job", |view| {
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

    fn retry_later(&self, stages: &JobEvents, event: &JobEnded, after: &Snapshots) {
        let written = stages
            .ended(event, after)
            .map_err(AppendError::from)
            .and_then(|draft| self.log.append(&[draft], Durability::Process));
        if let Err(e) = written {
            (self.trouble)(&format!(
                "a failed attempt is not in the log: {}",
                error_chain(&e)
            ));
        }
    }

    /// Waits for the next attempt; gives the signal that calls it off.
    fn pause(&self) -> Option<i32> {
        let until = Instant::now() + self.spec.retry_delay;
        loop {
            if let Some(signal) = self.shutdown_requested() {
                return Some(signal);
            }
            let left = until.checked_duration_since(Instant::now())?;
            wait_readable(self.signals.fd(), left);
        }
    }

    /// Runs the command once; also tells what the machine was like right after its end.
    fn attempt(
        &mut self,
        stages: &JobEvents,
        attempt: u32,
        on_started: OnStarted,
    ) -> Result<(ExitedChild, Snapshots), JobError> {
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
        let child = match self.spawn(command, Passthrough::Apart).map_err(canceled)? {
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
        let limit = Timeout {
            timeout: self.spec.timeout,
            kill_after: self.spec.kill_after,
        };
        let ended = self.wait(&child, limit);
        // What is taken after the end is told to be later than the start. The recorder may
        // have a sync to wait for beside it.
        recorder.wait_until_written();
        let after = self.begin_snapshot();
        recorder.finish();
        let ended = ended.map_err(|e| JobError {
            kind: ErrorKind::Lost,
            message: format!("the end of the job cannot be told: {e}"),
        })?;
        Ok((ended, after.wait()))
    }
}
