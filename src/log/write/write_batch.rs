//! Writing an encoded batch: preallocation, one write, and the handling of a short write.

use std::fs::File;
use std::io;
use std::io::Write;

use rustix::io::Errno;

use super::active_segment::ActiveSegment;
use super::batch::Appended;
use super::encode::EncodedBatch;
use super::handle::RunHandle;
use super::writer_state::WriterState;
use crate::log::error::{AppendError, StorageError};
use crate::volume::VolumeError;

/// Preallocates and writes, usually in one write.
///
/// After a short write, the whole lines remain and only the torn one is cut.
///
/// # Errors
/// Not all of the batch was written.
pub(crate) fn write_batch(
    handle: &RunHandle,
    writer: &mut WriterState,
    segment: &ActiveSegment,
    batch: EncodedBatch,
) -> Result<Appended, AppendError> {
    let file = segment.file();
    let len = writer.len();
    let end = len + batch.bytes.len() as u64;
    if !batch.bytes.is_empty() {
        let live_jobs = writer.live_jobs();
        let reserve = writer.reserve();
        if let Err(source) = reserve.ensure(file, len, end, batch.space, live_jobs) {
            let path = handle.active_path().to_owned();
            return Err(StorageError::NoSpace { path, source }.into());
        }
        if let Err(short) = write_all(&mut &**file, &batch.bytes) {
            return Err(handle_short_write(handle, file, len, &batch, short));
        }
        segment.syncs().record_write();
    }
    writer.record_write(end);
    if writer.is_closed() {
        writer.reserve().release(file, end);
    }
    Ok(Appended {
        bytes: batch.bytes,
        closed: batch.closed,
        unfinished: batch.unfinished,
        uncertain: batch.uncertain,
        lost: None,
    })
}

/// A write that stopped with an error.
struct ShortWrite {
    /// How many bytes were written before.
    written: usize,
    source: io::Error,
}

/// Cuts the torn line of a short write after `len` bytes, and returns what the caller may do.
fn handle_short_write(
    handle: &RunHandle,
    file: &File,
    len: u64,
    batch: &EncodedBatch,
    ShortWrite { written, source }: ShortWrite,
) -> AppendError {
    let path = handle.active_path().to_owned();
    let lines = batch.ends.partition_point(|end| *end <= written);
    let last = lines.checked_sub(1).and_then(|at| batch.ends.get(at));
    let whole = last.copied().unwrap_or(0);
    if written > whole {
        // If this fails, the next writer repairs the torn line.
        drop(file.set_len(len + whole as u64));
    }
    let full = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG].map(Errno::raw_os_error);
    let is_full = source.raw_os_error().is_some_and(|e| full.contains(&e));
    if lines > 0 {
        let total = batch.ends.len();
        return AppendError::Partial {
            path,
            written: lines,
            total,
            source,
        };
    }
    if is_full {
        return StorageError::NoSpace { path, source }.into();
    }
    let action = "write to";
    VolumeError::Io {
        action,
        path,
        source,
    }
    .into()
}

/// Writes all of `bytes`. Only the write after a short one reports the reason.
fn write_all(file: &mut impl Write, bytes: &[u8]) -> Result<(), ShortWrite> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        let source = match file.write(rest) {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(n) => {
                written += n;
                continue;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => e,
        };
        return Err(ShortWrite { written, source });
    }
    Ok(())
}
