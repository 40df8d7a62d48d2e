//! Errors of the log: one type for each operation, which shows what a retry may do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::log::format::event_type::EventType;
use crate::log::format::note_data::DataError;
use crate::volume::{JobId, RunId, VolumeError};

/// An error with the files or locks of a log. No event was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A file or directory cannot be used.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Another process held a lock for longer than the timeout.
    #[error("another process has held the lock of `{}` for {} s", path.display(), timeout.as_secs())]
    LockTimeout {
        /// The locked file.
        path: PathBuf,
        /// How long this process waited.
        timeout: Duration,
    },
    /// The path to read as a log is not a regular file.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path that was named.
        path: PathBuf,
    },
    /// The directory of the run was removed or replaced while it was open.
    #[error("the directory of the run, `{}`, was removed or replaced", path.display())]
    RunRemoved {
        /// Where the directory was.
        path: PathBuf,
    },
    /// The log has lines of a format that this version does not know.
    #[error("`{}` was written by a newer runlog", path.display())]
    NewerFormat {
        /// The segment.
        path: PathBuf,
    },
    /// The disk or the quota has no room for another ordinary event.
    #[error("nothing was written to `{}`", path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
}

impl StorageError {
    /// Returns whether a file or directory does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        match self {
            Self::Volume(e) => e.io_kind() == Some(io::ErrorKind::NotFound),
            _ => false,
        }
    }
}

/// A failed sync: the written data may not survive a power loss.
///
/// A sync is never retried, because the kernel may have dropped the dirty pages and would then
/// report success (`fsync(2)`, `EIO`).
#[derive(Debug, thiserror::Error)]
#[error("cannot sync `{}`", path.display())]
pub struct SyncError {
    /// The file or directory.
    pub path: PathBuf,
    /// The error of the operating system.
    #[source]
    pub source: io::Error,
}

/// An event cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// The line would exceed the maximum length.
    #[error("an event of {bytes} bytes is over the limit of {limit}; nothing was written")]
    TooLong {
        /// The length of the line, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The log itself writes events of this type, such as the close of a run
    /// ([`Close`](crate::log::Close)).
    #[error("only the log itself writes `{}`", kind.as_str())]
    Reserved {
        /// The type.
        kind: EventType,
    },
    /// The JSON cannot be the data of an event.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The payload cannot be serialized.
    #[error("cannot serialize an event")]
    Serialize(#[from] serde_json::Error),
}

/// The reason why a log rejects a batch. The log is unchanged, and a retry is rejected too.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The run is closed.
    #[error("run `{run}` is closed")]
    Closed {
        /// The run.
        run: RunId,
    },
    /// The run cannot be closed yet.
    #[error("run `{run}` has jobs that have not ended: {}", jobs.join(", "))]
    Unfinished {
        /// The run.
        run: RunId,
        /// The jobs without a terminal event.
        jobs: Vec<String>,
    },
    /// The id of the job is in use.
    #[error("run `{run}` already has a job `{job}`")]
    JobTaken {
        /// The run.
        run: RunId,
        /// The id.
        job: JobId,
    },
    /// The run is full.
    #[error("run `{run}` has {limit} jobs, the maximum for a run")]
    TooManyJobs {
        /// The run.
        run: RunId,
        /// The maximum.
        limit: usize,
    },
    /// Another program wrote the run, and its reader rejects runlog's events.
    #[error("run `{run}` was written by another program, which cannot read runlog's events")]
    Foreign {
        /// The run.
        run: RunId,
    },
    /// The last event has the highest possible sequence number or id.
    #[error("`{}` has an event with the highest possible sequence number or id", path.display())]
    SequenceExhausted {
        /// The segment.
        path: PathBuf,
    },
    /// An event of the batch cannot be encoded.
    #[error(transparent)]
    Draft(#[from] DraftError),
}

/// The reason why a batch was not appended, and how much of it is in the log nevertheless.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The log rejected the batch. Nothing was written, and a retry is rejected too.
    #[error(transparent)]
    Refused(Refusal),
    /// Nothing was written. A retry appends the batch once.
    #[error(transparent)]
    NotWritten(#[from] StorageError),
    /// Only the first events of the batch are in the log. A retry must leave them out.
    #[error("wrote only {written} of {total} events to `{}`", path.display())]
    Partial {
        /// The segment.
        path: PathBuf,
        /// The number of events of the batch that are in the log.
        written: usize,
        /// The number of events in the batch.
        total: usize,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The whole batch is in the log, but may not survive a power loss. A retry would append it
    /// twice.
    #[error("written, not durable")]
    NotDurable(#[from] SyncError),
}

impl From<Refusal> for AppendError {
    fn from(e: Refusal) -> Self {
        Self::Refused(e)
    }
}

impl From<DraftError> for AppendError {
    fn from(e: DraftError) -> Self {
        Self::Refused(e.into())
    }
}

impl From<VolumeError> for AppendError {
    fn from(e: VolumeError) -> Self {
        Self::NotWritten(e.into())
    }
}

/// The reason why a log was not rotated, pruned or compressed.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// Nothing was rotated.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The repair that precedes a rotation, or its checkpoint, could not be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log was rotated, but a power loss may undo that.
    #[error("rotated, not durable")]
    NotDurable(#[from] SyncError),
}

impl From<DraftError> for RotateError {
    fn from(e: DraftError) -> Self {
        Self::Append(e.into())
    }
}

impl From<VolumeError> for RotateError {
    fn from(e: VolumeError) -> Self {
        Self::Storage(e.into())
    }
}

/// The reason why gc did not remove runs.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// Another gc is running on the volume.
    #[error("another gc is running: `{}` is locked", path.display())]
    Running {
        /// The locked file.
        path: PathBuf,
    },
    /// A file or directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A tombstone cannot be encoded.
    #[error("cannot serialize the summary of a removed run")]
    Serialize(#[from] serde_json::Error),
    /// The runs were moved or recorded, but a power loss may undo that.
    #[error("removed, not durable")]
    NotDurable(#[from] SyncError),
}

impl From<VolumeError> for GcError {
    fn from(e: VolumeError) -> Self {
        Self::Storage(e.into())
    }
}

impl SyncError {
    /// Converts the error of a failed directory sync.
    pub(crate) fn from_volume(e: VolumeError) -> Self {
        match e {
            VolumeError::Io { path, source, .. } => Self { path, source },
            // A directory sync returns no other error.
            other => Self {
                path: PathBuf::new(),
                source: io::Error::other(other),
            },
        }
    }
}
