//! The live view: what is on the screen at one moment, cut to its size.

pub(crate) mod job_activity;
pub(crate) mod progress;
pub(crate) mod run_list;
pub(crate) mod run_view;
pub(crate) mod watched_run;
