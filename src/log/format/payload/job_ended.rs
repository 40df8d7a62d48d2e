//! The end of a job, an attempt or a rollback.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventPayload, is_zero};
use crate::log::format::event_type::EventType;
use crate::volume::rfc3339;

/// The reason why a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The command ended with an exit code other than 0.
    Exit,
    /// A signal ended the command.
    Signal,
    /// The command exceeded its time limit.
    Timeout,
    /// The command does not exist.
    NotFound,
    /// The command may not be executed.
    NotExecutable,
    /// The directory is invalid, a required probe is not true, or the command exited with code 0
    /// too early or too late.
    Validation,
    /// A guard on disk, memory or load does not hold.
    ResourceLimit,
    /// The job was canceled before its start or between two attempts.
    Canceled,
    /// No process observed the end of the job.
    Lost,
    /// A kind that a later version writes.
    #[serde(other)]
    Other,
}

impl ErrorKind {
    /// Returns the name in the log.
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

/// An error, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// The kind, for programs.
    pub kind: ErrorKind,
    /// The message, for people.
    #[serde(default)]
    pub message: String,
}

/// The resource usage of the job's processes that were waited for (`wait4(2)`, `getrusage(2)`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// CPU time in both modes, in milliseconds.
    pub cpu_ms: u64,
    /// CPU time in user mode, in milliseconds.
    pub user_ms: u64,
    /// CPU time in the kernel, in milliseconds.
    pub system_ms: u64,
    /// The peak resident set size of the largest process, in bytes.
    pub max_rss_bytes: u64,
    /// The number of bytes read from block devices.
    pub read_bytes: u64,
    /// The number of bytes written to block devices.
    pub written_bytes: u64,
    /// The number of page faults that needed I/O.
    pub major_faults: u64,
    /// The number of context switches, voluntary and involuntary.
    pub context_switches: u64,
}

/// The size of a job's output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Output {
    /// The number of bytes on stdout.
    pub stdout_bytes: u64,
    /// The number of bytes on stderr.
    pub stderr_bytes: u64,
    /// The number of bytes on a pipe or terminal that stdout and stderr shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub both_bytes: Option<u64>,
    /// The number of bytes in `jobs/<job_id>.out`.
    pub captured_bytes: u64,
    /// Why the capture ends before the output does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<String>,
    /// The number of bytes that could not be passed on to runlog's own streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undelivered_bytes: Option<u64>,
    /// Whether a process that the job left behind still held a stream, up to a second after the
    /// end of the job.
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
    /// When the signal was passed on.
    #[serde(default, with = "rfc3339::option")]
    pub ts: Option<Timestamp>,
    /// The process that sent the signal; absent if the kernel did, on behalf of a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<SignalSender>,
}

impl ForwardedSignal {
    /// Returns whether the signal asked the job to end.
    pub(crate) fn asks_for_end(&self) -> bool {
        matches!(&*self.signal, "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGQUIT")
    }
}

/// The fields that [`JobCompleted`], [`JobFailed`] and [`JobRolledBack`] share.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobEnded {
    /// The number of the attempt, from 1; 0 if none was started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// The exit code, if the command exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The name of the signal that ended the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Why the command failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// The time from the start to the end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The resource usage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// The size of the output so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// The signals that were passed on to the command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<ForwardedSignal>,
    /// The number of processes in the cgroup that the OOM killer killed in the meantime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// The delay before the next attempt, in milliseconds. If set, the job has not ended.
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
    /// The hook: `on_success`, `on_failure` or `on_end`.
    #[serde(default)]
    pub hook: String,
    /// The command, run by `sh -c`.
    #[serde(default)]
    pub command: String,
    /// The exit code, if the command exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The name of the signal that ended the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Why the command failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// How long the command ran, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
}

impl EventPayload for HookEnded {
    const TYPE: EventType = EventType::HookEnded;
}
