//! The state of a run at some point of its log.

use super::run_status::{RunVerdict, run_verdict, verdict};
use crate::log::{RunState, RunStatus};
use crate::volume::Dir;

/// Determines the state from the log up to that point. The log does not show whether a
/// supervisor was alive then, so a job without a terminal event counts as running.
pub fn status_at(dir: &Dir, run: &RunState) -> RunVerdict {
    if run.is_closed() {
        // The leases of a closed run do not matter.
        return run_verdict(dir, run);
    }
    let (state, because) = match run.unfinished().next() {
        Some(job) => {
            let because = format!("job {} had not ended at that point", job.job_id);
            (RunStatus::Running, because)
        }
        None if run.has_foreign_writer() => (
            RunStatus::Unknown,
            "the run was not closed at that point, and another program wrote it, whose writer \
             cannot be checked"
                .to_owned(),
        ),
        None => (
            RunStatus::Open,
            "the run was not closed at that point, and no job was live".to_owned(),
        ),
    };
    verdict(state, because)
}
