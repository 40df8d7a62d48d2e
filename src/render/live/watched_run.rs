//! The facts about a run and its jobs while they are watched.

use jiff::Timestamp;

use crate::job::{LiveJob, RunStatus};
use crate::log::{JobState, RunState, Ulid};
use crate::volume::RunId;

/// How many bytes at the end of a job's output are enough to fill a screen.
pub const OUTPUT_TAIL_BYTES: usize = 16 << 10;

/// The maximum number of jobs of one run that get their own lines.
pub const MAX_SHOWN_JOBS: usize = 8;

/// A watched run, with only the facts that are kept for each of many runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedRun {
    /// The id.
    pub run_id: RunId,
    /// The id of the first event, which orders runs by age.
    pub first_id: Option<Ulid>,
    /// The name that the user gave it.
    pub name: String,
    /// The state at the last check.
    pub state: RunStatus,
    /// When its first event was written.
    pub opened_ts: Option<Timestamp>,
    /// The time from the first event to the close, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The number of jobs.
    pub jobs_total: usize,
    /// The number of jobs that failed.
    pub jobs_failed: usize,
}

impl WatchedRun {
    /// Creates the record of a run in this state.
    pub fn new(run_id: RunId, run: &RunState, state: RunStatus) -> Self {
        // A run without events is as old as its id.
        let age = || run_id.ulid();
        Self {
            first_id: run.first_id.or_else(age),
            run_id,
            name: run.name.clone(),
            state,
            opened_ts: run.opened_ts,
            duration_ms: run.duration_ms(),
            jobs_total: run.jobs_total,
            jobs_failed: run.jobs_failed,
        }
    }

    /// Returns the key that orders runs by age.
    pub fn age(&self) -> (Option<Ulid>, &RunId) {
        (self.first_id, &self.run_id)
    }

    /// Returns whether the run has not ended.
    pub fn is_live(&self) -> bool {
        !self.state.has_ended()
    }
}

/// A job that has not ended, at one moment.
#[derive(Debug, Clone)]
pub struct JobNow {
    /// The state from the log.
    pub job: JobState,
    /// The facts that are not in the log.
    pub more: LiveJob,
    /// The end of its output.
    pub printed: Vec<u8>,
}
