//! A run as the commands report it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use crate::job::{DurationVerdict, InspectedRun, RunStatus, UsualDuration};
use crate::log::format::payload::{EnclosingJob, ForwardedSignal, JobError, Output, ProcessRef};
use crate::log::{JobState, ProbeState, Rollback, Stage, Tombstone, Ulid};
use crate::volume::{JobId, RunId, Volume, elapsed_ms, is_this_boot, rfc3339, wall_clock};

/// The last event that a state is based on.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReportedAt {
    /// The sequence number, if the event has one.
    pub seq: Option<u64>,
    /// When the event was written.
    #[serde(with = "rfc3339::option")]
    pub ts: Option<Timestamp>,
}

/// A run as `status --json` reports it. Keys without a value are `null`.
#[derive(Debug, Clone, Serialize)]
pub struct RunRecord {
    /// The id.
    pub run_id: RunId,
    /// The name that the user gave it.
    pub name: String,
    /// The current state.
    pub state: RunStatus,
    /// The evidence for the state.
    pub because: String,
    /// The host that opened the run.
    pub host: Option<String>,
    /// The job that opened the run.
    pub parent: Option<EnclosingJob>,
    /// The id of the distributed trace that the run belongs to.
    pub trace_id: Option<String>,
    /// The run that this one runs again.
    pub rerun_of: Option<RunId>,
    /// The last run that runs this one again.
    pub rerun_by: Option<RunId>,
    /// When the first event was written.
    #[serde(with = "rfc3339::option")]
    pub opened_ts: Option<Timestamp>,
    /// When the run was closed.
    #[serde(with = "rfc3339::option")]
    pub closed_ts: Option<Timestamp>,
    /// The time from the first event to the close, or until now if the run is running, in
    /// milliseconds.
    pub duration_ms: Option<u64>,
    /// The total number of events that the run has had.
    pub events: u64,
    /// The size of the log in bytes.
    pub bytes: u64,
    /// The number of damaged places in the log, which were skipped.
    pub damaged: u64,
    /// The number of jobs.
    pub jobs_total: usize,
    /// The number of jobs that failed.
    pub jobs_failed: usize,
    /// The jobs, in the order of their submission.
    pub jobs: Vec<JobRecord>,
    /// When and why gc removed the run.
    #[serde(flatten)]
    pub retired: Option<Removal>,
    /// How long such runs usually take, if that was determined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual: Option<UsualReport>,
    /// The point in the log, if the state is an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<ReportedAt>,
    /// The directory of the run, or its path before gc removed it.
    #[serde(skip)]
    pub dir: PathBuf,
    /// The id of the first event, which orders runs by age.
    #[serde(skip)]
    pub first_id: Option<Ulid>,
}

/// The usual duration of runs with the same name, and how this run compares.
#[derive(Debug, Clone, Serialize)]
pub struct UsualReport {
    /// The usual duration.
    #[serde(flatten)]
    pub usual: UsualDuration,
    /// How this run compares.
    pub verdict: DurationVerdict,
}

/// The keys that `status --retired` adds to the record of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Removal {
    /// When gc removed the run.
    #[serde(with = "rfc3339")]
    pub retired_ts: Timestamp,
    /// Why gc removed it.
    pub why: String,
    /// The disk space that the removal freed, in bytes.
    pub freed_bytes: u64,
}

impl RunRecord {
    /// Creates the record of the run in this directory.
    pub fn new(run_id: RunId, dir: PathBuf, inspected: InspectedRun) -> Self {
        let InspectedRun { summary, verdict } = inspected;
        let state = summary.state;
        // A run without events is as old as its id.
        let age = || run_id.ulid();
        let now = wall_clock();
        let so_far = state.elapsed_ms(now);
        let mut record = Self {
            first_id: state.first_id.or_else(age),
            run_id,
            dir,
            duration_ms: state.duration_ms(),
            name: state.name,
            state: verdict.state,
            because: verdict.because,
            host: state.host,
            parent: state.parent,
            trace_id: state.trace.map(|trace| trace.trace_id),
            rerun_of: state.rerun_of,
            rerun_by: state.rerun_by,
            opened_ts: state.opened_ts,
            closed_ts: state.closed_ts,
            events: summary.events,
            bytes: summary.bytes,
            damaged: summary.damage.count(),
            jobs_total: state.jobs_total,
            jobs_failed: state.jobs_failed,
            jobs: state.jobs.into_iter().map(JobRecord::from).collect(),
            at: None,
            usual: None,
            retired: None,
        };
        if record.state == RunStatus::Running {
            record.duration_ms = so_far;
            for job in record
                .jobs
                .iter_mut()
                .filter(|job| !job.stage.is_terminal())
            {
                job.duration_ms = job.elapsed_ms(now);
            }
        }
        record
    }

    /// Sets the durations of a running run and of its unfinished jobs to the time until `now`,
    /// which may be in the past.
    pub fn set_elapsed(&mut self, now: Timestamp) {
        if self.state != RunStatus::Running {
            return;
        }
        let elapsed = |start: Option<Timestamp>| {
            let ms = now.duration_since(start?).as_millis();
            // The clock may have been set back.
            Some(u64::try_from(ms).unwrap_or(0))
        };
        self.duration_ms = elapsed(self.opened_ts);
        for job in self.jobs.iter_mut().filter(|job| !job.stage.is_terminal()) {
            job.duration_ms = elapsed(job.started_ts);
        }
    }

