//! The state of a run as it was at some point of its log.

use super::run_status::{RunVerdict, run_verdict};
use crate::log::{RunState, RunStatus};
use crate::volume::Dir;

/// Tells the state from what the log said at that point. Whether a supervisor lived then
/// is not in the log: a job without an end counts as running.
pub fn status_at(dir: &Dir, run: &RunState) -> RunVerdict {
    if run.is_closed() {
        // Leases tell nothing more of a closed run.
        return run_verdict(dir, run);
    }
    let foreign = run.foreign || run.jobs.iter().any(|j| j.foreign && !j.stage.is_terminal());
    let (state, because) = match run.unfinished().next() {
        Some(job) => {
            let because = format!("job {} had no end at that point", job.job_id);
            (RunStatus::Running, because)
        }
        None if foreign => (
            RunStatus::Unknown,
            "the run was not closed at that point, and its writer holds no lease".to_owned(),
        ),
        None => (
            RunStatus::Open,
            "the run was not closed at that point, and no job was live".to_owned(),
        ),
    };
    RunVerdict { state, because }
}
