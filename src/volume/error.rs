//! Errors of the volume layer.

use std::io;
use std::path::PathBuf;

/// An error while finding, creating or using a volume.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// No directory from `start` up to the root has an `.omne/`.
    #[error("no volume: neither `{}` nor any directory above it has an .omne directory", start.display())]
    NotFound {
        /// Where the search started.
        start: PathBuf,
    },
    /// The directory that was named as a volume has no `.omne/`.
    #[error("`{}` is not a volume: it has no .omne directory", root.display())]
    NotAVolume {
        /// The directory that was named.
        root: PathBuf,
    },
    /// The directory that was named as a volume is what runlog keeps inside of one.
    #[error("`{}` is the inside of a volume", root.display())]
    InsideVolume {
        /// The directory that was named.
        root: PathBuf,
    },
    /// A path that must be a directory is something else.
    #[error("`{}` is not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// An `.omne` directory found on the way up belongs to another user.
    #[error("`{}` belongs to another user (uid {owner})", path.display())]
    OtherOwner {
        /// The `.omne` directory.
        path: PathBuf,
        /// The uid of its owner.
        owner: u32,
    },
    /// A file of the log is not a regular file with one link.
    #[error("`{}` is {what}; runlog reads only regular files and writes only to files with one link", path.display())]
    UnsafeFile {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// A directory tree to measure or remove contains a directory that runlog does not enter.
    #[error("`{}` is {what} and was not touched", path.display())]
    NotEntered {
        /// The directory.
        path: PathBuf,
        /// The reason.
        what: &'static str,
    },
    /// The settings of the volume cannot be parsed.
    #[error("{}:{line}: {message}", path.display())]
    Settings {
        /// The settings file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The message of the parser, without its excerpt of several lines from the file.
        message: String,
    },
    /// A system call failed.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// The action that failed, as a verb.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Formats an error and its causes, outermost first, separated by `: `.
///
/// `Display` of an error leaves out its `source`, so that callers that print the whole chain do
/// not print causes twice.
pub(crate) fn error_chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        text.push_str(": ");
        text.push_str(&e.to_string());
        cause = e.source();
    }
    text
}

impl VolumeError {
    /// Returns the kind of the underlying operating-system error, if there is one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

/// Returns whether an error means that the disk or the user's quota is full.
pub(crate) fn is_out_of_space(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Adds the path and the attempted action to an operating-system error.
pub(crate) trait IoContext<T> {
    /// Converts the error. `action` is a verb that completes "cannot … <path>".
    fn at(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, VolumeError>;
}

impl<T, E: Into<io::Error>> IoContext<T> for Result<T, E> {
    fn at(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, VolumeError> {
        self.map_err(|e| VolumeError::Io {
            action,
            path: path.into(),
            source: e.into(),
        })
    }
}
