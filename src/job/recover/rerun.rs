//! Selects the recorded jobs to run again, and checks whether that is possible.

use super::recorded_job::recorded_jobs;
use crate::job::process::file_ownership::{UntrustedLog, check_ownership};
use crate::job::process::job_processes::JobProcesses;
use crate::job::process::liveness;
use crate::job::process::process_scan::ProcessScan;
use crate::job::spec::job_spec::RerunOf;
use crate::job::status::run_status::{InspectedRun, probe_lease};
use crate::log::format::payload::{JobRerun, JobSubmitted};
use crate::log::{
    AppendError, Draft, Durability, JobState, LeaseState, RunLog, SelectError, SelectedRun, Stage,
    StorageError,
};
use crate::volume::{Dir, JobId, RunId, Volume};

/// The jobs of a run to run again.
#[derive(Debug, Clone, Copy)]
pub enum RerunJobs<'a> {
    /// The only job.
    Only,
    /// The job with this id.
    Named(&'a JobId),
    /// All failed jobs, in the order of submission.
    Failed,
}

/// What to do with a job that may still be running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunningJob {
    /// Do not run it again.
    Refuse,
    /// Run it again, although the first one may continue.
    RunBeside,
}

/// A job to run again.
#[derive(Debug)]
pub struct RecordedJob {
    /// The job.
    pub job_id: JobId,
    /// The record of the job.
    pub submitted: JobSubmitted,
}

/// The reason that no job runs again.
#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    /// The log cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Another user may have written the recorded command.
    #[error(transparent)]
    Untrusted(#[from] UntrustedLog),
    /// The run has no job.
    #[error("run `{run}` has no job")]
    NoJob {
        /// The run.
        run: RunId,
    },
    /// The run has no such job.
    #[error("run `{run}` has no job `{job}`; it has {jobs}")]
    NoSuchJob {
        /// The run.
        run: RunId,
        /// The job.
        job: JobId,
        /// The jobs that it has.
        jobs: String,
    },
    /// The run has several jobs.
    #[error("run `{run}` has several jobs: {jobs}")]
    SeveralJobs {
        /// The run.
        run: RunId,
        /// The jobs.
        jobs: String,
    },
    /// No job of the run failed.
    #[error("run `{run}` has no failed job")]
    NoFailedJob {
        /// The run.
        run: RunId,
    },
    /// The log does not say what the job ran.
    #[error("the log of run `{run}` does not say what job `{job}` ran: {why}")]
    NotRecorded {
        /// The run.
        run: RunId,
        /// The job.
        job: JobId,
        /// The reason.
        why: &'static str,
    },
    /// Masking changed the record.
    #[error("the record of job `{job}` in run `{run}` contains masked secrets and cannot be run")]
    Masked {
        /// The run.
        run: RunId,
        /// The job.
        job: JobId,
    },
    /// The job may be running.
    #[error("job `{job}` of run `{run}` may still be running: {why}")]
    Running {
        /// The run.
        run: RunId,
        /// The job.
        job: JobId,
        /// The evidence.
        why: String,
    },
}

/// The maximum number of jobs that an error names.
const MAX_NAMED_JOBS: usize = 10;

/// Returns the records of the jobs of a run.
///
/// # Errors
/// At least one of them cannot be run again.
pub fn jobs_to_rerun(
    volume: &Volume,
    found: &SelectedRun,
    inspected: &InspectedRun,
    which: RerunJobs<'_>,
    running: RunningJob,
) -> Result<Vec<RecordedJob>, RerunError> {
    let SelectedRun { run, dir, .. } = found;
    let jobs = select_jobs(run, &inspected.summary.state.jobs, which)?;
    if let Some(untrusted) = check_ownership(volume, run, dir)? {
        return Err(untrusted.into());
    }
    let not_recorded = |job: &JobId, why| RerunError::NotRecorded {
        run: run.clone(),
        job: job.clone(),
        why,
    };
    let scan = ProcessScan::default();
    let mut ids = Vec::new();
    for state in jobs {
        if state.foreign {
            let why = "another program wrote it, and does not record commands";
            return Err(not_recorded(&state.job_id, why));
        }
        if running == RunningJob::Refuse
            && let Some(why) = why_running(&scan, dir, state)
        {
            return Err(RerunError::Running {
                run: run.clone(),
                job: state.job_id.clone(),
                why,
            });
        }
        ids.push(state.job_id.clone());
    }
    let mut recorded = recorded_jobs(dir, &ids)?;
    let take = |job_id: JobId| {
        let Some(submitted) = recorded.remove(&job_id) else {
            let why = "that event is damaged, or was removed with its segment";
            return Err(not_recorded(&job_id, why));
        };
        if submitted.recorded_argv().is_none() {
            return Err(not_recorded(&job_id, "it has too many arguments"));
        }
        let hooks = submitted.hooks.as_ref();
        if submitted.redacted
            || submitted.has_unknown_references()
            || hooks.is_some_and(|hooks| hooks.redacted)
        {
            return Err(RerunError::Masked {
                run: run.clone(),
                job: job_id,
            });
        }
        Ok(RecordedJob { job_id, submitted })
    };
    ids.into_iter().map(take).collect()
}

