//! The attempts of a job, from the first start to the end or to the last retry.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::append_terminal::close_policy;
use super::child::{Child, ExitedChild, Program, Timeout};
use super::job_events::{JobEvents, millis};
use super::outcome::{JobEnd, Outcome, canceled, end_from_log, failed_from_log};
use super::recorder::{OnStarted, Recorder, Sampling, StartSync};
use super::rollback;
use super::spawn_error::spawn_error;
use super::supervisor::{SpawnError, Supervisor};
use crate::job::capture::stream::Passthrough;
use crate::job::process::liveness;
use crate::job::process::supervision_page::{Claim, ROLLBACK_STEP};
use crate::job::spec::job_spec::JobSpec;
use crate::job::spec::retry_policy::random_fraction;
use crate::log::format::payload::{ErrorKind, JobEnded, JobError, JobStarted, ProcessRef};
use crate::log::{AppendError, Close, Durability, JobState};
use crate::telemetry::{PendingSnapshots, Snapshots};

/// The job, with the state that its events share.
pub(super) struct Job {
    pub events: JobEvents,
    /// The file that validation found.
    pub program: PathBuf,
}

/// The last attempt of a job.
struct LastAttempt {
    end: JobEnd,
    event: JobEnded,
    /// The snapshots after its end.
    after: Snapshots,
    /// The process to reap.
    claim: Option<Claim>,
}

/// An attempt that a supervisor that died had started.
struct RunningAttempt {
    child: Child,
    /// Whether the start is in the log.
    is_recorded: bool,
}

