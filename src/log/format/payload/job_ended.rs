//! The end of a job, of an attempt, and of a rollback.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventPayload, is_zero};
use crate::log::format::event_type::EventType;
use crate::volume::rfc3339;

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
    #[serde(default, with = "rfc3339::option")]
    pub ts: Option<Timestamp>,
    /// The process that sent it; absent where the kernel did, for a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<SignalSender>,
}

impl ForwardedSignal {
    /// Returns whether it asked the job to end.
    pub(crate) fn asks_for_end(&self) -> bool {
        matches!(&*self.signal, "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGQUIT")
    }
}

/// What [`JobCompleted`], [`JobFailed`] and [`JobRolledBack`] have in common: how a command ended.
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

/// `job_completed`. `E` is [`JobEnded`], or a reference to one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobCompleted<E = JobEnded>(pub E);

impl<E: Serialize> EventPayload for JobCompleted<E> {
    const TYPE: EventType = EventType::JobCompleted;
}

/// `job_failed`. `E` is [`JobEnded`], or a reference to one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobFailed<E = JobEnded>(pub E);

impl<E: Serialize> EventPayload for JobFailed<E> {
    const TYPE: EventType = EventType::JobFailed;
}

/// `job_rolled_back`. `E` is [`JobEnded`], or a reference to one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobRolledBack<E = JobEnded>(pub E);

impl<E: Serialize> EventPayload for JobRolledBack<E> {
    const TYPE: EventType = EventType::JobRolledBack;
}

/// `hook_ended`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HookEnded {
    /// Which hook: `on_success`, `on_failure` or `on_end`.
    #[serde(default)]
    pub hook: String,
    /// The command, run by `sh -c`.
    #[serde(default)]
    pub command: String,
    /// The exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// How long it ran, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
}

impl EventPayload for HookEnded {
    const TYPE: EventType = EventType::HookEnded;
}
