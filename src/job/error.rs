//! Errors of the job layer.

use std::io;

use crate::log::LogError;

/// Why a job could not be submitted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Trouble with the log of its run.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The supervisor lacks something of the operating system.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried, as a verb.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}
