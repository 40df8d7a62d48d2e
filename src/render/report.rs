//! One run as the commands show it.

use std::path::PathBuf;

use serde::Serialize;

use crate::job::{Examined, RunStateKind};
use crate::log::JobState;
use crate::volume::{Dir, RunId};

/// One run as `status --json` shows it. Keys that have no value are `null`.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// Its id.
    pub run_id: RunId,
    /// The name that people gave it.
    pub name: String,
    /// Its state now.
    pub state: RunStateKind,
    /// What the state rests on.
    pub because: String,
    /// The host that opened it.
    pub host: Option<String>,
    /// When its first event was written.
    pub opened_ts: Option<String>,
    /// When it was closed.
    pub closed_ts: Option<String>,
    /// From the first event to the close, in milliseconds.
    pub duration_ms: Option<u64>,
    /// How many events it ever had.
    pub events: u64,
    /// Its log, in bytes.
    pub bytes: u64,
    /// How many damaged places were passed over.
    pub damaged: usize,
    /// How many jobs it has.
    pub jobs_total: usize,
    /// How many of them failed.
    pub jobs_failed: usize,
    /// Its jobs, in the order of their submission.
    pub jobs: Vec<JobState>,
    /// Its folder.
    #[serde(skip)]
    pub folder: PathBuf,
    /// Orders runs by age.
    #[serde(skip)]
    pub first_id: Option<String>,
}

impl RunReport {
    /// Puts together what is known of a run.
    pub fn new(run_id: RunId, dir: &Dir, examined: Examined) -> Self {
        let Examined {
            overview,
            inspected,
        } = examined;
        let state = overview.state;
        Self {
            run_id,
            folder: dir.path().to_owned(),
            duration_ms: state.duration_ms(),
            name: state.name,
            state: inspected.state,
            because: inspected.because,
            host: state.host,
            opened_ts: state.opened_ts,
            closed_ts: state.closed_ts,
            events: overview.events,
            bytes: overview.bytes,
            damaged: overview.damage.len(),
            jobs_total: state.jobs_total,
            jobs_failed: state.jobs_failed,
            jobs: state.jobs,
            first_id: state.first_id,
        }
    }
}
