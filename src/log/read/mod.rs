//! Reading a run's log without a lock: readers, folds, positions and cursors.

pub(crate) mod cursor;
pub(crate) mod cursor_file;
pub(crate) mod damage;
pub(crate) mod first_event;
pub(crate) mod fold;
pub(crate) mod follow;
pub(crate) mod last_lines;
pub(crate) mod missing_active;
pub(crate) mod position;
pub(crate) mod reader;
pub(crate) mod resume;
pub(crate) mod retired_position;
pub(crate) mod runtimo_wal;
pub(crate) mod segment_reader;
pub(crate) mod steady_time;
pub(crate) mod summary;

#[cfg(test)]
mod copies_tests;
#[cfg(test)]
mod fold_tests;
#[cfg(test)]
mod follow_tests;
#[cfg(test)]
mod pruned_tests;
