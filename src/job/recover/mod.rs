//! Recovering crashed runs and undoing runs.

pub(crate) mod recover_run;
pub(crate) mod undo;
