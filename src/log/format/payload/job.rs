//! The events of a job up to its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EventPayload, is_zero};
use crate::log::format::event_type::EventType;
use crate::log::format::trace_context::TraceContext;

/// `job_submitted`: what is to be run, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobSubmitted {
    /// Program and arguments as text; what is not UTF-8 is shown as `�`.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Program and arguments in base64, where some are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv_b64: Option<Vec<String>>,
    /// How many arguments were left out because there are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv_omitted: Option<usize>,
    /// The working directory.
    #[serde(default)]
    pub cwd: String,
    /// The bytes in base64, if they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd_b64: Option<String>,
    /// The user id it runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// What was handed in with `--input`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// What was handed in with `--label`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The names of the variables that `--env` set; with their values where asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<String>>,
    /// The compensating command, run by `sh -c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<String>,
    /// What the job depends on, by the names of its probes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<String, String>,
    /// The names of the probes without which it must not start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<String>,
    /// Limit of each attempt, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How often a failed attempt is tried again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// The lock that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// The runs that were stopped for the lock.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced_runs: Vec<String>,
    /// Whether masking changed anything above: then it must not be run again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// The names of the variables whose values are masked because their names say that they
    /// are secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted_vars: Vec<String>,
    /// Whether its output is captured.
    #[serde(default)]
    pub capture: bool,
    /// The process that supervises it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<ProcessRef>,
    /// The process that the caller started, which watches over the supervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front: Option<ProcessRef>,
    /// The place in the trace of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
}

impl EventPayload for JobSubmitted {
    const TYPE: EventType = EventType::JobSubmitted;
}

/// `job_validated`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobValidated {
    /// The file that will be executed.
    #[serde(default)]
    pub program: String,
}

impl EventPayload for JobValidated {
    const TYPE: EventType = EventType::JobValidated;
}

/// Which process a job is: all four together are never used twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// The process id.
    pub pid: u32,
    /// When it began, in clock ticks since the boot, `proc_pid_stat(5)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ticks: Option<u64>,
    /// The inode of the pid namespace in which the id counts, `pid_namespaces(7)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_namespace: Option<u64>,
    /// The boot in which it runs, `/proc/sys/kernel/random/boot_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The process group of a job's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pgid: Option<u32>,
    /// The session of a job's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<u32>,
    /// Whether processes that do not belong to the job may be in its group.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shares_group: bool,
    /// Whether processes that do not belong to the job may be in its session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shares_session: bool,
}

impl ProcessRef {
    /// Returns when it started, in milliseconds since the boot.
    pub fn start_ms(&self) -> Option<u64> {
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        Some(self.start_ticks?.saturating_mul(1_000) / ticks_per_second)
    }
}

/// `job_started`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobStarted {
    /// Counts from 1.
    #[serde(default)]
    pub attempt: u32,
    /// The process.
    #[serde(flatten)]
    pub process: ProcessRef,
}

impl EventPayload for JobStarted {
    const TYPE: EventType = EventType::JobStarted;
}

/// `job_sampled`. `T` is what is read or written of the usage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobSampled<T> {
    /// The usage of the job's processes.
    pub job: T,
    /// The readings of the job's probes by name; `None` is what could not be determined.
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
    /// The exit code of the one that died, where it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The name of the signal that killed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The attempt that was started last; 0 if none was.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// How much output was stored, in bytes.
    #[serde(default)]
    pub captured_bytes: u64,
    /// How many bytes of stdout may be missing there, or passed on twice.
    #[serde(default)]
    pub uncertain_stdout_bytes: u64,
    /// How many bytes of stderr may be missing there, or passed on twice.
    #[serde(default)]
    pub uncertain_stderr_bytes: u64,
    /// How many bytes of a pipe that both share may be missing there, or passed on twice.
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
