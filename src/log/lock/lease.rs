//! The lease: the lock on `jobs/<job_id>.out` that a job's supervisor holds for as long
//! as it lives, on its own open of the file, which no child inherits.

use std::fs::File;
use std::time::Duration;

use super::file_lock;
use crate::log::error::StorageError;
use crate::volume::{Dir, IoContext, JobId, layout};

/// Longest time that a look at a lease takes.
const MAX_PROBES: Duration = Duration::from_millis(20);

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
    /// Makes the file of the job's output in `jobs`, or takes the empty one that a start
    /// left behind which was never written, and takes its lease. `None` where the name is
    /// taken: somebody holds the lease, or something was printed, which may be all that
    /// is left of a job whose events were lost. Done under the run's locks, so nothing is
    /// waited for.
    ///
    /// # Errors
    /// The file cannot be made, or the file system has no locks.
    pub fn take(jobs: &Dir, job: &JobId) -> Result<Option<Self>, StorageError> {
        let Some(lease) = Self::hold(jobs, job)? else {
            return Ok(None);
        };
        let path = jobs.path().join(layout::job_out(job));
        let printed = lease.file.metadata().at("look at", &path)?.len() > 0;
        Ok((!printed).then_some(lease))
    }

    /// Takes the lease of a job whose supervisor is gone, so that only one process
    /// brings it to its end. `None` where somebody holds it.
    ///
    /// # Errors
    /// As [`Lease::take`].
    pub fn hold(jobs: &Dir, job: &JobId) -> Result<Option<Self>, StorageError> {
        let name = layout::job_out(job);
        let path = jobs.path().join(&name);
        let file = jobs.write(&name)?;
        // A probe holds the shared lock for a moment.
        match file_lock::exclusive_within(&file, &path, MAX_PROBES)? {
            Some(guard) => guard.keep(),
            None => return Ok(None),
        }
        Ok(Some(Self { file }))
    }

    /// Takes over the lease that another process of this job holds: `file` is a duplicate of
    /// the open file that it locked.
    pub(crate) fn inherit(file: File) -> Self {
        Self { file }
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
    pub fn probe(dir: &Dir, job: &JobId) -> Result<LeaseState, StorageError> {
        let Some(file) = dir.read_in(layout::JOBS, &layout::job_out(job))? else {
            return Ok(LeaseState::Missing);
        };
        let path = dir.path().join(layout::JOBS).join(layout::job_out(job));
        Ok(match file_lock::try_shared(&file, &path)? {
            Some(_guard) => LeaseState::Free,
            None => LeaseState::Held,
        })
    }
}
