//! Reading captured output.

pub(crate) mod interleave;
pub(crate) mod job_output;
