//! Rolling back a run later, with the rollback commands that its jobs recorded.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::deferred_command;
use super::in_doubt::{InDoubt, UncertainLog};
use crate::job::capture::stream::OnWarning;
use crate::job::error::StartError;
use crate::job::process::file_ownership::{UntrustedLog, check_ownership};
use crate::job::spec::job_spec::Hooks;
use crate::job::status::run_status::inspect_run;
use crate::job::supervise::rollback;
use crate::log::{
    AppendError, JobScope, JobState, Lease, RunLog, RunStatus, SelectError, StorageError,
};
use crate::volume::{Dir, JobId, RunId, Volume, layout};

/// The outcome of one job's rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UndoOutcome {
    /// The job.
    pub job_id: JobId,
    /// Why the job was not undone; `None` if it was.
    pub error: Option<String>,
}

/// An error that prevents a rollback of the run.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// A file or directory of the run cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The events of the recovery were not appended.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The run cannot be opened.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The first command cannot be prepared.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Damage hides events of the run.
    #[error(transparent)]
    Uncertain(#[from] UncertainLog),
    /// A job is running.
    #[error("cannot undo run `{run}` while it is running: {because}")]
    Running {
        /// The run.
        run: RunId,
        /// The reason for that state.
        because: String,
    },
    /// It is unknown how its jobs ended.
    #[error("cannot undo run `{run}`: {because}")]
    NoEnd {
        /// The run.
        run: RunId,
        /// The reason for that state.
        because: String,
    },
    /// Another user may have written the recorded commands.
    #[error(transparent)]
    Untrusted(#[from] UntrustedLog),
}

/// Runs the recorded rollbacks of the jobs of a run that has ended, last job first, up to the
/// first failure.
///
/// # Errors
/// Nothing was run.
pub fn undo(
    volume: &Volume,
    run: &RunId,
    dir: &Dir,
    in_doubt: InDoubt,
    on_warning: &OnWarning,
) -> Result<Vec<UndoOutcome>, UndoError> {
    let due = jobs_to_undo(run, dir, in_doubt)?;
    let mut undone = Vec::new();
    if due.is_empty() {
        return Ok(undone);
    }
    let log = Arc::new(RunLog::open_in(volume, run, dir)?);
    let runner = RollbackRunner::new(volume, log, dir, on_warning)?;
    for job in due {
        let error = runner.undo_job(&job, in_doubt)?;
        let failed = error.is_some();
        undone.push(UndoOutcome {
            job_id: job.job_id.clone(),
            error,
        });
        if failed {
            break;
        }
    }
    Ok(undone)
}

/// A rollback that [`undo`] would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedUndo {
    /// The job.
    pub job_id: JobId,
    /// The recorded command.
    pub command: String,
}

/// Returns the rollbacks that [`undo`] would run, in their order.
///
/// # Errors
/// The run cannot be undone.
pub fn plan_undo(run: &RunId, dir: &Dir, in_doubt: InDoubt) -> Result<Vec<PlannedUndo>, UndoError> {
    let due = jobs_to_undo(run, dir, in_doubt)?.into_iter();
    let planned = due.filter_map(|job| {
        Some(PlannedUndo {
            command: job.rollback?.command,
            job_id: job.job_id,
        })
    });
    Ok(planned.collect())
}

/// Returns the jobs that need a rollback in a run that has ended, last job first.
fn jobs_to_undo(run: &RunId, dir: &Dir, in_doubt: InDoubt) -> Result<Vec<JobState>, UndoError> {
    let inspected = inspect_run(dir, JobScope::All)?;
    if inspected.summary.is_uncertain {
        in_doubt.allow_uncertain(run)?;
    }
    let (run_id, because) = (run.clone(), inspected.verdict.because);
    match inspected.verdict.state {
        RunStatus::Pending | RunStatus::Completed | RunStatus::Failed | RunStatus::Open => {}
        RunStatus::Running => {
            return Err(UndoError::Running {
                run: run_id,
                because,
            });
        }
        RunStatus::Lost | RunStatus::Unknown => {
            return Err(UndoError::NoEnd {
                run: run_id,
                because,
            });
        }
    }
    let mut jobs = inspected.summary.state.jobs;
    jobs.retain(needs_rollback);
    jobs.reverse();
    Ok(jobs)
}

