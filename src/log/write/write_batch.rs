//! Lines go to the disk: reserved, written, and synced where that is asked for.

use std::fs::File;
use std::io;
use std::io::Write;

use rustix::io::Errno;

use super::append::Appended;
use super::encode::EncodedBatch;
use super::run_log::{ActiveSegment, RunLog, WriterState};
use crate::log::error::{AppendError, StorageError, SyncError};

impl RunLog {
    /// Reserves and writes, in one write as a rule. After a short one the lines that
    /// are whole stand, and only the torn one is cut.
    pub(crate) fn write_batch(
        &self,
        inner: &mut WriterState,
        segment: &ActiveSegment,
        lines: EncodedBatch,
    ) -> Result<Appended, AppendError> {
        let file = &segment.file;
        let end = inner.len + lines.bytes.len() as u64;
        if !lines.bytes.is_empty() {
            match inner.reserve.ensure(file, inner.len, end) {
                Err(source) if !lines.essential => {
                    let path = self.active_path();
                    return Err(StorageError::NoSpace { path, source }.into());
                }
                _ => {}
            }
            let (written, error) = write_all(&mut &**file, &lines.bytes);
            if let Some(error) = error {
                return Err(self.handle_short_write(inner, file, &lines, written, error));
            }
            segment.syncs.record_write();
        }
        inner.len = end;
        let tail = inner.tail.get_or_insert_default();
        tail.end = end;
        inner.next_seq = tail.sequence.next();
        if tail.summary.is_some() {
            inner.reserve.release(file, end);
        }
        Ok(Appended {
            bytes: lines.bytes,
            closed: lines.closed,
            unfinished: lines.unfinished,
        })
    }

    /// A write ended in an error after `written` bytes.
    fn handle_short_write(
        &self,
        inner: &mut WriterState,
        file: &File,
        lines: &EncodedBatch,
        written: usize,
        source: io::Error,
    ) -> AppendError {
        let path = self.active_path();
        let stand = lines.ends.partition_point(|end| *end <= written);
        let last = stand.checked_sub(1).and_then(|at| lines.ends.get(at));
        let whole = last.copied().unwrap_or(0);
        if written > whole {
            // Where this fails the next writer mends the torn line.
            drop(file.set_len(inner.len + whole as u64));
        }
        let full = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG].map(Errno::raw_os_error);
        let is_full = source.raw_os_error().is_some_and(|e| full.contains(&e));
        if stand == 0 && is_full {
            return StorageError::NoSpace { path, source }.into();
        }
        AppendError::Partial {
            path,
            written: stand,
            total: lines.ends.len(),
            source,
        }
    }

    /// Syncs what was written to `segment` up to `ticket`, and the names that lead to it.
    pub(crate) fn make_durable(
        &self,
        segment: &ActiveSegment,
        ticket: u64,
    ) -> Result<(), SyncError> {
        segment.syncs.share(ticket, &self.paths.active, || {
            let path = self.active_path();
            let synced = segment.file.sync_data();
            synced.map_err(|source| SyncError { path, source })
        })?;
        self.names.share(self.names.latest(), self.dir.path(), || {
            self.sync_names().map_err(SyncError::from_volume)
        })
    }
}

/// Writes all of `bytes`; else tells how many were written, and why not more: after a
/// short write only a second one is told the reason.
fn write_all(file: &mut impl Write, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (written, Some(e)),
        }
    }
    (written, None)
}