impl Supervisor<'_> {
    /// Runs a job from its first attempt on.
    pub(super) fn start_job(&mut self, job: Job, on_started: OnStarted) -> Outcome {
        self.attempts(job, JobEnded::default(), None, on_started)
    }

    /// Continues a job that is already in the log.
    pub(super) fn resume_job(
        &mut self,
        job: Job,
        known: &JobState,
        pipes: [Option<OwnedFd>; 2],
        on_started: OnStarted,
    ) -> Outcome {
        self.inherit_pipes(pipes);
        let claimed = self.control.page.claimed();
        if known.stage.is_terminal() {
            return self.resume_end(&job.events, known, claimed);
        }
        let Some(claim) = claimed else {
            return self.attempts(job, JobEnded::default(), None, on_started);
        };
        let recorded = known.attempt == Some(claim.step);
        let ended =
            self.control.page.is_acknowledged(claim.step) || recorded && known.process.is_none();
        if !ended {
            let running = RunningAttempt {
                child: Child { claim },
                is_recorded: recorded,
            };
            let earlier = JobEnded {
                attempt: claim.step - 1,
                ..JobEnded::default()
            };
            return self.attempts(job, earlier, Some(running), on_started);
        }
        // The attempt was to be retried.
        self.control.acknowledge(claim);
        let failed = failed_from_log(known, claim.step);
        self.attempts(job, failed, None, on_started)
    }

    /// Continues after the last event of the job.
    fn resume_end(
        &mut self,
        events: &JobEvents,
        known: &JobState,
        claimed: Option<Claim>,
    ) -> Outcome {
        let end = end_from_log(known);
        if let Some(claim) = claimed.filter(|claim| claim.step != ROLLBACK_STEP) {
            self.control.acknowledge(claim);
        }
        // A later attempt may not have started.
        let has_started =
            claimed.is_some() && (known.attempt.is_some() || !matches!(end, JobEnd::NotStarted(_)));
        let due = known.error.is_some() && has_started;
        let rollback = known.rollback.as_ref().filter(|r| due && !r.ended);
        let unfinished =
            if let (Some(command), Some(rollback)) = (self.spec.rollback.clone(), rollback) {
                let rolled_back = if rollback.started {
                    rollback::resume(self, events, &command)
                } else {
                    rollback::roll_back(self, events, &command)
                };
                rolled_back.unfinished
            } else {
                let close = close_policy(self.spec.after);
                self.append_unwritten("the close of the run", close)
            };
        Outcome {
            end,
            unfinished: unfinished.unwrap_or_default(),
            undelivered_bytes: 0,
        }
    }

    /// Runs the attempts after the one that ended like `earlier`; attempt 0 stands for none.
    fn attempts(
        &mut self,
        mut job: Job,
        mut earlier: JobEnded,
        mut running: Option<RunningAttempt>,
        on_started: OnStarted,
    ) -> Outcome {
        let mut on_started = Some(on_started);
        let mut has_waited = false;
        loop {
            let attempt = earlier.attempt + 1;
            if running.is_none() {
                if let Some(signal) = self.pause(earlier.attempt) {
                    let last = self.canceled_start(earlier, signal);
                    return self.conclude(&job.events, last);
                }
                if has_waited {
                    job.events.before = self.snapshot();
                }
            }
            let started = on_started.take().unwrap_or_else(|| Box::new(|_| {}));
            let (ended, after) = match self.attempt(&job, attempt, running.take(), started) {
                Ok(ran) => ran,
                Err(error) => {
                    let last = self.not_started(earlier, error);
                    return self.conclude(&job.events, last);
                }
            };
            let (end, mut event) = self.describe(&ended, attempt, self.spec.bounds);
            let retries = event.error.is_some()
                && !ended.interrupted
                && self.spec.retry.retries(attempt, &event)
                && !self.control.is_abandoned();
            if !retries {
                let last = LastAttempt {
                    end,
                    event,
                    after,
                    claim: Some(ended.claim),
                };
                return self.conclude(&job.events, last);
            }
            let delay = self.spec.retry.delay_after(attempt, random_fraction());
            self.control.page.record_retry(attempt, delay);
            event.retry_in_ms = Some(millis(delay));
            self.retry_later(&job.events, &event, &after);
            self.control.acknowledge(ended.claim);
            earlier = event;
            has_waited = true;
        }
    }

    /// Returns the end of a job whose next attempt a signal canceled.
    fn canceled_start(&self, earlier: JobEnded, signal: i32) -> LastAttempt {
        let signals = self.control.page.signals.list(earlier.attempt);
        let event = canceled(earlier, signal, &signals);
        let never_started = event.error.clone().filter(|_| event.attempt == 0);
        LastAttempt {
            end: never_started.map_or(JobEnd::Canceled(signal), JobEnd::NotStarted),
            event,
            after: self.snapshot(),
            claim: None,
        }
    }

    /// Returns the end of a job whose next attempt could not be started or awaited.
    fn not_started(&self, earlier: JobEnded, error: JobError) -> LastAttempt {
        LastAttempt {
            end: JobEnd::NotStarted(error.clone()),
            event: JobEnded {
                attempt: earlier.attempt,
                error: Some(error),
                output: earlier.output,
                ..JobEnded::default()
            },
            after: self.snapshot(),
            claim: None,
        }
    }

    /// Writes the end of the job, rolls it back if requested, and closes the run if necessary.
    fn conclude(&mut self, events: &JobEvents, last: LastAttempt) -> Outcome {
        let LastAttempt {
            end,
            event,
            after,
            claim,
        } = last;
        let has_started = event.attempt > 0;
        let rollback = self
            .spec
            .rollback
            .clone()
            .filter(|_| event.error.is_some() && has_started);
        let close = match rollback {
            Some(_) => Close::No,
            None => close_policy(self.spec.after),
        };
        if let Some(why) = event.output.as_ref().and_then(|o| o.truncated.as_ref()) {
            (self.on_warning)(why);
        }
        let ended = events.ended(&event, &after);
        let mut unfinished = self.append_terminal("the end of the job", ended, close);
        self.missing.finish();
        // Reap it only now: until this point, another supervisor could have needed its exit status.
        if let Some(claim) = claim {
            self.control.acknowledge(claim);
        }
        if let Some(command) = rollback {
            unfinished = rollback::roll_back(self, events, &command).unfinished;
        }
        Outcome {
            end,
            unfinished: unfinished.unwrap_or_default(),
            undelivered_bytes: 0,
        }
    }

    fn retry_later(&mut self, events: &JobEvents, event: &JobEnded, after: &Snapshots) {
        let written = events
            .ended(event, after)
            .map_err(AppendError::from)
            .and_then(|draft| {
                self.unwritten.push(draft);
                self.unwritten.append(&self.log, || Durability::Process)
            });
        match written {
            Ok(appended) => {
                if let Some(lost) = appended.lost {
                    (self.on_warning)(&lost.to_string());
                }
            }
            Err(e) => self.missing.report("a failed attempt", &e),
        }
    }

    /// Waits for the attempt after this one, even if another supervisor saw this one fail.
    /// Returns the signal that cancels the next attempt.
    fn pause(&mut self, attempt: u32) -> Option<i32> {
        loop {
            if let Some(signal) = self.control.shutdown_requested() {
                return Some(signal);
            }
            if self.control.is_abandoned() {
                return Some(libc::SIGKILL);
            }
            let left = self.control.page.until_retry(attempt)?;
            self.control.wait(&[], Some(left));
        }
    }

    /// Runs the command once. Also returns the snapshots from right after its end.
    fn attempt(
        &mut self,
        job: &Job,
        attempt: u32,
        running: Option<RunningAttempt>,
        on_started: OnStarted,
    ) -> Result<(ExitedChild, Snapshots), JobError> {
        let sampling = self.spec.sample.map(|interval| Sampling {
            probe: Arc::clone(&self.probe),
            interval,
        });
        let recorder = Recorder::start(
            Arc::clone(&self.log),
            job.events.clone(),
            &mut self.unwritten,
            sampling,
            on_started,
            Arc::clone(&self.on_warning),
            Arc::clone(&self.missing),
        )
        .map_err(|e| cannot_start(&e))?;
        let ran = self.run_attempt(job, attempt, running, &recorder);
        self.unwritten = recorder.finish();
        let (ended, after) = ran?;
        Ok((ended, after.wait()))
    }

    fn run_attempt(
        &mut self,
        job: &Job,
        attempt: u32,
        running: Option<RunningAttempt>,
        recorder: &Recorder,
    ) -> Result<(ExitedChild, PendingSnapshots), JobError> {
        let (child, is_recorded) = if let Some(running) = running {
            self.resume(attempt, Passthrough::Apart)
                .map_err(|e| cannot_start(&e))?;
            (running.child, running.is_recorded)
        } else {
            let program = program(self.spec, &job.program);
            match self.spawn(program, Passthrough::Apart, attempt) {
                Ok(child) => (child, false),
                Err(SpawnError::Setup(e)) => return Err(cannot_start(&e)),
                Err(SpawnError::Command(e)) => {
                    let name = self.spec.argv.first().cloned().unwrap_or_default();
                    let file = self.spec.start_dir().join(&job.program);
                    return Err(spawn_error(&name.to_string_lossy(), &file, &e));
                }
            }
        };
        let pid = child.claim.pid;
        let event = (!is_recorded).then(|| {
            let event = JobStarted {
                attempt,
                process: ProcessRef {
                    shares_group: !self.control.has_own_group(),
                    shares_session: !self.spec.detached,
                    ..liveness::job_process(pid)
                },
            };
            let sync = if self.spec.detached {
                StartSync::AtOnce
            } else {
                StartSync::WithEnd
            };
            (event, sync)
        });
        recorder.started(pid, event);
        let ended = self.wait(child, Timeout::new(self.spec));
        // Snapshots after the end must be later than the start in the log. The recorder may have
        // to wait for a sync at the same time.
        recorder.wait_until_written();
        let after = self.begin_snapshot();
        let ended = ended.map_err(|e| JobError {
            kind: ErrorKind::Lost,
            message: format!("cannot determine how the job ended: {e}"),
        })?;
        Ok((ended, after))
    }
}

fn cannot_start(e: &io::Error) -> JobError {
    JobError {
        kind: ErrorKind::Canceled,
        message: format!("runlog cannot start the job: {e}"),
    }
}

/// Returns the validated file with its original name and its arguments.
pub(crate) fn program(spec: &JobSpec, file: &Path) -> Program {
    let mut command = Command::new(spec.argv.first().unwrap_or(&OsString::new()));
    command.args(spec.argv.iter().skip(1));
    if let Some(dir) = &spec.chdir {
        command.current_dir(dir);
    }
    command.stdin(if spec.detached {
        Stdio::null()
    } else {
        Stdio::inherit()
    });
    Program {
        command,
        file: Some(file.to_owned()),
    }
}
