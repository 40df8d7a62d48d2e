//! A run whose locks are held: the only way to change a log.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Instant;

use super::active_segment::ActiveSegment;
use super::batch::{Appended, Close};
use super::draft::Draft;
use super::encode::EncodedBatch;
use super::handle::{LockedSegment, RunHandle, RunLock};
use super::writer_state::WriterState;
use super::{recover_tail, write_batch};
use crate::log::error::{AppendError, StorageError};
use crate::log::lock::file_lock;
use crate::log::lock::file_lock::{FileLockGuard, LockDeadline};
use crate::log::state::run_state::RunState;

/// A run with its active segment locked. Dropping it releases the locks.
///
/// The lock of the segment alone excludes every other appender. A process that renames, replaces
/// or removes a segment also holds the lock of the run, so a writer whose segment still has its
/// name needs no other lock.
#[derive(Debug)]
pub(crate) struct LockedRun<'a> {
    handle: &'a RunHandle,
    writer: &'a mut WriterState,
    segment: Arc<ActiveSegment>,
    /// The length of the segment when it was locked, in bytes.
    len: u64,
    // Dropped in this order, so that a waiting writer finds the lock of the segment free.
    _segment_lock: FileLockGuard<Arc<File>>,
    _run_lock: Option<RunLock>,
}

/// Locks the state of a writer within the time for the file locks, because another thread may
/// hold it while it waits for those.
///
/// # Errors
/// Another thread kept the lock.
pub(super) fn lock_writer<'a>(
    handle: &RunHandle,
    writer: &'a Mutex<WriterState>,
    deadline: LockDeadline,
) -> Result<MutexGuard<'a, WriterState>, StorageError> {
    deadline.poll(handle.lock_path(), || match writer.try_lock() {
        Ok(writer) => Ok(Some(writer)),
        Err(TryLockError::Poisoned(writer)) => Ok(Some(writer.into_inner())),
        Err(TryLockError::WouldBlock) => Ok(None),
    })
}

impl<'a> LockedRun<'a> {
    /// Locks the run for an append: only the segment if this writer knows it and it still has
    /// its name, otherwise both locks.
    ///
    /// # Errors
    /// Another process kept a lock, or the run was removed.
    pub(crate) fn lock(
        handle: &'a RunHandle,
        writer: &'a mut WriterState,
        deadline: LockDeadline,
    ) -> Result<Self, StorageError> {
        match lock_known_segment(handle, writer, deadline)? {
            Some(((segment, guard), len)) => Ok(Self {
                handle,
                writer,
                segment,
                len,
                _segment_lock: guard,
                _run_lock: None,
            }),
            None => Self::lock_all(handle, writer, deadline),
        }
    }

    fn lock_all(
        handle: &'a RunHandle,
        writer: &'a mut WriterState,
        deadline: LockDeadline,
    ) -> Result<Self, StorageError> {
        let run_lock = handle.lock_run(deadline)?;
        let (segment, guard) = handle.lock_active(writer.segment(), &run_lock, deadline)?;
        writer.set_segment(&segment);
        writer.record_path_check(Instant::now());
        let len = segment.len(handle.active_path())?;
        Ok(Self {
            handle,
            writer,
            segment,
            len,
            _segment_lock: guard,
            _run_lock: Some(run_lock),
        })
    }

