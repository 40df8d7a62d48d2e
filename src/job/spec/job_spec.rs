//! The description of a job: validated values from the command line.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::stream_plan::{OutputDelivery, StreamPlan};
use crate::job::redact::redaction::Redaction;
use crate::job::redact::redactor::Redactor;
use crate::job::spec::retry_policy::RetryPolicy;
use crate::log::TraceContext;
use crate::log::format::payload::{ErrorKind, JobError};
use crate::telemetry::Dependency;
use crate::volume::{JobId, LockName, RunId};

/// The default time from SIGTERM to SIGKILL.
pub const DEFAULT_KILL_AFTER: Duration = Duration::from_secs(10);

/// A wrapped command.
#[derive(Debug)]
pub struct JobSpec {
    /// Program and arguments; never empty.
    pub argv: Vec<OsString>,
    /// The directory that the job runs in, as recorded in the log.
    pub cwd: PathBuf,
    /// The directory to enter before the start. Without it, the job inherits the working
    /// directory, whose path may not be accessible to the user.
    pub chdir: Option<PathBuf>,
    /// The environment variables to set for the job.
    pub env: Vec<(String, String)>,
    /// Whether to record the values of `env`, not only the names.
    pub record_env: bool,
    /// The inputs to record with the job.
    pub inputs: Vec<(String, String)>,
    /// The labels to record with the job.
    pub labels: Vec<(String, String)>,
    /// The id to use. Without one, it is derived from the program's name.
    pub job_id: Option<JobId>,
    /// The lock that allows one run at a time.
    pub lock: Option<HeldLock>,
    /// The rollback command.
    pub rollback: Option<String>,
    /// The commands to run after the job has ended.
    pub hooks: Hooks,
    /// The maximum duration of each attempt.
    pub timeout: Option<Duration>,
    /// The limits for the duration of a successful attempt. Outside of them, it counts as
    /// failed.
    pub bounds: DurationBounds,
    /// The time from SIGTERM to SIGKILL. If given, it also applies to signals that are passed
    /// on.
    pub kill_after: Option<Duration>,
    /// Which failed attempts to retry, and when.
    pub retry: RetryPolicy,
    /// The interval of `job_sampled`.
    pub sample: Option<Duration>,
    /// The conditions for starting the job.
    pub guards: Guards,
    /// The dependencies of the job.
    pub dependencies: Vec<Dependency>,
    /// The names of the dependencies that must be available before the start.
    pub require: Vec<String>,
    /// How the output is handled.
    pub output: OutputMode,
    /// The secrets to mask.
    pub redaction: Redaction,
    /// The recorded job that this one runs again.
    pub rerun_of: Option<RerunOf>,
    /// The span of the job, and of its run if that is new, in the caller's trace.
    pub trace: Option<JobTrace>,
    /// The fate of the run after the job.
    pub after: AfterJob,
    /// Whether the job is detached from the terminal.
    pub detached: bool,
    /// Whether the command runs even if no log can be written.
    pub log_optional: bool,
}

impl JobSpec {
    /// Returns the redactor for everything that is shown to runlog's caller, if secrets are
    /// masked there.
    pub(crate) fn shown_redactor(&self) -> Option<&Redactor> {
        let masked = self.output.redact_passed_on;
        self.redaction.all().filter(|_| masked)
    }

    /// Returns a message in the form that is shown to runlog's caller.
    pub fn shown<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.shown_redactor()
            .map_or(text.into(), |redactor| redactor.mask_str(text))
    }

    /// Returns the redactor for passed-on output, if secrets are masked there.
    pub(crate) fn passed_on_redactor(&self) -> Option<&Redactor> {
        self.shown_redactor().filter(|_| self.output.pass_on)
    }

    /// Returns whether runlog reads the output of the job, instead of leaving it to the job's
    /// own streams.
    pub fn reads_output(&self) -> bool {
        let masks = self.passed_on_redactor().is_some();
        self.output.capture || masks || self.output.streams.forced
    }

    /// Returns the directory to start the job in, relative to runlog's own.
    pub(crate) fn start_dir(&self) -> &Path {
        self.chdir.as_deref().unwrap_or(Path::new("."))
    }

    /// Returns a text in its recorded form.
    pub fn masked(&self, text: &str) -> String {
        self.redaction.mask(text).into_owned()
    }

    /// Returns a shell command in its recorded form.
    pub fn masked_command(&self, command: &str) -> String {
        let command = self.redaction.reference_shell_command(command);
        self.redaction.mask(&command.text).into_owned()
    }
}

