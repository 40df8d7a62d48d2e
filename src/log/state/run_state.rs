//! The state of a run, folded from its events.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::job_state::{JobState, Stage};
use super::probe_state::has_readings;
use super::stop_reason::stop_reason;
use crate::log::format::envelope::Envelope;
use crate::log::format::event_type::EventType;
use crate::log::format::job_counts::JobCounts;
use crate::log::format::payload::{
    EnclosingJob, JobEnded, JobRerun, JobStarted, JobSubmitted, LogRotated, RollbackStarted,
    RunClosed, RunOpened, SupervisorReplaced, parse_payload,
};
use crate::log::format::trace_context::TraceContext;
use crate::volume::{JobId, RunId, elapsed_ms, is_this_boot, rfc3339, ulid_text};

/// The maximum number of jobs in a run.
pub const MAX_JOBS: usize = 10_000;
/// The maximum length of a summary, in bytes of JSON.
const MAX_SUMMARY_BYTES: usize = 32 << 10;

/// The state of a run, according to its events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of the events")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a separate fact in the log"
)]
#[non_exhaustive]
pub struct RunState {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The job that opened the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<EnclosingJob>,
    /// The run's span in a distributed trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// The run that this one runs again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<RunId>,
    /// The last run that runs this one again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerun_by: Option<RunId>,
    /// The id of the first event, which orders the runs of a volume by age.
    #[serde(with = "ulid_text", skip_serializing_if = "Option::is_none")]
    pub first_id: Option<Ulid>,
    #[serde(with = "rfc3339::option")]
    pub opened_ts: Option<Timestamp>,
    #[serde(with = "rfc3339::option")]
    pub closed_ts: Option<Timestamp>,
    /// The boot in which the run was opened, and the uptime at that moment in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// The time from the first event to the close, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_open: bool,
    /// Whether another program started the run. Its writer holds no lease.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// Whether its program closed the run as failed, whatever the states of its jobs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub aborted: bool,
    /// The total length of the sealed segments before compression, in bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub sealed_bytes: u64,
    pub jobs_total: usize,
    pub jobs_failed: usize,
    /// Whether `jobs` is incomplete because the summary would be too long.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub jobs_truncated: bool,
    pub jobs: Vec<JobState>,
    #[serde(skip)]
    index: HashMap<JobId, usize>,
}

impl RunState {
    /// Applies one valid line, without its `\n`.
    ///
    /// Ignores unknown types and fields. The state does not depend on events in removed
    /// segments, because the checkpoint that follows them contains it.
    pub fn apply(&mut self, env: &Envelope<'_>, line: &[u8]) {
        let kind = env.kind.known();
        // A repaired log without other events is not open yet.
        let upkeep = matches!(kind, Some(EventType::LogRotated | EventType::LogRepaired));
        if self.first_id.is_none() && !upkeep {
            self.first_id = env.ulid();
            self.opened_ts.get_or_insert_with(|| env.time());
        }
        let Some(kind) = kind else {
            return;
        };
        match kind {
            EventType::RunOpened => {
                if let Some(e) = parse_payload::<RunOpened>(line) {
                    self.name = e.name;
                    self.keep_open = e.keep_open;
                    self.host = e.host;
                    self.boot_id = e.boot_id;
                    self.uptime_ms = e.uptime_ms;
                    self.parent = e.parent;
                    self.trace = e.trace.filter(TraceContext::is_valid);
                    self.rerun_of = e.rerun_of;
                }
            }
            EventType::JobRerun => {
                if let Some(e) = parse_payload::<JobRerun>(line) {
                    self.rerun_by = Some(e.rerun_by);
                }
            }
            EventType::RunClosed => {
                self.closed_ts = Some(env.time());
                let closed = parse_payload::<RunClosed<IgnoredAny>>(line);
                self.closed_after_ms = closed.and_then(|e| e.duration_ms);
            }
            EventType::LogRotated if self.first_id.is_none() => self.restore(line),
            EventType::LogRotated => self.record_sealed(line),
            EventType::Note => self.apply_stop_reason(env, line),
            EventType::LogRepaired | EventType::HookEnded => {}
            EventType::JobSampled => self.apply_sample(env, line),
            _ => self.apply_to_job(kind, env, line),
        }
    }

    /// Applies a sample, which never adds a job.
    fn apply_sample(&mut self, env: &Envelope<'_>, line: &[u8]) {
        if has_readings(line)
            && let Some(job) = env.job_id()
            && let Some(&at) = self.index.get(&job)
            && let Some(job) = self.jobs.get_mut(at)
            && !job.stage.is_terminal()
        {
            job.read_probes(line);
        }
    }

    /// Applies a note about a stop, which never adds a job.
    fn apply_stop_reason(&mut self, env: &Envelope<'_>, line: &[u8]) {
        if let Some(reason) = stop_reason(line)
            && let Some(job) = env.job_id()
            && let Some(&at) = self.index.get(&job)
            && let Some(job) = self.jobs.get_mut(at)
            && !job.stage.is_terminal()
        {
            job.stop_reason = Some(reason);
        }
    }

    /// Closes the run at this wall-clock time.
    pub(crate) fn close(&mut self, ts: Option<Timestamp>) {
        self.closed_ts = ts;
        self.closed_after_ms = ts.and_then(|ts| self.elapsed_ms(ts));
    }

