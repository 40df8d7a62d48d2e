//! What `runlog gc` did to a run, or would do, as a line of JSON.

use jiff::Timestamp;
use serde::Serialize;

use super::execution::Execution;
use crate::job::RunStatus;
use crate::log::store::retention::RunInfo;
use crate::volume::{RunId, rfc3339};

/// What happens to a run or to a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GcAction {
    /// The run is removed.
    Remove,
    /// A segment of a run that is kept is removed.
    Drop,
    /// What an earlier, interrupted gc left in the trash is removed.
    Finish,
    /// A run that was named is kept.
    Keep,
    /// The run is skipped this time.
    Skip,
    /// The run could not be removed.
    Fail,
}

impl GcAction {
    /// Reports whether this action frees disk space.
    pub(crate) fn removes(self) -> bool {
        matches!(self, Self::Remove | Self::Drop | Self::Finish)
    }
}

/// One line of gc. It has the same keys for every action, and in a dry run.
#[derive(Debug, Clone, Serialize)]
pub struct GcReport {
    /// The run.
    pub run_id: RunId,
    /// What happens to it.
    pub action: GcAction,
    /// Whether nothing was done.
    #[serde(rename = "dry_run")]
    pub execution: Execution,
    /// The limit that requires the action.
    pub policy: Option<&'static str>,
    /// The reason, for people.
    pub why: String,
    /// The disk space that is freed, in bytes.
    pub bytes: u64,
    /// The file of the run, if only that is removed.
    pub file: Option<String>,
    /// The name of the run.
    pub name: Option<String>,
    /// The state of the run.
    pub state: Option<RunStatus>,
    /// When its first event was written.
    #[serde(with = "rfc3339::option")]
    pub opened_ts: Option<Timestamp>,
    /// When it was closed.
    #[serde(with = "rfc3339::option")]
    pub closed_ts: Option<Timestamp>,
}

impl GcReport {
    /// Creates a report about a run.
    pub fn new(run: &RunInfo, action: GcAction, execution: Execution, why: String) -> Self {
        Self {
            bytes: run.bytes,
            name: Some(run.name.clone()),
            state: Some(run.state),
            opened_ts: run.opened_ts,
            closed_ts: run.closed_ts,
            ..Self::bare(run.run_id.clone(), action, execution, why)
        }
    }

    /// Creates a report about something of which only the run's id is known.
    pub fn bare(run_id: RunId, action: GcAction, execution: Execution, why: String) -> Self {
        Self {
            run_id,
            action,
            execution,
            policy: None,
            why,
            bytes: 0,
            file: None,
            name: None,
            state: None,
            opened_ts: None,
            closed_ts: None,
        }
    }
}
