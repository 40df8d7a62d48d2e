//! Tracks the state of a followed run, and so notices when it has ended.

use anyhow::Result;

use crate::job::{RunStatus, RunVerdict, inspect_run, run_verdict};
use crate::log::{Fold, Item, JobScope};
use crate::volume::Dir;

/// The state of a run, folded as its events arrive.
#[derive(Debug, Default)]
pub(crate) struct RunStatusTracker {
    fold: Option<Fold>,
}

impl RunStatusTracker {
    /// Applies an item that was read.
    pub(crate) fn apply(&mut self, item: &Item<'_>) {
        if let Some(fold) = &mut self.fold {
            fold.apply(item);
        }
    }

    /// Returns the current state, from the events applied so far and the run in `dir`.
    pub(crate) fn now(&mut self, dir: &Dir) -> Result<RunVerdict> {
        let Some(fold) = &self.fold else {
            let inspected = inspect_run(dir, JobScope::Summarized)?;
            self.fold = Some(Fold::from(inspected.summary));
            return Ok(inspected.verdict);
        };
        let verdict = run_verdict(dir, &fold.state);
        Ok(if verdict.state == RunStatus::Lost {
            // The end may have been written just before the lease was checked.
            inspect_run(dir, JobScope::Summarized)?.verdict
        } else {
            verdict
        })
    }
}
