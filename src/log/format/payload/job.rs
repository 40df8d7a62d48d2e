//! The events of a job before its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EventPayload, is_zero};
use crate::log::format::event_type::EventType;
use crate::log::format::trace_context::TraceContext;
use crate::volume::{JobId, RunId};

/// `job_submitted`: what will run, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobSubmitted {
    /// The program and its arguments as text, with `�` for what is not UTF-8.
    #[serde(default)]
    pub argv: Vec<String>,
    /// The program and its arguments in base64, if some are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv_b64: Option<Vec<String>>,
    /// The number of arguments that were left out because there are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv_omitted: Option<usize>,
    /// The working directory.
    #[serde(default)]
    pub cwd: String,
    /// The working directory in base64, if it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd_b64: Option<String>,
    /// The id of the user that the job runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The values of `--input`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// The values of `--label`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The variables that `--env` set, with their values if `--record-env` was given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<String>>,
    /// The rollback command, run by `sh -c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<String>,
    /// The specifications of the job's probes, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<String, String>,
    /// The names of the probes that must be true before the job starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<String>,
    /// The time limit of each attempt, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How many times a failed attempt is retried.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// Further options, if some were given.
    #[serde(default, skip_serializing_if = "RecordedOptions::is_empty")]
    pub options: RecordedOptions,
    /// The name of the lock that the run holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// The runs that were stopped to get the lock.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced_runs: Vec<String>,
    /// Whether masking changed any of the fields above, so that the job must not run again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// The names of the variables whose values are masked because their names suggest a secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted_vars: Vec<String>,
    /// The names of the masked variables whose values appear in `argv`, each recorded as
    /// `${NAME}`; `None` if no value is masked, or in a log of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv_vars: Option<Vec<String>>,
    /// The commands to run after the job ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<RecordedHooks>,
    /// The run that recorded the job that is run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<RunId>,
    /// The job in that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of_job: Option<JobId>,
    /// Whether the job's output is captured.
    #[serde(default)]
    pub capture: bool,
    /// The process that supervises the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<ProcessRef>,
    /// The process that the caller started, which watches the supervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front: Option<ProcessRef>,
    /// The span of the job in the caller's trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
}

impl EventPayload for JobSubmitted {
    const TYPE: EventType = EventType::JobSubmitted;
}

/// The options of a job that only matter when it runs again. One that was not given is missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordedOptions {
    /// The failures to retry, as items of `--retry-on`; if empty, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retry_on: Vec<String>,
    /// The pause before the first retry, in milliseconds; only with retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_delay_ms: Option<u64>,
    /// The factor for each further pause; only with retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_backoff: Option<f64>,
    /// The maximum length of a pause, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_max_delay_ms: Option<u64>,
    /// Whether each pause is shortened at random; only with retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_jitter: Option<bool>,
    /// The time between two samples, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_ms: Option<u64>,
    /// The free disk space that the start requires, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_free_disk_bytes: Option<u64>,
    /// The available memory that the start requires, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_free_mem_bytes: Option<u64>,
    /// The load average up to which the job starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_load: Option<f64>,
    /// The duration below which a successful attempt counts as failed, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_if_shorter_ms: Option<u64>,
    /// The duration above which a successful attempt counts as failed, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_if_longer_ms: Option<u64>,
    /// The time from SIGTERM to SIGKILL, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_after_ms: Option<u64>,
    /// The maximum size of the stored output, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_limit_bytes: Option<u64>,
    /// The variables whose values are masked by `--redact ENV:NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact_vars: Vec<String>,
    /// The number of regular expressions of `--redact`. They are not recorded, because their
    /// texts can be secrets.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redact_patterns: u32,
    /// Whether what is passed on is masked too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redact_passed_on: bool,
}

impl RecordedOptions {
    /// Returns whether no option was given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The commands of `--on-success`, `--on-failure` and `--on-end`, run by `sh -c`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedHooks {
    /// Runs after the job completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_success: Option<String>,
    /// Runs after the job failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<String>,
    /// Runs however the job ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_end: Option<String>,
    /// Whether masking changed one of them, so that they must not run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

/// `job_rerun`: the recorded job runs again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobRerun {
    /// The run in which it runs again.
    pub rerun_by: RunId,
    /// The job in that run.
    pub rerun_by_job: JobId,
}

impl EventPayload for JobRerun {
    const TYPE: EventType = EventType::JobRerun;
}

/// `job_validated`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobValidated {
    /// The file that will be executed.
    #[serde(default)]
    pub program: String,
    /// The file in base64, if its path is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_b64: Option<String>,
}

impl EventPayload for JobValidated {
    const TYPE: EventType = EventType::JobValidated;
}

/// The identity of a process. No two processes have the same pid, start, namespace and boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks since the boot (`proc_pid_stat(5)`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ticks: Option<u64>,
    /// The inode of the pid namespace that the pid belongs to (`pid_namespaces(7)`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_namespace: Option<u64>,
    /// The boot in which the process runs (`/proc/sys/kernel/random/boot_id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The process group of a job's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pgid: Option<u32>,
    /// The session of a job's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<u32>,
    /// Whether the group may also contain processes that do not belong to the job.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shares_group: bool,
    /// Whether the session may also contain processes that do not belong to the job.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shares_session: bool,
}

impl ProcessRef {
    /// Returns when the process started, in milliseconds since the boot.
    pub fn start_ms(&self) -> Option<u64> {
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        Some(self.start_ticks?.saturating_mul(1_000) / ticks_per_second)
    }
}

/// `job_started`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobStarted {
    /// The number of the attempt, from 1.
    #[serde(default)]
    pub attempt: u32,
    /// The process.
    #[serde(flatten)]
    pub process: ProcessRef,
}

impl EventPayload for JobStarted {
    const TYPE: EventType = EventType::JobStarted;
}

/// `job_sampled`. `T` is the part of the usage that is read or written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobSampled<T> {
    /// The usage of the job's processes.
    pub job: T,
    /// The uptime of the host in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// The readings of the job's probes by name; `None` if a probe could not decide.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<String, Option<bool>>,
}

impl<T: Serialize> EventPayload for JobSampled<T> {
    const TYPE: EventType = EventType::JobSampled;
}

/// `supervisor_replaced`: the supervisor of a job died, and another one continues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorReplaced {
    /// The new supervisor.
    pub supervisor: ProcessRef,
    /// The exit code of the supervisor that died, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The name of the signal that killed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The last attempt that was started; 0 if none was.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// The number of bytes of output that were stored.
    #[serde(default)]
    pub captured_bytes: u64,
    /// The number of bytes of stdout that may be missing from it, or were passed on twice.
    #[serde(default)]
    pub uncertain_stdout_bytes: u64,
    /// The number of bytes of stderr that may be missing from it, or were passed on twice.
    #[serde(default)]
    pub uncertain_stderr_bytes: u64,
    /// The number of bytes of a shared pipe that may be missing from it, or were passed on
    /// twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncertain_both_bytes: Option<u64>,
}

impl EventPayload for SupervisorReplaced {
    const TYPE: EventType = EventType::SupervisorReplaced;
}

/// `job_rollback_started`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RollbackStarted {
    /// The command, run by `sh -c`.
    #[serde(default)]
    pub command: String,
}

impl EventPayload for RollbackStarted {
    const TYPE: EventType = EventType::JobRollbackStarted;
}
