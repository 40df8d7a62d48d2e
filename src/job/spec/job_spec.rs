//! What is to be run, and how: checked values, made by the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::job::redact::masker::Redactor;
use crate::volume::JobId;

/// Tells a job its run, in its environment.
pub const RUN_VARIABLE: &str = "RUNLOG_RUN_ID";
/// Tells a job its own id.
pub const JOB_VARIABLE: &str = "RUNLOG_JOB_ID";

/// One wrapped command.
#[derive(Debug)]
pub struct JobSpec {
    /// Program and arguments; never empty.
    pub argv: Vec<OsString>,
    /// The folder to run in.
    pub cwd: PathBuf,
    /// Variables that are set for the job.
    pub env: Vec<(String, String)>,
    /// Whether the values of `env` are recorded, not only the names.
    pub record_env: bool,
    /// Recorded with the job.
    pub inputs: Vec<(String, String)>,
    /// Recorded with the job.
    pub labels: Vec<(String, String)>,
    /// The id to use; else one is made from the program's name.
    pub job_id: Option<JobId>,
    /// The compensating command.
    pub rollback: Option<String>,
    /// Limit of each attempt.
    pub timeout: Option<Duration>,
    /// From SIGTERM to SIGKILL after a time-out.
    pub kill_after: Duration,
    /// How often a failed attempt is tried again.
    pub retries: u32,
    /// Pause before the next attempt.
    pub retry_delay: Duration,
    /// Interval of `job_sampled`.
    pub sample: Option<Duration>,
    /// What must hold before the start.
    pub guards: Guards,
    /// What becomes of the output.
    pub output: OutputMode,
    /// What is masked.
    pub redactor: Option<Redactor>,
    /// How the run goes on after the job.
    pub after: AfterJob,
    /// The job has left the terminal.
    pub detached: bool,
}

impl JobSpec {
    /// The text with what is to be masked masked.
    pub fn masked(&self, text: &str) -> String {
        match &self.redactor {
            Some(redactor) => redactor.mask_str(text).into_owned(),
            None => text.to_owned(),
        }
    }
}

/// What must hold before the start.
#[derive(Debug, Default)]
pub struct Guards {
    /// Free on the volume's file system, in bytes.
    pub free_disk_bytes: Option<u64>,
    /// Available memory, in bytes.
    pub free_mem_bytes: Option<u64>,
    /// Highest load average of the last minute.
    pub max_load: Option<f64>,
}

/// What becomes of the output.
#[derive(Debug, Clone, Copy)]
pub struct OutputMode {
    /// Whether it goes into `jobs/<job_id>.out`.
    pub capture: bool,
    /// Most bytes that are captured.
    pub limit: Option<u64>,
    /// Whether it is passed on to our own stdout and stderr.
    pub pass_on: bool,
}

/// How the run goes on after the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterJob {
    /// The run was made for this job: it is closed with it.
    CloseOwn,
    /// Closed, unless another job goes on.
    CloseIfLast,
    /// It stays open for more.
    StayOpen,
}
