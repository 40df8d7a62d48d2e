//! What to run, and whether it may be started.

pub(crate) mod job_spec;
pub(crate) mod validate;
