//! The lease: the lock on `jobs/<job_id>.out` that a job's supervisor holds until it exits. The
//! supervisor opens the file for itself, and no child inherits the descriptor.

use std::fs::File;
use std::time::Duration;

use super::file_lock;
use crate::log::error::StorageError;
use crate::volume::{Dir, IoContext, JobId, layout};

/// How long a claim waits for a probe, which holds the shared lock only briefly.
const MAX_PROBE_TIME: Duration = Duration::from_millis(20);

/// A lease that this process holds. The kernel releases it when the process exits for any
/// reason.
#[derive(Debug)]
pub struct Lease {
    file: File,
}

/// The state of a job's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// The supervisor is alive.
    Held,
    /// No process holds the lease.
    Free,
    /// The file does not exist: it was removed, or lost in a power failure.
    Missing,
}

/// The outcome of an attempt to claim a job id by its lease.
#[derive(Debug)]
pub enum LeaseClaim {
    /// The file is new.
    New(Lease),
    /// The file is empty and its lease was free. Either a start was interrupted before its job
    /// was in the log, or its job printed nothing.
    Leftover(Lease),
    /// The lease is held, or the job has output.
    Taken,
}

impl Lease {
    /// Creates the file of a job's output in `jobs` and acquires its lease.
    ///
    /// Callers hold the locks of the run, so this does not wait for long.
    ///
    /// # Errors
    /// The file cannot be created, or the file system does not support locks.
    pub fn claim(jobs: &Dir, job: &JobId) -> Result<LeaseClaim, StorageError> {
        let existed = jobs.stat(&layout::job_out(job))?.is_some();
        let Some(lease) = Self::hold(jobs, job)? else {
            return Ok(LeaseClaim::Taken);
        };
        let path = jobs.path().join(layout::job_out(job));
        // The output may be all that remains of a job whose events were lost.
        let has_output = lease.file.metadata().at("stat", &path)?.len() > 0;
        Ok(match (existed, has_output) {
            (_, true) => LeaseClaim::Taken,
            (true, false) => LeaseClaim::Leftover(lease),
            (false, false) => LeaseClaim::New(lease),
        })
    }

    /// Acquires the lease of a job whose supervisor died, so that only one process ends the job.
    /// Returns `None` if another process holds it.
    ///
    /// # Errors
    /// The file cannot be created, or the file system does not support locks.
    pub fn hold(jobs: &Dir, job: &JobId) -> Result<Option<Self>, StorageError> {
        let name = layout::job_out(job);
        let path = jobs.path().join(&name);
        let file = jobs.write(&name)?;
        match file_lock::exclusive_within(&file, &path, MAX_PROBE_TIME)? {
            Some(guard) => guard.keep(),
            None => return Ok(None),
        }
        Ok(Some(Self { file }))
    }

    /// Takes over a lease that another process of this job holds. `file` is a duplicate of the
    /// open file that the other process locked.
    pub(crate) fn inherit(file: File) -> Self {
        Self { file }
    }

    /// Releases the lease for all processes that hold it, because they share one open file.
    pub(crate) fn release(self) {
        file_lock::release(&self.file);
    }

    /// Returns the number of output files in `jobs`.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn count(jobs: &Dir) -> Result<u64, StorageError> {
        let names = jobs.names()?;
        let outputs = names
            .iter()
            .filter(|name| name.ends_with(layout::OUTPUT_SUFFIX));
        Ok(outputs.count() as u64)
    }

    /// Returns the file of the job's output, open for writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns whether a process holds the lease of a job of the run in `dir`, without
    /// waiting.
    ///
    /// # Errors
    /// The file cannot be opened, or the file system does not support locks.
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
