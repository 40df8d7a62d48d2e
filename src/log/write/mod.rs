//! The append protocol, tail recovery, rotation and pruning.

pub(crate) mod append;
pub(crate) mod auto_rotate;
pub(crate) mod catch_up;
pub(crate) mod commit_delay;
pub(crate) mod draft;
pub(crate) mod encode;
pub(crate) mod group_commit;
pub(crate) mod prune;
pub(crate) mod recover_tail;
pub(crate) mod repair;
pub(crate) mod rotate;
pub(crate) mod run_log;
pub(crate) mod tail;
pub(crate) mod write_batch;

#[cfg(test)]
mod close_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod repair_tests;
#[cfg(test)]
mod rotate_tests;
#[cfg(test)]
mod rotation_model_tests;
#[cfg(test)]
mod writers_tests;
