//! Errors of the job layer.

use std::io;

use crate::log::{AppendError, StorageError};

/// An error that prevents a job from being submitted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The events that precede the start were not appended.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The files of the run cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The operating system refuses something that the supervisor needs.
    #[error("cannot {action}")]
    System {
        /// What was tried, as a verb.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}
