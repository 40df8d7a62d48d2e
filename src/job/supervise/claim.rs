//! Claiming a job id: the id is unused, and the lease of its output file is taken.
//!
//! Neither requires folding the log: the log carries the number of jobs, and every job has an
//! output file. Only the remains of a crash or of a user's changes require reading the log.

use super::output_check::OutputCheck;
use crate::log::{
    AppendError, JobCounts, JobState, Lease, LeaseClaim, MAX_JOBS, Refusal, RunState,
};
use crate::volume::{Dir, JobId, RunId};

/// The id of a job, with its lease.
#[derive(Debug)]
pub(crate) struct ClaimedId {
    pub job: JobId,
    pub lease: Lease,
}

/// The known facts about the jobs of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum JobsSoFar<'a> {
    /// The number of jobs, and the check of their output files.
    Counted(JobCounts, &'a OutputCheck),
    /// The state of the run, from which damage hides no event.
    Folded(&'a RunState),
    /// The state of the run, from which damage may hide a job.
    Uncertain(&'a RunState),
}

impl<'a> JobsSoFar<'a> {
    /// Returns the number of jobs.
    pub(crate) fn counts(&self) -> JobCounts {
        match self {
            Self::Counted(counts, _) => *counts,
            Self::Folded(state) | Self::Uncertain(state) => state.job_counts(),
        }
    }

    /// Returns the state of a job if the log is known to contain it.
    pub(crate) fn job(&self, job: &JobId) -> Option<&'a JobState> {
        match self {
            Self::Counted(..) => None,
            Self::Folded(state) | Self::Uncertain(state) => state.job(job.as_str()),
        }
    }

    /// Returns whether `jobs` may get a stamp after the files of another job have been created.
    /// Must be called before that, under the locks.
    pub(crate) fn allows_stamp(&self, jobs: &Dir) -> bool {
        match self {
            Self::Counted(counts, outputs) => outputs.allows_stamp(jobs, *counts),
            Self::Folded(_) | Self::Uncertain(_) => false,
        }
    }

    /// Returns whether an empty output file with a free lease belongs to a job that was in the
    /// log; `None` if only the state of the run shows it.
    fn has_job_of_leftover(&self) -> Option<bool> {
        match self {
            Self::Counted(..) => None,
            Self::Folded(_) => Some(false),
            Self::Uncertain(_) => Some(true),
        }
    }
}

/// Claims the requested id, or one that is derived from `default_id`. Returns `None` if only the
/// state of the run shows whether the requested id is unused.
///
/// # Errors
/// The id is taken, or its file cannot be created.
pub(crate) fn claim(
    run: &RunId,
    jobs: &Dir,
    so_far: JobsSoFar<'_>,
    wanted: Option<&JobId>,
    default_id: impl FnOnce() -> JobId,
) -> Result<Option<ClaimedId>, AppendError> {
    let Some(job) = wanted else {
        return claim_default(run, jobs, so_far, &default_id()).map(Some);
    };
    let claim = if so_far.job(job).is_some() {
        LeaseClaim::Taken
    } else {
        Lease::claim(jobs, job)?
    };
    let job = job.clone();
    match (claim, so_far.has_job_of_leftover()) {
        (LeaseClaim::New(lease), _) | (LeaseClaim::Leftover(lease), Some(false)) => {
            Ok(Some(ClaimedId { job, lease }))
        }
        (LeaseClaim::Leftover(_), None) => Ok(None),
        (LeaseClaim::Leftover(_) | LeaseClaim::Taken, _) => {
            let run = run.clone();
            Err(Refusal::JobTaken { run, job }.into())
        }
    }
}

/// Claims `base`, or the first unused numbered id.
fn claim_default(
    run: &RunId,
    jobs: &Dir,
    so_far: JobsSoFar<'_>,
    base: &JobId,
) -> Result<ClaimedId, AppendError> {
    let first = usize::try_from(so_far.counts().submitted).unwrap_or(MAX_JOBS) + 1;
    let numbered = (first.max(2)..=2 * MAX_JOBS).map(|n| base.numbered(n));
    for job in std::iter::once(base.clone()).chain(numbered) {
        if so_far.job(&job).is_some() {
            continue;
        }
        match Lease::claim(jobs, &job)? {
            LeaseClaim::New(lease) => return Ok(ClaimedId { job, lease }),
            LeaseClaim::Leftover(lease) if so_far.has_job_of_leftover() == Some(false) => {
                return Ok(ClaimedId { job, lease });
            }
            LeaseClaim::Leftover(_) | LeaseClaim::Taken => {}
        }
    }
    let (run, limit) = (run.clone(), MAX_JOBS);
    Err(Refusal::TooManyJobs { run, limit }.into())
}
