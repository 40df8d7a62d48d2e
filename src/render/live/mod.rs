//! The live view: what stands on the screen at one moment, cut to its size.

pub(crate) mod job_activity;
pub(crate) mod progress;
pub(crate) mod run_list;
pub(crate) mod run_view;

use crate::job::{LiveJob, RunStatus};
use crate::log::{JobState, RunState};
use crate::volume::RunId;

/// So much of the end of a job's output is enough to fill a screen, in bytes.
pub const OUTPUT_SHOWN: usize = 16 << 10;

/// Most jobs of one run that are told of on a line of their own.
pub const JOBS_SHOWN: usize = 8;

/// One of many runs: what is kept of each for as long as they are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedRun {
    /// Its id.
    pub run_id: RunId,
    /// Orders runs by age.
    pub first_id: Option<String>,
    /// The name that people gave it.
    pub name: String,
    /// Its state at the last look.
    pub state: RunStatus,
    /// When its first event was written.
    pub opened_ts: Option<String>,
    /// From the first event to the close, in milliseconds.
    pub duration_ms: Option<u64>,
    /// How many jobs it has.
    pub jobs_total: usize,
    /// How many of them failed.
    pub jobs_failed: usize,
}

impl WatchedRun {
    /// What is shown of a run in that state.
    pub fn new(run_id: RunId, run: &RunState, state: RunStatus) -> Self {
        Self {
            run_id,
            first_id: run.first_id.clone(),
            name: run.name.clone(),
            state,
            opened_ts: run.opened_ts.clone(),
            duration_ms: run.duration_ms(),
            jobs_total: run.jobs_total,
            jobs_failed: run.jobs_failed,
        }
    }

    /// Orders runs by age.
    pub fn age(&self) -> (Option<&String>, &RunId) {
        (self.first_id.as_ref(), &self.run_id)
    }

    /// Whether it goes on.
    pub fn is_live(&self) -> bool {
        matches!(self.state, RunStatus::Running | RunStatus::Open)
    }
}

/// A job that has not ended, at this moment.
#[derive(Debug, Clone)]
pub struct JobNow {
    /// Its state.
    pub job: JobState,
    /// What else is known of it.
    pub more: LiveJob,
    /// The end of what it printed.
    pub printed: Vec<u8>,
}
