//! Notification of changes in runs.

pub(crate) mod wait_for_change;
pub(crate) mod watcher;
