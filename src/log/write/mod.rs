//! The append protocol, tail recovery, rotation and pruning.

pub(crate) mod active_segment;
pub(crate) mod append;
pub(crate) mod append_request;
pub(crate) mod auto_rotate;
pub(crate) mod batch;
pub(crate) mod catch_up;
pub(crate) mod checkpoint;
pub(crate) mod commit_delay;
pub(crate) mod draft;
pub(crate) mod encode;
pub(crate) mod end_of_log;
pub(crate) mod foreign_end;
pub(crate) mod group_commit;
pub(crate) mod handle;
pub(crate) mod locked;
pub(crate) mod prune;
pub(crate) mod recover_tail;
pub(crate) mod remove_empty;
pub(crate) mod repair;
pub(crate) mod rotate;
pub(crate) mod rotation_policy;
pub(crate) mod run_log;
pub(crate) mod tail;
pub(crate) mod unlocked_reads;
pub(crate) mod upkeep;
pub(crate) mod write_batch;
pub(crate) mod writer_state;

#[cfg(test)]
mod close_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod protocol_tests;
#[cfg(test)]
mod repair_tests;
#[cfg(test)]
mod rotate_tests;
#[cfg(test)]
mod rotation_model_tests;
#[cfg(test)]
mod writers_tests;
