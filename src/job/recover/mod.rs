//! Recovering crashed runs, stopping runs, and rolling back runs.

mod deferred_command;
pub(crate) mod in_doubt;
pub(crate) mod lost_hooks;
pub(crate) mod recorded_job;
pub(crate) mod recover_run;
pub(crate) mod recovery;
pub(crate) mod rerun;
pub(crate) mod stop_run;
pub(crate) mod undo;
