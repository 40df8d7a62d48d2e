//! The environment variables that identify a job to its own processes.

/// The environment variable with the id of the run.
pub const RUN_VARIABLE: &str = "RUNLOG_RUN_ID";
/// The environment variable with the id of the job.
pub const JOB_VARIABLE: &str = "RUNLOG_JOB_ID";