fn select_jobs<'a>(
    run: &RunId,
    jobs: &'a [JobState],
    which: RerunJobs<'_>,
) -> Result<Vec<&'a JobState>, RerunError> {
    let run = run.clone();
    match which {
        _ if jobs.is_empty() => Err(RerunError::NoJob { run }),
        RerunJobs::Only => match jobs {
            [job] => Ok(vec![job]),
            _ => Err(RerunError::SeveralJobs {
                run,
                jobs: names(jobs),
            }),
        },
        RerunJobs::Named(id) => {
            let found = jobs.iter().find(|job| job.job_id == *id);
            found
                .map(|job| vec![job])
                .ok_or_else(|| RerunError::NoSuchJob {
                    run,
                    job: id.clone(),
                    jobs: names(jobs),
                })
        }
        RerunJobs::Failed => {
            let failed: Vec<_> = jobs.iter().filter(|job| has_failed(job)).collect();
            if failed.is_empty() {
                return Err(RerunError::NoFailedJob { run });
            }
            Ok(failed)
        }
    }
}

/// Returns whether a job failed or may be lost; whether it is dead is checked later.
fn has_failed(job: &JobState) -> bool {
    job.stage != Stage::Completed && job.error.is_some() || !job.stage.is_terminal()
}

fn names(jobs: &[JobState]) -> String {
    let named = jobs.iter().take(MAX_NAMED_JOBS);
    let named: Vec<_> = named.map(|job| job.job_id.as_str()).collect();
    let named = named.join(", ");
    match jobs.len().saturating_sub(MAX_NAMED_JOBS) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Returns why a job may still be running; `None` if it has ended or is dead.
fn why_running(scan: &ProcessScan, dir: &Dir, job: &JobState) -> Option<String> {
    if job.stage.is_terminal() {
        return None;
    }
    match probe_lease(dir, job) {
        Ok(LeaseState::Held) => return Some("its supervisor is alive".to_owned()),
        Ok(LeaseState::Missing) if liveness::same_boot(job) => {
            return Some("its lease file was removed".to_owned());
        }
        Ok(_) => {}
        Err(e) => return Some(format!("its lease cannot be probed: {e}")),
    }
    let processes = JobProcesses::find(scan, dir, job);
    (!processes.are_dead()).then(|| processes.to_string())
}

/// Records in the run of a job that the job runs again.
///
/// # Errors
/// The run was removed, or the event cannot be appended.
pub fn record_rerun(
    volume: &Volume,
    of: &RerunOf,
    run: &RunId,
    job: &JobId,
) -> Result<(), RecordRerunError> {
    let log = RunLog::open(volume, &of.run_id)?;
    let event = JobRerun {
        rerun_by: run.clone(),
        rerun_by_job: job.clone(),
    };
    let draft = Draft::new(&of.run_id, Some(&of.job_id), &event).map_err(AppendError::from)?;
    log.append(&[draft], Durability::Power)?;
    Ok(())
}

/// The reason that a rerun is not in the log of the run that recorded the job.
#[derive(Debug, thiserror::Error)]
pub enum RecordRerunError {
    /// The run cannot be opened.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The event was not appended.
    #[error(transparent)]
    Append(#[from] AppendError),
}
