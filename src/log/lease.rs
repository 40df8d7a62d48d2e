//! The lease: the lock on `jobs/<job_id>.out` that a job's supervisor holds for as long
//! as it lives, on its own open of the file, which no child inherits.

use std::fs::File;

use super::{LogError, lock};
use crate::volume::{Dir, JobId, layout};

/// A held lease; the kernel lets go of it when its holder dies, however that happens.
#[derive(Debug)]
pub struct Lease {
    file: File,
}

/// What a look at a job's lease tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// Its supervisor lives.
    Held,
    /// Nobody holds it.
    Free,
    /// There is no such file: lost with the power, or removed.
    Missing,
}

impl Lease {
    /// Makes the file of the job's output in `jobs`, or takes the one left behind by a
    /// start that never was written, and takes its lease. Done under the run's locks.
    ///
    /// # Errors
    /// The file cannot be made, or another process holds the lease.
    pub fn take(jobs: &Dir, job: &JobId) -> Result<Self, LogError> {
        let name = layout::job_out(job);
        let path = jobs.path().join(&name);
        let file = jobs.write(&name)?;
        // A probe holds the shared lock for a moment.
        lock::exclusive(&file, &path, lock::BUDGET)?.keep();
        Ok(Self { file })
    }

    /// The file of the job's output, to write to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Looks whether anybody holds the lease of a job of the run in `dir`, without
    /// waiting.
    ///
    /// # Errors
    /// The file cannot be opened, or the file system has no locks.
    pub fn probe(dir: &Dir, job: &JobId) -> Result<LeaseState, LogError> {
        let Some(file) = dir.read_in(layout::JOBS, &layout::job_out(job))? else {
            return Ok(LeaseState::Missing);
        };
        let path = dir.path().join(layout::JOBS).join(layout::job_out(job));
        Ok(match lock::try_shared(&file, &path)? {
            Some(_guard) => LeaseState::Free,
            None => LeaseState::Held,
        })
    }
}
