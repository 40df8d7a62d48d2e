//! Recovering crashed runs and undoing runs.

pub(crate) mod in_doubt;
pub(crate) mod recover_run;
pub(crate) mod undo;
