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
    /// A system call that the supervisor needs failed.
    #[error("cannot {action}")]
    System {
        /// The action that failed, as a verb.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}
