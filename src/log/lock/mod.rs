//! Advisory locks: on files of the log, and the lease of a running job.

pub(crate) mod file_lock;
pub(crate) mod lease;
