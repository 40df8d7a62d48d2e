//! What the files of this room share: the streams of a job, where they go, and how much is
//! read at a time.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The size that is asked of the pipes, in bytes: fewer wake-ups than with the 64 KiB that a
/// pipe has by default.
pub(crate) const PIPE_BYTES: usize = 1 << 20;
/// The number of bytes that are read at a time.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// A stream of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamId {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Both, in one pipe, in their exact order.
    Both,
}

impl StreamId {
    /// All streams.
    pub(crate) const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Both];

    /// Returns the place of the stream in [`StreamId::ALL`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
            Self::Both => 2,
        }
    }

    /// Returns the place of its pipe among those of an attempt.
    pub(crate) fn pipe_index(self) -> usize {
        match self {
            Self::Stdout | Self::Both => 0,
            Self::Stderr => 1,
        }
    }

    /// Returns the stream of that name in the index.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.as_str() == name)
    }

    /// Returns the name of the stream in the index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Both => "both",
        }
    }
}

/// Where runlog passes on what the job prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passthrough {
    /// Nowhere.
    No,
    /// Each stream to runlog's own of that name.
    Apart,
    /// Both to runlog's stderr: what undoes a job must not look like its output.
    ToStderr,
}

/// Called when something goes wrong that does not concern the job.
pub type OnWarning = Arc<dyn Fn(&str) + Send + Sync>;

/// Called when the reader of a stream is gone, and its pipe is to be closed everywhere.
pub(crate) type OnReaderGone = Arc<dyn Fn(StreamId) + Send + Sync>;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns memory to read into, which is not touched before.
pub(crate) fn new_buffer() -> Box<[MaybeUninit<u8>]> {
    Box::new_uninit_slice(CHUNK_BYTES)
}

/// Opens `/dev/null`, for streams that go nowhere.
pub(crate) fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}
