//! Recovering crashed runs, stopping runs and undoing runs.

pub(crate) mod in_doubt;
pub(crate) mod recover_run;
pub(crate) mod stop_run;
pub(crate) mod undo;
