//! What the files of this room share: where the streams of a job go, and how much is read at a
//! time.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;

use crate::log::StreamId;

/// The size that is asked of the pipes, in bytes: fewer wake-ups than with the 64 KiB that a
/// pipe has by default.
pub(crate) const PIPE_BYTES: usize = 1 << 20;
/// The number of bytes that are read at a time.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// Called with output that is not stored because storing has stopped, once what is stored can be
/// read.
#[derive(Clone)]
pub struct OnUnstored(pub Arc<PassUnstored>);

/// Passes on bytes of a stream.
pub(crate) type PassUnstored = dyn Fn(StreamId, &[u8]) + Send + Sync;

impl std::fmt::Debug for OnUnstored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OnUnstored").finish()
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

/// Returns memory to read into, which is not touched before.
pub(crate) fn new_buffer() -> Box<[MaybeUninit<u8>]> {
    Box::new_uninit_slice(CHUNK_BYTES)
}

/// Opens `/dev/null`, for streams that go nowhere.
pub(crate) fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}
