//! Definitions that the files of this room share: the targets of a job's streams, and the sizes
//! of reads.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use crate::log::StreamId;

/// The size of a pipe through which much has passed, in bytes. It causes fewer wake-ups than the
/// default of 64 KiB. The system limits how many bytes all pipes of a user have.
pub(crate) const PIPE_BYTES: usize = 1 << 20;
/// The number of bytes in one read of a pipe from which it is enlarged. A full pipe of the default
/// size contains at least as many, even if its pages are partly empty.
pub(super) const FULL_PIPE_BYTES: usize = 32 << 10;
/// The number of bytes to read at a time.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// A callback for output that is not stored because storing has stopped. It is called when the
/// stored output can be read.
#[derive(Clone)]
pub struct OnUnstored(pub Arc<PassUnstored>);

/// A function that passes on bytes of a stream.
pub(crate) type PassUnstored = dyn Fn(StreamId, &[u8]) + Send + Sync;

impl std::fmt::Debug for OnUnstored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OnUnstored").finish()
    }
}

/// The target of passed-on output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passthrough {
    /// Nowhere.
    No,
    /// Each stream to the stream of runlog with the same name.
    Apart,
    /// Both to runlog's stderr, because a rollback's output must not look like the job's.
    ToStderr,
}

/// A callback for problems that do not affect the job.
pub type OnWarning = Arc<dyn Fn(&str) + Send + Sync>;

/// A callback for a stream whose reader closed its end, so that its pipe must be closed
/// everywhere.
pub(crate) type OnReaderGone = Arc<dyn Fn(StreamId) + Send + Sync>;

/// Returns a buffer to read into, without touching its memory.
pub(crate) fn new_buffer() -> Box<[MaybeUninit<u8>]> {
    Box::new_uninit_slice(CHUNK_BYTES)
}

/// Enlarges a pipe to [`PIPE_BYTES`], and returns its size in bytes. Above the user's limit, it
/// keeps its size.
///
/// # Errors
/// It is not a pipe.
pub(super) fn enlarge_pipe(pipe: BorrowedFd<'_>) -> Result<usize, Errno> {
    let size = fcntl_getpipe_size(pipe)?;
    if size >= PIPE_BYTES {
        return Ok(size);
    }
    Ok(fcntl_setpipe_size(pipe, PIPE_BYTES).unwrap_or(size))
}

/// Opens `/dev/null`, for streams without a target.
pub(crate) fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}
