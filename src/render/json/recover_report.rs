//! What `runlog replay --recover` and `--rollback` did to a run, as a JSON line.

use serde::Serialize;

use crate::job::{RecoveryOutcome, UndoOutcome};
use crate::volume::RunId;

/// The outcome of recovering a run.
#[derive(Debug, Serialize)]
pub struct RecoveryReport<'a> {
    /// The run.
    pub run_id: &'a RunId,
    /// The steps that were done.
    #[serde(flatten)]
    pub recovery: &'a RecoveryOutcome,
}

/// The outcome of rolling back a run.
#[derive(Debug, Serialize)]
pub struct UndoReport<'a> {
    /// The run.
    pub run_id: &'a RunId,
    /// The jobs that had something to roll back.
    pub undone: &'a [UndoOutcome],
}