/// The limits for the duration of a successful attempt. One that takes less or more counts as
/// failed.
#[derive(Debug, Clone, Copy, Default)]
pub struct DurationBounds {
    /// The minimum.
    pub min: Option<Duration>,
    /// The maximum.
    pub max: Option<Duration>,
}

impl DurationBounds {
    /// Returns the problem with the duration of a successful attempt, if any.
    pub(crate) fn violation(&self, took: Duration) -> Option<JobError> {
        let (than, limit, flag) = if let Some(min) = self.min.filter(|min| took < *min) {
            ("less", min, "shorter")
        } else {
            ("more", self.max.filter(|max| took > *max)?, "longer")
        };
        let (took, limit) = (took.as_millis() as f64 / 1e3, limit.as_secs_f64());
        let message = format!(
            "the command exited with 0, but took {took} s, {than} than {limit} s (--fail-if-{flag})"
        );
        Some(JobError {
            kind: ErrorKind::Validation,
            message,
        })
    }
}

/// The span of a job in a distributed trace.
#[derive(Debug)]
pub struct JobTrace {
    /// The span of the run, if the job opens it.
    pub run: TraceContext,
    /// The span of the job.
    pub job: TraceContext,
}

/// Commands that run after a job has ended.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// The command to run after the job completed.
    pub on_success: Option<String>,
    /// The command to run after the job failed.
    pub on_failure: Option<String>,
    /// The command to run after either outcome.
    pub on_end: Option<String>,
    /// Whether and when their output goes to runlog's stderr.
    pub delivery: OutputDelivery,
}

impl Hooks {
    /// Returns whether there are no hooks.
    pub(crate) fn is_empty(&self) -> bool {
        [&self.on_success, &self.on_failure, &self.on_end]
            .iter()
            .all(|command| command.is_none())
    }
}

/// A recorded job that is run again.
#[derive(Debug, Clone)]
pub struct RerunOf {
    /// The run that recorded it.
    pub run_id: RunId,
    /// The job.
    pub job_id: JobId,
}

/// A lock that is held for the job.
#[derive(Debug, Clone)]
pub struct HeldLock {
    /// The name.
    pub name: LockName,
    /// The runs that were stopped for it.
    pub replaced: Vec<RunId>,
}

/// The conditions for starting a job.
#[derive(Debug, Default)]
pub struct Guards {
    /// The minimum free space on the volume's file system in bytes.
    pub free_disk_bytes: Option<u64>,
    /// The minimum available memory in bytes.
    pub free_mem_bytes: Option<u64>,
    /// The maximum load average over one minute.
    pub max_load: Option<f64>,
}

/// How the output of a job is handled.
#[derive(Debug, Clone, Copy)]
pub struct OutputMode {
    /// Whether it is captured into `jobs/<job_id>.out`.
    pub capture: bool,
    /// The maximum number of bytes to capture.
    pub limit: Option<u64>,
    /// Whether it is passed through to the stdout and stderr of runlog.
    pub pass_on: bool,
    /// Whether secrets are masked in passed-through output too.
    pub redact_passed_on: bool,
    /// The streams of the job.
    pub streams: StreamPlan,
}

/// The fate of the run after the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterJob {
    /// The run was created for this job and is closed with it.
    CloseOwn,
    /// The run is closed, unless another job is still active.
    CloseIfLast,
    /// The run stays open for more jobs.
    StayOpen,
}
