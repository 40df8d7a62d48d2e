//! The current state of a run, or that at some point of its log.

pub(crate) mod live_run;
pub(crate) mod run_status;
pub(crate) mod status_at;
pub(crate) mod typical_duration;
