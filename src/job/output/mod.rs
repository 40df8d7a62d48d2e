//! Reading the captured output of jobs.

pub(crate) mod interleave;
pub(crate) mod job_output;
