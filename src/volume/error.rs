//! Errors of the volume layer.

use std::io;
use std::path::PathBuf;

/// What can go wrong while a volume is found, made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// No folder with `.omne/` from here up to the root.
    #[error("no volume: neither {} nor a folder above it has an .omne folder", start.display())]
    NotFound {
        /// Where the search began.
        start: PathBuf,
    },
    /// The folder named as a volume has no `.omne/`.
    #[error("{} is not a volume: it has no .omne folder", root.display())]
    NotAVolume {
        /// The folder that was named.
        root: PathBuf,
    },
    /// Something that is not a folder stands where one is needed.
    #[error("{} is not a folder", path.display())]
    NotADirectory {
        /// What stands there.
        path: PathBuf,
    },
    /// An `.omne` folder found on the way up belongs to somebody else.
    #[error("{} belongs to another user (uid {owner})", path.display())]
    OtherOwner {
        /// The `.omne` folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A file of the log is not a regular file with one link.
    #[error("{} is {what}; runlog takes only regular files, and writes only to one with one link", path.display())]
    UnsafeFile {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// Something in a folder that is to go does not belong there.
    #[error("{} is {what}: left alone", path.display())]
    NotEntered {
        /// What is left alone.
        path: PathBuf,
        /// Why.
        what: &'static str,
    },
    /// The volume's settings are not what settings look like.
    #[error("{}:{line}: {message}", path.display())]
    Settings {
        /// The file of the settings.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong; the whole error would show the text around it, on several lines.
        message: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Formats an error and its causes, outermost first, separated by `: `.
///
/// `Display` of an error leaves out its `source`, so that callers that print the whole chain
/// do not print causes twice.
#[doc(hidden)]
pub fn error_chain(e: &dyn std::error::Error) -> String {
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
    /// The underlying error of the operating system, where there is one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

/// Puts the path and the attempt into an error of the operating system.
pub(crate) trait IoContext<T> {
    /// `action` is a verb that completes "cannot … <path>".
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
