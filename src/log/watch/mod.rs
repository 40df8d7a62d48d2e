//! Waiting for files to change.

pub(crate) mod wait_for_change;
pub(crate) mod watcher;