/// Returns whether the job recorded a rollback, may have had an effect, and has not been rolled
/// back.
pub(crate) fn needs_rollback(job: &JobState) -> bool {
    let may_have_started = job.attempt.is_some() || job.is_lost();
    may_have_started && job.rollback.as_ref().is_some_and(|r| !r.is_done())
}

/// A runner for the recorded rollbacks of one run.
pub(crate) struct RollbackRunner<'a> {
    volume: &'a Volume,
    log: Arc<RunLog>,
    dir: &'a Dir,
    on_warning: &'a OnWarning,
}

impl<'a> RollbackRunner<'a> {
    /// Creates a runner for the run in `dir`.
    ///
    /// # Errors
    /// Another user may have written the log.
    pub(crate) fn new(
        volume: &'a Volume,
        log: Arc<RunLog>,
        dir: &'a Dir,
        on_warning: &'a OnWarning,
    ) -> Result<Self, UndoError> {
        if let Some(untrusted) = check_ownership(volume, log.run_id(), dir)? {
            return Err(untrusted.into());
        }
        Ok(Self {
            volume,
            log,
            dir,
            on_warning,
        })
    }

    /// Rolls back one job while holding its lease. Returns why it was not rolled back; `None` if
    /// it was.
    pub(crate) fn undo_job(
        &self,
        job: &JobState,
        in_doubt: InDoubt,
    ) -> Result<Option<String>, UndoError> {
        let refused = |why: &str| Ok(Some(why.to_owned()));
        let Some(recorded) = &job.rollback else {
            return refused("it recorded no rollback");
        };
        if job.redacted {
            return refused("its recorded command contains masked secrets and cannot be run");
        }
        let id = &job.job_id;
        let Some(cwd) = recorded.cwd.as_deref().map(PathBuf::from) else {
            return refused("its working directory was not recorded as text");
        };
        let jobs = self
            .dir
            .ensure_dir(layout::JOBS)
            .map_err(StorageError::from)?
            .dir;
        let Some(lease) = Lease::hold(&jobs, id)? else {
            return refused("another process is rolling it back");
        };
        // Another process may have rolled the job back in the meantime, or a job may have joined
        // the run.
        let (fold, _) = crate::log::fold_to_end(self.dir)?;
        if fold.is_uncertain() {
            in_doubt.allow_uncertain(self.log.run_id())?;
        }
        let now = fold.state;
        if let Some(running) = now.unfinished().next() {
            return refused(&format!("job {} of the run is running", running.job_id));
        }
        let now = now.job(id.as_str()).and_then(|job| job.rollback.as_ref());
        match now {
            Some(now) if now.is_unfinished() && in_doubt == InDoubt::Refuse => {
                return refused(
                    "its rollback was started before and was interrupted; check what it did, \
                     then use --force",
                );
            }
            Some(now) if now.is_done() => return Ok(None),
            _ => {}
        }
        Ok(self.run(id, &recorded.command, cwd, lease)?)
    }

    fn run(
        &self,
        job: &JobId,
        command: &str,
        cwd: PathBuf,
        lease: Lease,
    ) -> Result<Option<String>, StartError> {
        let spec = deferred_command::spec(job, Some(cwd), Hooks::default());
        let (mut supervisor, events) = deferred_command::supervisor(
            &spec,
            self.volume,
            &self.log,
            (job, lease),
            self.on_warning,
        )?;
        let done = rollback::roll_back(&mut supervisor, &events, command);
        let is_recorded = done.unfinished.is_some();
        let unrecorded = || "it was run, but its end is not in the log".to_owned();
        Ok(done.error.or_else(|| (!is_recorded).then(unrecorded)))
    }
}
