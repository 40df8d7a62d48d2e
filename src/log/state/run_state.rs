//! The state of a run as a pure fold over its events.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::command_line::command_line;
use crate::log::format::envelope::Envelope;
use crate::log::format::event_type::EventType;
use crate::log::format::payload::{
    JobEnded, JobError, JobStarted, JobSubmitted, Output, ProcessRef, RollbackStarted, RunOpened,
};
use crate::log::interop::foreign;
use crate::volume::parse_ts;

/// Most jobs that a run can have.
pub const MAX_JOBS: usize = 10_000;
/// Longest summary, in bytes of JSON.
const MAX_SUMMARY_BYTES: usize = 32 << 10;

/// A step in a job's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words of the log")]
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
    /// Its name in the log.
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

    /// Whether the job has its terminal event.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::RolledBack)
    }
}

/// How far the compensating command of a job came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rollback {
    /// The command.
    pub command: String,
    /// The folder it runs in, where that can be written as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Whether it was begun.
    #[serde(default)]
    pub started: bool,
    /// Whether its end was written.
    #[serde(default)]
    pub ended: bool,
    /// What went wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

/// One job of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the events")]
#[non_exhaustive]
pub struct JobState {
    pub job_id: String,
    pub stage: Stage,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub command: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    pub exit_code: Option<i32>,
    pub signal: Option<String>,
    pub error: Option<JobError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitted_ts: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ts: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ts: Option<String>,
    pub duration_ms: Option<u64>,
    pub max_rss_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// Set from the submission to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<ProcessRef>,
    /// Set from the start of an attempt to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// Told by lines of another program, whose writer holds no lease.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

/// A run, as far as its events tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the events")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own in the log"
)]
#[non_exhaustive]
pub struct RunState {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Orders the runs of a volume by age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_id: Option<String>,
    pub opened_ts: Option<String>,
    pub closed_ts: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_open: bool,
    /// Begun by another program, whose writer holds no lease.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// Closed by its program as a failure, whatever its jobs say.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub aborted: bool,
    /// In the sealed segments, before compression.
    #[serde(skip_serializing_if = "is_zero")]
    pub sealed_bytes: u64,
    pub jobs_total: usize,
    pub jobs_failed: usize,
    /// `jobs` lacks some because the summary would be too long.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub jobs_truncated: bool,
    pub jobs: Vec<JobState>,
    #[serde(skip)]
    index: HashMap<String, usize>,
}

impl RunState {
    /// Takes one valid line, without its `\n`. Types and fields that are not known
    /// change nothing. The state does not depend on events whose segments are gone:
    /// a checkpoint that comes first brings it along.
    #[doc(hidden)]
    pub fn apply(&mut self, env: &Envelope<'_>, line: &[u8]) {
        let kind = EventType::parse(env.kind);
        // A mended log that has nothing else is not open yet.
        let upkeep = matches!(kind, Some(EventType::LogRotated | EventType::LogRepaired));
        if self.first_id.is_none() && !upkeep {
            self.first_id = Some(env.id.to_owned());
            self.opened_ts.get_or_insert_with(|| env.ts.to_owned());
        }
        let Some(kind) = kind else {
            return;
        };
        match kind {
            EventType::RunOpened => {
                if let Some(e) = parse::<RunOpened>(line) {
                    self.name = e.name;
                    self.keep_open = e.keep_open;
                    self.host = e.host;
                }
            }
            EventType::RunClosed => self.closed_ts = Some(env.ts.to_owned()),
            EventType::LogRotated if self.first_id.is_none() => self.restore(line),
            EventType::LogRotated => self.record_sealed(line),
            EventType::Note | EventType::JobSampled | EventType::LogRepaired => {}
            _ => self.apply_to_job(kind, env, line),
        }
    }

    /// Takes one line of another program.
    #[doc(hidden)]
    pub fn apply_foreign(&mut self, line: &[u8]) {
        foreign::apply(self, line);
    }

    fn record_sealed(&mut self, line: &[u8]) {
        #[derive(Deserialize)]
        struct Rotated {
            sealed: Sealed,
        }
        #[derive(Deserialize)]
        struct Sealed {
            #[serde(default)]
            bytes: u64,
        }
        if let Some(rotated) = parse::<Rotated>(line) {
            self.sealed_bytes += rotated.sealed.bytes;
        }
    }

    fn restore(&mut self, line: &[u8]) {
        #[derive(Deserialize)]
        struct Checkpoint {
            state: RunState,
        }
        if let Some(checkpoint) = parse::<Checkpoint>(line) {
            *self = checkpoint.state;
            self.index = self
                .jobs
                .iter()
                .map(|j| j.job_id.clone())
                .zip(0..)
                .collect();
        }
    }

    fn apply_to_job(&mut self, kind: EventType, env: &Envelope<'_>, line: &[u8]) {
        #[derive(Deserialize)]
        struct Of {
            job_id: String,
        }
        let Some(Of { job_id }) = parse::<Of>(line) else {
            return;
        };
        let ts = env.ts.to_owned();
        let job = self.job_mut(&job_id);
        match kind {
            EventType::JobSubmitted => {
                if let Some(e) = parse::<JobSubmitted>(line) {
                    job.submit(e, ts);
                }
            }
            EventType::JobValidated if !job.stage.is_terminal() => job.stage = Stage::Validated,
            EventType::JobStarted if !job.stage.is_terminal() => {
                if let Some(e) = parse::<JobStarted>(line) {
                    job.stage = Stage::Started;
                    job.attempt = Some(e.attempt);
                    job.process = Some(e.process);
                    job.started_ts.get_or_insert(ts);
                }
            }
            EventType::JobCompleted | EventType::JobFailed if !job.stage.is_terminal() => {
                if let Some(e) = parse::<JobEnded>(line) {
                    let failed = kind == EventType::JobFailed;
                    job.end(failed, e, ts);
                    if failed && job.stage.is_terminal() {
                        self.jobs_failed += 1;
                    }
                }
            }
            EventType::JobRollbackStarted => {
                if let Some(e) = parse::<RollbackStarted>(line) {
                    let rollback = job.rollback.get_or_insert_default();
                    rollback.command = e.command;
                    rollback.started = true;
                    rollback.ended = false;
                }
            }
            EventType::JobRolledBack => {
                if let Some(e) = parse::<JobEnded>(line) {
                    let rollback = job.rollback.get_or_insert_default();
                    rollback.ended = true;
                    rollback.error = e.error;
                    if job.stage.is_terminal() {
                        job.stage = Stage::RolledBack;
                    }
                }
            }
            _ => {}
        }
    }

