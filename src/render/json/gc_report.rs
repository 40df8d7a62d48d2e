//! What `runlog gc` did to a run, or would do, as a JSON line.

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
    /// A segment of a kept run is removed.
    Drop,
    /// The remains of an interrupted gc in the trash are removed.
    Finish,
    /// A named run is kept.
    Keep,
    /// The run is skipped this time.
    Skip,
    /// The run could not be removed.
    Fail,
}

impl GcAction {
    /// Returns whether this action frees disk space.
    pub(crate) fn removes(self) -> bool {
        matches!(self, Self::Remove | Self::Drop | Self::Finish)
    }
}

/// One line of gc. It has the same keys for every action and in a dry run.
#[derive(Debug, Clone, Serialize)]
pub struct GcReport {
    /// The run.
    pub run_id: RunId,
    /// What happens to it.
    pub action: GcAction,
    /// Whether the action was done.
    #[serde(rename = "dry_run")]
    pub execution: Execution,
    /// The limit that caused the action.
    pub policy: Option<&'static str>,
    /// The reason, for people.
    pub why: String,
    /// The disk space that the action frees, in bytes.
    pub bytes: u64,
    /// The file of the run, if only that file is removed.
    pub file: Option<String>,
    /// The name of the run.
    pub name: Option<String>,
    /// The state of the run.
    pub state: Option<RunStatus>,
    /// When the first event of the run was written.
    #[serde(with = "rfc3339::option")]
    pub opened_ts: Option<Timestamp>,
    /// When the run was closed.
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

    /// Creates a report with only the id of a run.
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
