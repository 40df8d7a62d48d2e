//! Running a job, from its submission to its terminal event.

pub(crate) mod append_terminal;
pub(crate) mod attached;
mod attempts;
pub(crate) mod child;
pub(crate) mod claim;
pub(crate) mod control;
pub(crate) mod detach;
pub(crate) mod forward;
pub(crate) mod front;
pub(crate) mod front_link;
mod front_terminal;
mod hook_limit;
mod hook_streams;
pub(crate) mod hooks;
pub(crate) mod job_events;
mod key_relay;
mod leftover_output;
pub(crate) mod outcome;
mod output_check;
pub(crate) mod recorder;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod submit;
pub(crate) mod supervisor;
pub(crate) mod supervisor_env;
pub(crate) mod unlogged;
mod unsupervised;
