//! What the files of this room share: which stream it is, where it goes, how much is read.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Size that is asked of the pipes, in bytes: fewer wake-ups than with the 64 KiB that
/// a pipe has by default.
pub(crate) const PIPE_BYTES: usize = 1 << 20;
/// Read at a time, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// Which stream of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamId {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl StreamId {
    /// The stream of that name in the index.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Stdout, Self::Stderr]
            .into_iter()
            .find(|stream| stream.as_str() == name)
    }

    /// Its name in the index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Where what the job prints is passed on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passthrough {
    /// Nowhere.
    No,
    /// Each stream to ours of that name.
    Apart,
    /// Both to our stderr: what undoes a job must not look like its output.
    ToStderr,
}

/// Told when something goes wrong that does not concern the job.
pub type OnWarning = Arc<dyn Fn(&str) + Send + Sync>;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory to read into, which is not touched before.
pub(crate) fn new_buffer() -> Box<[MaybeUninit<u8>]> {
    Box::new_uninit_slice(CHUNK_BYTES)
}

/// The file `/dev/null`, for streams that go nowhere.
pub(crate) fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}
