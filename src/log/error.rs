//! Errors of the log layer.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::log::format::event_type::EventType;
use crate::log::format::note_data::DataError;
use crate::volume::{JobId, RunId, VolumeError};

/// What can go wrong while a log is written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Trouble with a file or folder.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A lock was held by others for longer than the budget.
    #[error("{} stayed locked by another process for {}", path.display(), seconds(*budget))]
    LockTimeout {
        /// The locked file.
        path: PathBuf,
        /// How long was waited.
        budget: Duration,
    },
    /// There is one gc at a time.
    #[error("another gc is at work: {} is locked", path.display())]
    GcRunning {
        /// The locked file.
        path: PathBuf,
    },
    /// No run has this id.
    #[error("no run {run}")]
    NoSuchRun {
        /// The id that was asked for.
        run: String,
    },
    /// gc removed no run with this id.
    #[error("gc has removed no run {run}")]
    NotRetired {
        /// The id that was asked for.
        run: String,
    },
    /// The volume has no run.
    #[error("{} has no run yet", volume.display())]
    NoRuns {
        /// The volume.
        volume: PathBuf,
    },
    /// What is to be read as a log is something else.
    #[error("{} is no regular file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// The folder of the run was removed or replaced while it was held open.
    #[error("the run's folder {} was removed or replaced", path.display())]
    RunGone {
        /// Where the folder was.
        path: PathBuf,
    },
    /// The run was closed; it takes no such event any more.
    #[error("run {run} is closed")]
    Closed {
        /// The run.
        run: RunId,
    },
    /// The run cannot be closed yet.
    #[error("run {run} has jobs without an end: {}", jobs.join(", "))]
    Unfinished {
        /// The run.
        run: RunId,
        /// Its jobs that have no terminal event.
        jobs: Vec<String>,
    },
    /// The id of the job is in use.
    #[error("run {run} has a job {job} already")]
    JobTaken {
        /// The run.
        run: RunId,
        /// The id that was asked for.
        job: JobId,
    },
    /// The run is full.
    #[error("run {run} has {limit} jobs, which is the most a run can have")]
    TooManyJobs {
        /// The run.
        run: RunId,
        /// The limit.
        limit: usize,
    },
    /// The run was written by omne, whose own reader refuses our events.
    #[error("run {run} was written by another program, which cannot read runlog's events")]
    ForeignRun {
        /// The run.
        run: RunId,
    },
    /// The log has lines of a format that this runlog does not know.
    #[error("{} was written by a newer runlog", path.display())]
    NewerFormat {
        /// The segment.
        path: PathBuf,
    },
    /// The last event has a number or an id that nothing can follow.
    #[error("{} has an event whose number or id is the last there can be", path.display())]
    UsedUp {
        /// The segment.
        path: PathBuf,
    },
    /// An event is longer than a line may be.
    #[error("an event of {bytes} bytes is over the limit of {limit}; nothing was written")]
    TooLong {
        /// Length of its line.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It makes events of this type of what it knows: closing with [`crate::log::write::append::Close`].
    #[error("{} is written by the log itself", kind.as_str())]
    NotForDrafts {
        /// The type.
        kind: EventType,
    },
    /// The user's JSON cannot be an event's data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// There is no room for another ordinary event.
    #[error("no space left for {}: {source}; nothing was written", path.display())]
    NoSpace {
        /// The segment.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A write ended early; the lines that are whole stand.
    #[error("cannot write all of {}: {source}; {stand} of {of} events stand", path.display())]
    ShortWrite {
        /// The segment.
        path: PathBuf,
        /// How many events of the batch are in the log.
        stand: usize,
        /// How many there were.
        of: usize,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The events are in the log, but a power loss may take them.
    #[error("written, not durable: cannot sync {}: {source}", path.display())]
    NotDurable {
        /// What could not be synced.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// An event could not be made into JSON.
    #[error("cannot write an event as JSON: {0}")]
    Serialize(#[from] serde_json::Error),
}

impl LogError {
    /// A failed sync of a folder: what was written stands, and may not last.
    pub(crate) fn not_durable(e: VolumeError) -> Self {
        match e {
            VolumeError::Io { path, source, .. } => Self::NotDurable { path, source },
            other => other.into(),
        }
    }
}

fn seconds(d: Duration) -> String {
    format!("{} s", d.as_secs())
}