    /// The job of that id, made where it is new.
    pub(crate) fn job_mut(&mut self, job_id: &str) -> &mut JobState {
        let at = if let Some(&at) = self.index.get(job_id) {
            at
        } else {
            self.jobs_total += 1;
            self.index.insert(job_id.to_owned(), self.jobs.len());
            self.jobs.push(JobState {
                job_id: job_id.to_owned(),
                ..JobState::default()
            });
            self.jobs.len() - 1
        };
        #[expect(
            clippy::indexing_slicing,
            reason = "the index holds only places in `jobs`"
        )]
        &mut self.jobs[at]
    }

    /// The job of that id.
    pub fn job(&self, job_id: &str) -> Option<&JobState> {
        self.index.get(job_id).and_then(|&at| self.jobs.get(at))
    }

    /// The jobs of ours that have no terminal event.
    pub fn unfinished(&self) -> impl Iterator<Item = &JobState> {
        self.jobs
            .iter()
            .filter(|job| !job.stage.is_terminal() && !job.foreign)
    }

    /// From the first event to the close, in milliseconds; `None` while the run is open.
    pub fn duration_ms(&self) -> Option<u64> {
        let start = parse_ts(self.opened_ts.as_deref()?)?;
        let end = parse_ts(self.closed_ts.as_deref()?)?;
        u64::try_from(end.duration_since(start).as_millis()).ok()
    }

    /// Whether the run was closed.
    pub fn is_closed(&self) -> bool {
        self.closed_ts.is_some()
    }

    /// Whether the run, being closed, counts as failed.
    pub fn has_failed(&self) -> bool {
        self.aborted || self.jobs_failed > 0
    }

    /// The state as it goes into the last line of a run: at most 32 KiB of JSON,
    /// with as many jobs as fit.
    ///
    /// # Errors
    /// The state cannot be written as JSON.
    #[doc(hidden)]
    pub fn summary(&self) -> serde_json::Result<Box<serde_json::value::RawValue>> {
        serde_json::value::to_raw_value(&self.truncated()?)
    }

    /// The state with as many jobs as fit into a summary.
    pub(crate) fn truncated(&self) -> serde_json::Result<Self> {
        let mut short = Self {
            name: self.name.clone(),
            host: self.host.clone(),
            first_id: self.first_id.clone(),
            opened_ts: self.opened_ts.clone(),
            closed_ts: self.closed_ts.clone(),
            jobs_truncated: true,
            jobs: Vec::new(),
            index: HashMap::new(),
            ..*self
        };
        let mut room = MAX_SUMMARY_BYTES.saturating_sub(serde_json::to_string(&short)?.len());
        for job in &self.jobs {
            let len = serde_json::to_string(job)?.len() + 1;
            let Some(left) = room.checked_sub(len) else {
                break;
            };
            room = left;
            short.jobs.push(job.clone());
        }
        short.jobs_truncated = self.jobs_truncated || short.jobs.len() < self.jobs.len();
        Ok(short)
    }
}

impl Rollback {
    /// Whether it was begun, and its end was not written: it runs, or nobody saw its end.
    pub fn is_unfinished(&self) -> bool {
        self.started && !self.ended
    }

    /// Whether it ran to its end without an error.
    pub fn is_done(&self) -> bool {
        self.ended && self.error.is_none()
    }
}

impl JobState {
    /// Whether its rollback was begun, and the end of that was not written.
    pub fn rollback_is_unfinished(&self) -> bool {
        self.rollback.as_ref().is_some_and(Rollback::is_unfinished)
    }

    fn submit(&mut self, e: JobSubmitted, ts: String) {
        self.command = command_line(&e.argv);
        self.submitted_ts = Some(ts);
        self.labels = e.labels;
        self.redacted = e.redacted;
        self.supervisor = e.supervisor;
        let cwd = e.cwd_b64.is_none().then_some(e.cwd);
        self.rollback = e.rollback.map(|command| Rollback {
            command,
            cwd,
            ..Rollback::default()
        });
    }

    fn end(&mut self, failed: bool, e: JobEnded, ts: String) {
        self.process = None;
        self.exit_code = e.exit_code;
        self.signal = e.signal;
        self.error = e.error;
        self.duration_ms = e.duration_ms;
        self.output = e.output;
        if let Some(cost) = e.cost {
            self.cpu_ms = Some(cost.cpu_ms);
            self.max_rss_bytes = Some(cost.max_rss_bytes);
            self.read_bytes = Some(cost.read_bytes);
            self.written_bytes = Some(cost.written_bytes);
        }
        if e.retry_in_ms.is_none() {
            self.supervisor = None;
            self.ended_ts = Some(ts);
            self.stage = if failed {
                Stage::Failed
            } else {
                Stage::Completed
            };
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn parse<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Option<T> {
    serde_json::from_slice(line).ok()
}
