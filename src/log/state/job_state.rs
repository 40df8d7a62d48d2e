//! The state of one job, according to its events.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::command_line::command_line;
use super::probe_state::{ProbeState, apply_readings};
use crate::log::format::payload::{
    ErrorKind, ForwardedSignal, JobEnded, JobError, JobSubmitted, Output, ProcessRef,
};
use crate::log::format::trace_context::TraceContext;
use crate::volume::{JobId, rfc3339};

/// A step in a job's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names in the log")]
#[non_exhaustive]
pub enum Stage {
    #[default]
    Submitted,
    Validated,
    Started,
    Completed,
    Failed,
    RolledBack,
}

impl Stage {
    /// Returns the name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Validated => "validated",
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
        }
    }

    /// Returns whether the job has its terminal event.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::RolledBack)
    }
}

/// The progress of a job's rollback command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rollback {
    /// The command.
    pub command: String,
    /// The directory that the command runs in, if its path is valid UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Whether the command was started.
    #[serde(default)]
    pub started: bool,
    /// Whether the command's end is in the log.
    #[serde(default)]
    pub ended: bool,
    /// Why the command failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

impl Rollback {
    /// Returns whether the command was started but its end is not in the log: it is still
    /// running, or no process saw it end.
    pub fn is_unfinished(&self) -> bool {
        self.started && !self.ended
    }

    /// Returns whether the command ended without an error.
    pub fn is_done(&self) -> bool {
        self.ended && self.error.is_none()
    }
}

/// One job of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the events")]
#[non_exhaustive]
pub struct JobState {
    pub job_id: JobId,
    #[serde(default)]
    pub stage: Stage,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    #[serde(default)]
    pub exit_code: Option<i32>,
    #[serde(default)]
    pub signal: Option<String>,
    #[serde(default)]
    pub error: Option<JobError>,
    #[serde(
        default,
        with = "rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub submitted_ts: Option<Timestamp>,
    #[serde(
        default,
        with = "rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub started_ts: Option<Timestamp>,
    #[serde(
        default,
        with = "rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub ended_ts: Option<Timestamp>,
    #[serde(default)]
    pub duration_ms: Option<u64>,
    #[serde(default)]
    pub max_rss_bytes: Option<u64>,
    #[serde(default)]
    pub cpu_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// The supervisor, from the submission to the end of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<ProcessRef>,
    /// The process that watches the supervisor, from the submission to the end of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front: Option<ProcessRef>,
    /// The last signal that was passed on to the last attempt and asked it to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_request: Option<ForwardedSignal>,
    /// The reason that `runlog stop` gave before the job ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// The process of the job, from the start of an attempt to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The probes by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<String, ProbeState>,
    /// The job's span in a distributed trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// Whether another program wrote the events. Its writer holds no lease.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

impl JobState {
    /// Creates a job with nothing but its id.
    pub(crate) fn new(job_id: JobId) -> Self {
        Self {
            job_id,
            stage: Stage::default(),
            command: String::new(),
            attempt: None,
            exit_code: None,
            signal: None,
            error: None,
            submitted_ts: None,
            started_ts: None,
            ended_ts: None,
            duration_ms: None,
            max_rss_bytes: None,
            cpu_ms: None,
            read_bytes: None,
            written_bytes: None,
            supervisor: None,
            front: None,
            stop_request: None,
            stop_reason: None,
            process: None,
            rollback: None,
            output: None,
            labels: BTreeMap::new(),
            probes: BTreeMap::new(),
            trace: None,
            redacted: false,
            foreign: false,
        }
    }

    /// Returns whether no process observed the end of the job, according to its terminal event.
    pub(crate) fn is_lost(&self) -> bool {
        let error = self.error.as_ref();
        error.is_some_and(|error| error.kind == ErrorKind::Lost)
    }

    /// Returns whether the job's rollback was started but its end is not in the log.
    pub fn rollback_is_unfinished(&self) -> bool {
        self.rollback.as_ref().is_some_and(Rollback::is_unfinished)
    }

    pub(super) fn submit(&mut self, e: JobSubmitted, ts: Timestamp) {
        self.command = command_line(&e.argv);
        self.submitted_ts = Some(ts);
        self.labels = e.labels;
        self.trace = e.trace.filter(TraceContext::is_valid);
        self.redacted = e.redacted;
        self.supervisor = e.supervisor;
        self.front = e.front;
        let cwd = e.cwd_b64.is_none().then_some(e.cwd);
        self.rollback = e.rollback.map(|command| Rollback {
            command,
            cwd,
            ..Rollback::default()
        });
    }

    /// Applies the probe readings in the line of an event from before the job ended.
    pub(super) fn read_probes(&mut self, line: &[u8]) {
        apply_readings(&mut self.probes, line);
    }

    /// Applies the end of an attempt. `stage` is the job's stage if no other attempt follows.
    pub(super) fn end(&mut self, stage: Stage, e: JobEnded, ts: Timestamp) {
        self.process = None;
        self.exit_code = e.exit_code;
        self.signal = e.signal;
        self.error = e.error;
        self.duration_ms = e.duration_ms;
        self.output = e.output;
        let mut signals = e.signals.into_iter().rev();
        self.stop_request = signals.find(ForwardedSignal::asks_for_end);
        if let Some(cost) = e.cost {
            self.cpu_ms = Some(cost.cpu_ms);
            self.max_rss_bytes = Some(cost.max_rss_bytes);
            self.read_bytes = Some(cost.read_bytes);
            self.written_bytes = Some(cost.written_bytes);
        }
        if e.retry_in_ms.is_none() {
            self.supervisor = None;
            self.front = None;
            self.ended_ts = Some(ts);
            self.stage = stage;
        }
    }
}
