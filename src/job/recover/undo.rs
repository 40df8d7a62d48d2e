//! Undoing a run later: the compensating commands that its jobs recorded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::job::capture::output_file::OutputFile;
use crate::job::capture::stream::OnWarning;
use crate::job::error::StartError;
use crate::job::process::file_ownership;
use crate::job::spec::job_spec::{AfterJob, Guards, JobSpec, OutputMode};
use crate::job::status::run_status::inspect_run;
use crate::job::supervise::job_events::JobEvents;
use crate::job::supervise::rollback;
use crate::job::supervise::supervisor::{Supervisor, SupervisorEnv};
use crate::log::format::payload::ErrorKind;
use crate::log::{AppendError, JobState, Lease, RunLog, RunStatus, SelectError, StorageError};
use crate::volume::{Dir, JobId, RunId, Volume, layout};

/// From SIGTERM to SIGKILL, should a rollback be stopped.
const KILL_AFTER: Duration = Duration::from_secs(10);

/// What became of one job's rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UndoOutcome {
    /// The job.
    pub job_id: String,
    /// Why it was not undone; `None` where it was.
    pub error: Option<String>,
}

/// Why a run is not undone at all.
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
    /// Trouble before the first command.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A job runs.
    #[error("run {run} is not undone while it runs: {because}")]
    Running {
        /// The run.
        run: RunId,
        /// What that rests on.
        because: String,
    },
    /// It is not known how its jobs ended.
    #[error("run {run} is not undone: {because}")]
    NoEnd {
        /// The run.
        run: RunId,
        /// What that rests on.
        because: String,
    },
    /// Somebody else can have written what would be run.
    #[error("the recorded commands are not run: {why}")]
    Untrusted {
        /// The file or folder, and what is wrong with it.
        why: String,
    },
}

/// Runs the recorded rollbacks of the jobs of a run that has ended, last job first, up to
/// the first that fails. One that was begun and whose end nobody saw is run again only
/// with `force`.
///
/// # Errors
/// Nothing was run.
pub fn undo(
    volume: &Volume,
    run: &RunId,
    dir: &Dir,
    force: bool,
    trouble: &OnWarning,
) -> Result<Vec<UndoOutcome>, UndoError> {
    let examined = inspect_run(dir, true)?;
    let (run_id, because) = (run.clone(), examined.verdict.because);
    match examined.verdict.state {
        RunStatus::Completed | RunStatus::Failed | RunStatus::Open => {}
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
    let due: Vec<_> = examined
        .summary
        .state
        .jobs
        .iter()
        .filter(|job| needs_rollback(job))
        .collect();
    let mut undone = Vec::new();
    if due.is_empty() {
        return Ok(undone);
    }
    let log = Arc::new(RunLog::open(volume, run)?);
    let undoer = RollbackRunner::new(volume, log, dir, trouble)?;
    for job in due.into_iter().rev() {
        let error = undoer.undo(job, None, force)?;
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

/// Whether the job recorded a rollback, may have done something, and was not undone.
pub(crate) fn needs_rollback(job: &JobState) -> bool {
    let lost = |job: &JobState| {
        job.error
            .as_ref()
            .is_some_and(|e| e.kind == ErrorKind::Lost)
    };
    let began = job.attempt.is_some() || lost(job);
    began && job.rollback.as_ref().is_some_and(|r| !r.is_done())
}

/// Runs recorded rollbacks of one run.
pub(crate) struct RollbackRunner<'a> {
    volume: &'a Volume,
    log: Arc<RunLog>,
    dir: &'a Dir,
    trouble: &'a OnWarning,
}

impl<'a> RollbackRunner<'a> {
    /// # Errors
    /// The log may have been written by somebody else.
    pub(crate) fn new(
        volume: &'a Volume,
        log: Arc<RunLog>,
        dir: &'a Dir,
        trouble: &'a OnWarning,
    ) -> Result<Self, UndoError> {
        if let Some(why) = file_ownership::check_ownership(volume, dir)? {
            return Err(UndoError::Untrusted { why });
        }
        Ok(Self {
            volume,
            log,
            dir,
            trouble,
        })
    }

    /// Undoes one job, under its lease. Gives why it was not undone.
    pub(crate) fn undo(
        &self,
        job: &JobState,
        lease: Option<Lease>,
        force: bool,
    ) -> Result<Option<String>, UndoError> {
        let refused = |why: &str| Ok(Some(why.to_owned()));
        let Some(recorded) = &job.rollback else {
            return refused("it recorded no rollback");
        };
        if job.redacted {
            return refused("what it recorded was masked, and is not run");
        }
        let Ok(id) = job.job_id.parse::<JobId>() else {
            return refused("it is a job of another program");
        };
        let Some(cwd) = recorded.cwd.as_deref().map(PathBuf::from) else {
            return refused("its folder is not recorded as text");
        };
        let (jobs, _) = self
            .dir
            .ensure_dir(layout::JOBS)
            .map_err(StorageError::from)?;
        let Some(lease) = lease.map_or_else(|| Lease::hold(&jobs, &id), |l| Ok(Some(l)))? else {
            return refused("another process is at it");
        };
        // Another process may have been at it until now.
        let now = crate::log::fold(self.dir)?;
        let now = now.job(&job.job_id).and_then(|job| job.rollback.as_ref());
        match now {
            Some(now) if now.is_unfinished() && !force => {
                return refused(
                    "it was begun before, and nobody saw its end; look what it did, then use --force",
                );
            }
            Some(now) if now.is_done() => return Ok(None),
            _ => {}
        }
        Ok(self.run(&id, &recorded.command, cwd, lease)?)
    }

    fn run(
        &self,
        job: &JobId,
        command: &str,
        cwd: PathBuf,
        lease: Lease,
    ) -> Result<Option<String>, StartError> {
        let spec = JobSpec {
            argv: Vec::new(),
            cwd,
            env: Vec::new(),
            record_env: false,
            inputs: Vec::new(),
            labels: Vec::new(),
            job_id: Some(job.clone()),
            rollback: None,
            timeout: None,
            kill_after: KILL_AFTER,
            retries: 0,
            retry_delay: Duration::ZERO,
            sample: None,
            guards: Guards::default(),
            // What was to be masked in it is not recorded.
            output: OutputMode {
                capture: false,
                limit: None,
                pass_on: true,
            },
            redactor: None,
            after: AfterJob::StayOpen,
            detached: false,
        };
        let around = SupervisorEnv::take(false, self.volume.path())?;
        let sink = OutputFile::new(lease, None, None, None);
        let log = Arc::clone(&self.log);
        let root = self.volume.path().canonicalize();
        let root = root.unwrap_or_else(|_| self.volume.path().to_owned());
        let env = vec![("RUNLOG_VOLUME", root.into_os_string())];
        let trouble = Arc::clone(self.trouble);
        let mut context = Supervisor::new(&spec, log, job, sink, around, trouble, env);
        let stages = JobEvents {
            run: self.log.run_id().clone(),
            job: job.clone(),
            before: context.snapshot(),
        };
        Ok(rollback::roll_back(&mut context, &stages, command).error)
    }
}
