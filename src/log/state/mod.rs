//! The state of a run, which the fold computes from its events.

pub(crate) mod command_line;
pub(crate) mod job_state;
pub(crate) mod probe_state;
pub(crate) mod run_state;
pub(crate) mod run_status;
pub(crate) mod stop_reason;
