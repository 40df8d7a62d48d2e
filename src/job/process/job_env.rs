//! The environment variables that identify a job to its own processes.

use std::ffi::OsStr;

use crate::log::format::payload::EnclosingJob;

/// The environment variable with the id of the run.
pub const RUN_VARIABLE: &str = "RUNLOG_RUN_ID";
/// The environment variable with the id of the job.
pub const JOB_VARIABLE: &str = "RUNLOG_JOB_ID";
/// The environment variable with all jobs that a process is part of, outermost first, each as
/// `RUN/JOB`. A nested `runlog` adds its own, so that a process can be found by every job above
/// it.
pub const JOBS_VARIABLE: &str = "RUNLOG_JOBS";

/// The separator of the entries of [`JOBS_VARIABLE`]. No id contains it.
pub(crate) const JOBS_SEPARATOR: u8 = b':';

/// Returns the innermost job in a value of [`JOBS_VARIABLE`].
pub fn enclosing_job(jobs: &OsStr) -> Option<EnclosingJob> {
    let entry = jobs.to_str()?.rsplit(char::from(JOBS_SEPARATOR)).next()?;
    let (run, job) = entry.split_once('/')?;
    Some(EnclosingJob {
        run_id: run.parse().ok()?,
        job_id: job.parse().ok()?,
    })
}

/// Returns the entry of a job in [`JOBS_VARIABLE`].
pub(crate) fn jobs_entry(run: &str, job: &str) -> String {
    format!("{run}/{job}")
}