    /// Returns the run.
    pub(crate) fn handle(&self) -> &'a RunHandle {
        self.handle
    }

    /// Returns the state of this writer.
    pub(crate) fn writer(&mut self) -> &mut WriterState {
        self.writer
    }

    /// Returns the active segment.
    pub(crate) fn segment(&self) -> &Arc<ActiveSegment> {
        &self.segment
    }

    /// Brings the known end of the log up to date. Changes nothing on disk. Returns `false` if
    /// more than `limit` bytes would have to be read.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(crate) fn refresh_tail(&mut self, limit: u64) -> Result<bool, StorageError> {
        self.writer
            .refresh(self.handle, &self.segment, self.len, limit)
    }

    /// Returns whether the run is closed, by runlog or by another program; `None` if more than
    /// `limit` bytes would have to be read.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(crate) fn is_closed(&mut self, limit: u64) -> Result<Option<bool>, StorageError> {
        self.writer
            .is_closed_by_any(self.handle, &self.segment, limit)
    }

    /// Makes the segment start and end as required before an append, and returns the lines that
    /// record the changes.
    ///
    /// The lines are written at once: the following batch may still be rejected, but a repair
    /// must be recorded anyway.
    ///
    /// # Errors
    /// The segment cannot be repaired.
    pub(crate) fn recover_tail(&mut self) -> Result<Vec<u8>, AppendError> {
        let repaired = recover_tail::recover_tail(self.handle, self.writer, &self.segment)?;
        let lost = recover_tail::record_loss(self.handle, self.writer)?;
        let records: Vec<_> = repaired.into_iter().chain(lost).collect();
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let batch = self.encode(&records, Close::No)?;
        Ok(self.write_batch(batch)?.bytes)
    }

    /// Returns the state of the run, folding the log if it is not known.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(crate) fn state(&mut self) -> Result<&RunState, StorageError> {
        self.writer.state_or_fold(self.handle)
    }

    /// Encodes a batch after the end of the log.
    ///
    /// # Errors
    /// The batch is rejected.
    pub(crate) fn encode(
        &mut self,
        drafts: &[Draft],
        close: Close,
    ) -> Result<EncodedBatch, AppendError> {
        self.writer.encode(self.handle, drafts, close)
    }

    /// Writes an encoded batch.
    ///
    /// # Errors
    /// Not all of the batch was written.
    pub(crate) fn write_batch(&mut self, batch: EncodedBatch) -> Result<Appended, AppendError> {
        write_batch::write_batch(self.handle, self.writer, &self.segment, batch)
    }
}

/// A run with both of its locks held, whose segments may be renamed and replaced.
#[derive(Debug)]
pub(crate) struct ExclusiveRun<'a>(LockedRun<'a>);

impl<'a> ExclusiveRun<'a> {
    /// Locks the run and its active segment, and creates the segment if it does not exist.
    ///
    /// # Errors
    /// Another process kept a lock, or the run was removed.
    pub(crate) fn lock(
        handle: &'a RunHandle,
        writer: &'a mut WriterState,
        deadline: LockDeadline,
    ) -> Result<Self, StorageError> {
        LockedRun::lock_all(handle, writer, deadline).map(Self)
    }
}

impl<'a> Deref for ExclusiveRun<'a> {
    type Target = LockedRun<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for ExclusiveRun<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// Locks the segment that the writer knows; returns `None` if it is no longer the active one, or
/// if the whole path must be checked.
fn lock_known_segment(
    handle: &RunHandle,
    writer: &mut WriterState,
    deadline: LockDeadline,
) -> Result<Option<(LockedSegment, u64)>, StorageError> {
    let Some(segment) = writer.segment() else {
        return Ok(None);
    };
    let path = handle.active_path();
    let guard = deadline.poll(path, || {
        match file_lock::try_exclusive(Arc::clone(segment.file()), path)? {
            Some(guard) => Ok(Some(Some(guard))),
            // It was sealed, and may stay locked during its compression.
            None if handle.current_len(segment).is_none() => Ok(Some(None)),
            None => Ok(None),
        }
    })?;
    let Some(guard) = guard else {
        return Ok(None);
    };
    let Some(len) = handle.current_len(segment) else {
        return Ok(None);
    };
    let segment = Arc::clone(segment);
    if writer.needs_path_check(deadline.started()) {
        if !matches!(handle.is_lock_current(), Ok(true)) {
            // The slow path reports the reason, or opens the new lock file.
            return Ok(None);
        }
        writer.record_path_check(deadline.started());
    }
    Ok(Some(((segment, guard), len)))
}
