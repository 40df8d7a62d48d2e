//! Errors of the job layer.

use std::io;

use crate::log::{AppendError, StorageError};

/// Why a job could not be submitted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The events that precede the start were not appended.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Trouble with the files of the run.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The supervisor lacks something of the operating system.
    #[error("cannot {action}")]
    System {
        /// What was tried, as a verb.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}