    /// Sets the usual duration of such runs. A run that did not complete may end early.
    pub fn set_usual(&mut self, usual: Option<UsualDuration>) {
        self.usual = usual.zip(self.duration_ms).map(|(usual, ms)| {
            let verdict = match usual.compare(ms) {
                DurationVerdict::Shorter if self.state != RunStatus::Completed => {
                    DurationVerdict::Usual
                }
                verdict => verdict,
            };
            UsualReport { usual, verdict }
        });
    }

    /// Returns the peak memory of the largest process of any job, in bytes.
    pub(crate) fn max_rss_bytes(&self) -> Option<u64> {
        self.jobs.iter().filter_map(|job| job.max_rss_bytes).max()
    }

    /// Returns the name of the run, or its id if it has none.
    pub(crate) fn title(&self) -> &str {
        match &*self.name {
            "" => self.run_id.as_str(),
            name => name,
        }
    }

    /// Creates the record of a run that gc removed from `volume`.
    pub fn from_tombstone(volume: &Volume, retired: Tombstone) -> Self {
        let Tombstone {
            run_id, run: state, ..
        } = retired;
        Self {
            dir: volume.run_path(&run_id),
            run_id,
            duration_ms: retired.duration_ms,
            name: state.name,
            state: retired.state,
            because: retired.because,
            host: state.host,
            parent: state.parent,
            trace_id: state.trace.map(|trace| trace.trace_id),
            rerun_of: state.rerun_of,
            rerun_by: state.rerun_by,
            opened_ts: state.opened_ts,
            closed_ts: state.closed_ts,
            events: retired.events,
            bytes: retired.bytes,
            damaged: retired.damaged,
            at: None,
            usual: None,
            jobs_total: state.jobs_total,
            jobs_failed: state.jobs_failed,
            jobs: state.jobs.into_iter().map(JobRecord::from).collect(),
            first_id: state.first_id,
            retired: Some(Removal {
                retired_ts: retired.retired_ts,
                why: retired.why,
                freed_bytes: retired.freed_bytes,
            }),
        }
    }
}

/// A job as `status --json` reports it, with the same keys in every stage.
#[derive(Debug, Clone, Serialize)]
pub struct JobRecord {
    pub job_id: JobId,
    pub stage: Stage,
    pub command: String,
    pub attempt: Option<u32>,
    pub exit_code: Option<i32>,
    pub signal: Option<String>,
    pub error: Option<JobError>,
    #[serde(with = "rfc3339::option")]
    pub submitted_ts: Option<Timestamp>,
    #[serde(with = "rfc3339::option")]
    pub started_ts: Option<Timestamp>,
    #[serde(with = "rfc3339::option")]
    pub ended_ts: Option<Timestamp>,
    pub duration_ms: Option<u64>,
    pub max_rss_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
    pub read_bytes: Option<u64>,
    pub written_bytes: Option<u64>,
    pub process: Option<ProcessRef>,
    pub supervisor: Option<ProcessRef>,
    pub front: Option<ProcessRef>,
    pub stop_request: Option<ForwardedSignal>,
    pub stop_reason: Option<String>,
    pub rollback: Option<Rollback>,
    pub output: Option<Output>,
    pub labels: BTreeMap<String, String>,
    pub probes: BTreeMap<String, ProbeState>,
    /// The last lines of output, if they are shown to people.
    #[serde(skip)]
    pub last_output: Vec<String>,
}

impl JobRecord {
    /// Returns the milliseconds from the job's start to the wall-clock time `now`.
    fn elapsed_ms(&self, now: Timestamp) -> Option<u64> {
        let started = self.started_ts?;
        // Earlier attempts count too, but only the last one has a process.
        let process = self.process.as_ref().filter(|_| self.attempt == Some(1));
        let process = process.filter(|p| is_this_boot(p.boot_id.as_ref()));
        let uptime = process.and_then(ProcessRef::start_ms);
        elapsed_ms(Some(started), now, uptime)
    }
}

impl From<JobState> for JobRecord {
    fn from(job: JobState) -> Self {
        Self {
            job_id: job.job_id,
            stage: job.stage,
            command: job.command,
            attempt: job.attempt,
            exit_code: job.exit_code,
            signal: job.signal,
            error: job.error,
            submitted_ts: job.submitted_ts,
            started_ts: job.started_ts,
            ended_ts: job.ended_ts,
            duration_ms: job.duration_ms,
            max_rss_bytes: job.max_rss_bytes,
            cpu_ms: job.cpu_ms,
            read_bytes: job.read_bytes,
            written_bytes: job.written_bytes,
            process: job.process,
            supervisor: job.supervisor,
            front: job.front,
            stop_request: job.stop_request,
            stop_reason: job.stop_reason,
            rollback: job.rollback,
            output: job.output,
            labels: job.labels,
            probes: job.probes,
            last_output: Vec::new(),
        }
    }
}
