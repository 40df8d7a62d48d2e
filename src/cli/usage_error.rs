//! The error for invalid arguments.

/// Invalid arguments that clap cannot detect.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct UsageError {
    pub message: String,
    pub hint: &'static str,
}
