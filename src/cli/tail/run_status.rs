//! Tells the state of a run that is followed, and so when it has ended.

use anyhow::Result;

use crate::job::{RunStatus, RunVerdict, inspect_run, run_verdict};
use crate::log::{Item, RunState};
use crate::volume::Dir;

/// The state of a run, folded as its events come.
#[derive(Debug, Default)]
pub(crate) struct RunStatusTracker {
    state: Option<RunState>,
}

impl RunStatusTracker {
    /// Takes in what was read.
    pub(crate) fn apply(&mut self, item: &Item<'_>) {
        if let Some(state) = &mut self.state {
            item.fold_into(state);
        }
    }

    /// The state now, as far as the events of the run in `dir` were taken in.
    pub(crate) fn now(&mut self, dir: &Dir) -> Result<RunVerdict> {
        let Some(state) = &self.state else {
            let examined = inspect_run(dir, false)?;
            self.state = Some(examined.summary.state);
            return Ok(examined.verdict);
        };
        let inspected = run_verdict(dir, state);
        Ok(if inspected.state == RunStatus::Lost {
            // Its end may have been written just before the lease was looked at.
            inspect_run(dir, false)?.verdict
        } else {
            inspected
        })
    }
}
