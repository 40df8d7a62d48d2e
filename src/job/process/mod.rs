//! Processes and signals.

pub(crate) mod file_ownership;
pub(crate) mod liveness;
pub(crate) mod sys;
