//! The live view: the content of the screen at one moment, truncated to its size.

pub(crate) mod job_activity;
pub(crate) mod progress;
pub(crate) mod run_list;
pub(crate) mod run_view;
pub(crate) mod watched_run;
