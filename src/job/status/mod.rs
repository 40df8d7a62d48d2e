//! The state of a run as it is now or was at some point.

pub(crate) mod live_run;
pub(crate) mod run_status;
pub(crate) mod status_at;
pub(crate) mod typical_duration;
