//! The environment variables that identify a job to its own processes.

use std::ffi::OsStr;

use crate::log::format::payload::EnclosingJob;

/// The environment variable with the id of the run.
pub const RUN_VARIABLE: &str = "RUNLOG_RUN_ID";
/// The environment variable with the id of the job.
pub const JOB_VARIABLE: &str = "RUNLOG_JOB_ID";
/// The environment variable with all jobs that contain a process, outermost first, each as
/// `RUN/JOB`. A nested `runlog` adds its own job, so that the process can be found for each of
/// them.
pub const JOBS_VARIABLE: &str = "RUNLOG_JOBS";

/// The environment variable with the volume of the innermost job.
pub const JOB_VOLUME_VARIABLE: &str = "RUNLOG_JOB_VOLUME";

/// The separator of the entries of [`JOBS_VARIABLE`]. No id contains it.
pub(crate) const JOBS_SEPARATOR: u8 = b':';

/// Returns the jobs in a value of [`JOBS_VARIABLE`], innermost first; `None` for an entry that
/// is not a job.
pub fn enclosing_jobs(jobs: &OsStr) -> impl Iterator<Item = Option<EnclosingJob>> {
    let entries = jobs.to_str().unwrap_or_default();
    entries.rsplit(char::from(JOBS_SEPARATOR)).map(|entry| {
        let (run, job) = entry.split_once('/')?;
        Some(EnclosingJob {
            run_id: run.parse().ok()?,
            job_id: job.parse().ok()?,
        })
    })
}

/// Returns the entry of a job in [`JOBS_VARIABLE`].
pub(crate) fn jobs_entry(run: &str, job: &str) -> String {
    format!("{run}/{job}")
}