    /// Returns the milliseconds from the first event to the wall-clock time `now`; `None` if
    /// unknown.
    pub fn elapsed_ms(&self, now: Timestamp) -> Option<u64> {
        let uptime = self
            .uptime_ms
            .filter(|_| is_this_boot(self.boot_id.as_ref()));
        elapsed_ms(self.opened_ts, now, uptime)
    }

    fn record_sealed(&mut self, line: &[u8]) {
        if let Some(rotated) = parse_payload::<LogRotated<IgnoredAny>>(line) {
            self.sealed_bytes += rotated.sealed.bytes;
        }
    }

    fn restore(&mut self, line: &[u8]) {
        if let Some(checkpoint) = parse_payload::<LogRotated<Self>>(line) {
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
        let Some(job_id) = env.job_id() else {
            return;
        };
        let ts = env.time();
        let job = self.job_mut(&job_id);
        match kind {
            EventType::JobSubmitted => {
                if let Some(e) = parse_payload::<JobSubmitted>(line) {
                    job.submit(e, ts);
                }
            }
            EventType::JobValidated if !job.stage.is_terminal() => job.stage = Stage::Validated,
            EventType::JobStarted if !job.stage.is_terminal() => {
                if let Some(e) = parse_payload::<JobStarted>(line) {
                    job.stage = Stage::Started;
                    job.attempt = Some(e.attempt);
                    job.process = Some(e.process);
                    job.started_ts.get_or_insert(ts);
                    job.read_probes(line);
                }
            }
            EventType::SupervisorReplaced if !job.stage.is_terminal() => {
                if let Some(e) = parse_payload::<SupervisorReplaced>(line) {
                    job.supervisor = Some(e.supervisor);
                }
            }
            EventType::JobCompleted | EventType::JobFailed if !job.stage.is_terminal() => {
                if let Some(e) = parse_payload::<JobEnded>(line) {
                    let stage = if kind == EventType::JobFailed {
                        Stage::Failed
                    } else {
                        Stage::Completed
                    };
                    job.read_probes(line);
                    job.end(stage, e, ts);
                    if job.stage == Stage::Failed {
                        self.jobs_failed += 1;
                    }
                }
            }
            EventType::JobRollbackStarted => {
                if let Some(e) = parse_payload::<RollbackStarted>(line) {
                    let rollback = job.rollback.get_or_insert_default();
                    rollback.command = e.command;
                    rollback.started = true;
                    rollback.ended = false;
                }
            }
            EventType::JobRolledBack => {
                if let Some(e) = parse_payload::<JobEnded>(line) {
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

    /// Returns the job with this id, and adds it if it is new.
    pub(crate) fn job_mut(&mut self, job_id: &JobId) -> &mut JobState {
        let at = if let Some(&at) = self.index.get(job_id) {
            at
        } else {
            self.jobs_total += 1;
            self.index.insert(job_id.clone(), self.jobs.len());
            self.jobs.push(JobState::new(job_id.clone()));
            self.jobs.len() - 1
        };
        #[expect(
            clippy::indexing_slicing,
            reason = "the index has only valid positions in `jobs`"
        )]
        &mut self.jobs[at]
    }

    /// Returns the job with this id.
    pub fn job(&self, job_id: &str) -> Option<&JobState> {
        self.index.get(job_id).and_then(|&at| self.jobs.get(at))
    }

    /// Returns runlog's own jobs that have no terminal event.
    pub fn unfinished(&self) -> impl Iterator<Item = &JobState> {
        self.jobs
            .iter()
            .filter(|job| !job.stage.is_terminal() && !job.foreign)
    }

    /// Returns whether another program started the run or a job that has not ended.
    pub(crate) fn has_foreign_writer(&self) -> bool {
        let is_unfinished = |job: &JobState| job.foreign && !job.stage.is_terminal();
        self.foreign || self.jobs.iter().any(is_unfinished)
    }

    /// Returns the numbers of submitted, ended and failed jobs.
    pub fn job_counts(&self) -> JobCounts {
        let ended = self.jobs.iter().filter(|job| job.stage.is_terminal());
        JobCounts {
            submitted: self.jobs_total as u64,
            ended: ended.count() as u64,
            failed: self.jobs_failed as u64,
        }
    }

    /// Returns the milliseconds from the first event to the close; `None` while the run is open.
    pub fn duration_ms(&self) -> Option<u64> {
        let duration = self.closed_ts?.duration_since(self.opened_ts?);
        self.closed_after_ms
            .or_else(|| u64::try_from(duration.as_millis()).ok())
    }

    /// Returns whether the run was closed.
    pub fn is_closed(&self) -> bool {
        self.closed_ts.is_some()
    }

    /// Returns whether the run is closed and counts as failed.
    pub fn has_failed(&self) -> bool {
        self.aborted || self.jobs_failed > 0
    }

    /// Returns the state for the last line of a run: at most 32 KiB of JSON, with as many jobs
    /// as fit.
    ///
    /// # Errors
    /// The state cannot be serialized.
    pub fn summary(&self) -> serde_json::Result<Box<serde_json::value::RawValue>> {
        serde_json::value::to_raw_value(&self.truncated()?)
    }

    /// Returns the state with as many jobs as fit into a summary.
    pub(crate) fn truncated(&self) -> serde_json::Result<Self> {
        let mut short = Self {
            name: self.name.clone(),
            host: self.host.clone(),
            parent: self.parent.clone(),
            trace: self.trace.clone(),
            rerun_of: self.rerun_of.clone(),
            rerun_by: self.rerun_by.clone(),
            first_id: self.first_id,
            boot_id: self.boot_id.clone(),
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

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde requires this signature"
)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}
