//! Advisory locks: on files of the log, the lease of a running job, and the named locks of runs.

pub(crate) mod file_lock;
pub(crate) mod lease;
pub(crate) mod named_lock;
