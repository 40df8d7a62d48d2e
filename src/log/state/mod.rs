//! The state of a run: what a fold over its events gives.

pub(crate) mod command_line;
pub(crate) mod job_state;
pub(crate) mod probe_state;
pub(crate) mod run_state;
pub(crate) mod run_status;
