//! Tells the state of a run that is followed, and so when it has ended.

use anyhow::Result;

use crate::job::{RunStatus, RunVerdict, inspect_run, run_verdict};
use crate::log::{Fold, Item, JobScope};
use crate::volume::Dir;

/// The state of a run, folded as its events come.
#[derive(Debug, Default)]
pub(crate) struct RunStatusTracker {
    fold: Option<Fold>,
}

impl RunStatusTracker {
    /// Takes in what was read.
    pub(crate) fn apply(&mut self, item: &Item<'_>) {
        if let Some(fold) = &mut self.fold {
            fold.apply(item);
        }
    }

    /// The state now, as far as the events of the run in `dir` were taken in.
    pub(crate) fn now(&mut self, dir: &Dir) -> Result<RunVerdict> {
        let Some(fold) = &self.fold else {
            let examined = inspect_run(dir, JobScope::Summarized)?;
            self.fold = Some(Fold::from(examined.summary));
            return Ok(examined.verdict);
        };
        let inspected = run_verdict(dir, &fold.state);
        Ok(if inspected.state == RunStatus::Lost {
            // Its end may have been written just before the lease was looked at.
            inspect_run(dir, JobScope::Summarized)?.verdict
        } else {
            inspected
        })
    }
}
