//! The job to run, and the checks before its start.

pub(crate) mod job_spec;
pub(crate) mod retry_policy;
pub(crate) mod stream_plan;
pub(crate) mod validate;
