//! What the events of a run and its jobs say, without their snapshots. The same
//! types are written and folded, so that both sides agree.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::trace_context::TraceContext;
use crate::volume::{JobId, RunId, rfc3339};

/// `run_opened`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RunOpened {
    /// The name that people know it by.
    #[serde(default)]
    pub name: String,
    /// Whether it stays open for more jobs until it is closed by hand.
    #[serde(default)]
    pub keep_open: bool,
    /// The name of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The version of runlog that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runlog: Option<String>,
    /// The job that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<EnclosingJob>,
    /// The place in the trace of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
}

/// A job inside which a run was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnclosingJob {
    /// The run, which may be in another volume.
    pub run_id: RunId,
    /// The job.
    pub job_id: JobId,
}

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

/// `job_validated`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobValidated {
    /// The file that will be executed.
    #[serde(default)]
    pub program: String,
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

/// Why a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// It ended with an exit code other than 0.
    Exit,
    /// A signal ended it.
    Signal,
    /// It ran longer than it may.
    Timeout,
    /// There is no such command.
    NotFound,
    /// The command may not be executed.
    NotExecutable,
    /// The inputs or the directory are invalid, or the log could not be written.
    Validation,
    /// A guard does not hold: disk, memory or load.
    ResourceLimit,
    /// It was called off before it began or between two attempts.
    Canceled,
    /// Nobody saw its end.
    Lost,
    /// A kind of a later version.
    #[serde(other)]
    Other,
}

impl ErrorKind {
    /// The name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Signal => "signal",
            Self::Timeout => "timeout",
            Self::NotFound => "not_found",
            Self::NotExecutable => "not_executable",
            Self::Validation => "validation",
            Self::ResourceLimit => "resource_limit",
            Self::Canceled => "canceled",
            Self::Lost => "lost",
            Self::Other => "other",
        }
    }
}

/// What went wrong, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// For programs.
    pub kind: ErrorKind,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// What the job's processes cost that were waited for, `wait4(2)`, `getrusage(2)`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// CPU time, user and system, in milliseconds.
    pub cpu_ms: u64,
    /// CPU time in user mode, in milliseconds.
    pub user_ms: u64,
    /// CPU time in the kernel, in milliseconds.
    pub system_ms: u64,
    /// Peak resident set of the largest process, in bytes.
    pub max_rss_bytes: u64,
    /// Read from block devices, in bytes.
    pub read_bytes: u64,
    /// Written to block devices, in bytes.
    pub written_bytes: u64,
    /// Page faults that needed I/O.
    pub major_faults: u64,
    /// Context switches, voluntary and not.
    pub context_switches: u64,
}

/// What the job printed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Output {
    /// Came on stdout, in bytes.
    pub stdout_bytes: u64,
    /// Came on stderr, in bytes.
    pub stderr_bytes: u64,
    /// Came on a pipe or terminal that stdout and stderr shared, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub both_bytes: Option<u64>,
    /// Stands in `jobs/<job_id>.out`, in bytes.
    pub captured_bytes: u64,
    /// Why the capture ends before the output does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<String>,
    /// What could not be passed on to runlog's own streams, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undelivered_bytes: Option<u64>,
    /// Whether a process that the job left behind still held a stream when the job ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held_open: bool,
}

/// A process that sent a signal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalSender {
    /// The process id.
    pub pid: u32,
    /// The user id.
    pub uid: u32,
}

/// A signal that runlog passed on to the job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardedSignal {
    /// The name of the signal.
    pub signal: String,
    /// When it was passed on.
    #[serde(default)]
    pub ts: String,
    /// The process that sent it; absent where the kernel did, for a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<SignalSender>,
}

/// `job_completed`, `job_failed` and `job_rolled_back`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobEnded {
    /// Counts from 1; 0 if it was never started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// The exit code, where it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The name of the signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// From the spawn to the end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// The output so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// The signals that were passed on to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<ForwardedSignal>,
    /// How many processes of its cgroup the kernel killed for lack of memory meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// It will be tried again after so many milliseconds: this is not its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
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

/// `job_rollback_started`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RollbackStarted {
    /// The command, run by `sh -c`.
    #[serde(default)]
    pub command: String,
}

/// `note`.
#[derive(Debug, Clone, Serialize)]
pub struct Note<'a> {
    /// What it is about.
    pub name: &'a str,
    /// The user's JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a serde_json::value::RawValue>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The sealed segment that a `log_rotated` event describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The name of the segment in the run's directory, before compression.
    pub file: String,
    /// The sequence number of the first event in it.
    pub first_seq: u64,
    /// The sequence number of the last event in it.
    pub last_seq: Option<u64>,
    /// The time at which its last event was written.
    #[serde(
        default,
        with = "rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_ts: Option<Timestamp>,
    /// The length in bytes, before compression.
    pub bytes: u64,
    /// The CRC-32C of all its bytes, before compression, in 8 lowercase hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32c: Option<String>,
}
