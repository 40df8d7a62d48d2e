//! A batch to append, and the work before and after the locks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::active_segment::ActiveSegment;
use super::append;
use super::append::{Attempt, BatchRequest, FoldPolicy, ForeignPolicy};
use super::auto_rotate::AutoRotation;
use super::batch::Appended;
use super::handle::RunHandle;
use super::locked::{LockedRun, lock_writer};
use super::writer_state::WriterState;
use crate::log::error::{AppendError, StorageError};
use crate::log::lock::file_lock::LockDeadline;

/// How many times the log is read without its locks, because it grew in the meantime, before it
/// is read under them.
const MAX_UNLOCKED_READS: u32 = 3;

/// A batch to append.
pub(super) struct AppendRequest<'a> {
    pub batch: BatchRequest<'a>,
    pub lock_timeout: Duration,
}

/// A batch that was written, and the work that remains after the locks are released.
pub(super) struct Written {
    pub appended: Appended,
    pub segment: Arc<ActiveSegment>,
    /// The ticket of the write in [`ActiveSegment::syncs`].
    pub ticket: u64,
    pub has_other_writers: bool,
    /// The length of a segment that must be sealed, in bytes.
    pub full_len: Option<u64>,
}

impl AppendRequest<'_> {
    /// Writes the batch under the locks of the run. Reads what it needs without them, unless
    /// other writers keep appending.
    pub(super) fn write(
        &mut self,
        handle: &RunHandle,
        writer: &Mutex<WriterState>,
        foreign: ForeignPolicy,
        auto_rotation: &AutoRotation,
    ) -> Result<Written, AppendError> {
        let mut reads = 0;
        let mut needs_tail = false;
        loop {
            let mut deadline = LockDeadline::new(self.lock_timeout);
            let mut writer = lock_writer(handle, writer, deadline)?;
            // Slow work comes before the locks, and does not count as waiting for them.
            let is_prepared = if needs_tail {
                writer.refresh_unlocked(handle)?;
                true
            } else {
                self.prepare(handle, &mut writer, reads)?
            };
            if is_prepared {
                deadline = LockDeadline::new(self.lock_timeout);
            }
            let mut run = LockedRun::lock(handle, &mut writer, deadline)?;
            let fold = if reads < MAX_UNLOCKED_READS {
                FoldPolicy::Unlocked
            } else {
                FoldPolicy::Locked
            };
            let attempt = append::append(&mut run, &mut self.batch, foreign, fold);
            let segment = Arc::clone(run.segment());
            drop(run);
            match attempt {
                Ok(needs @ (Attempt::NeedsTail | Attempt::NeedsState)) => {
                    reads += 1;
                    needs_tail = matches!(needs, Attempt::NeedsTail);
                }
                Ok(Attempt::Done(appended)) => {
                    return Ok(Written {
                        appended,
                        ticket: segment.syncs().latest(),
                        segment,
                        has_other_writers: writer.has_other_writers(),
                        full_len: auto_rotation.full_len(&writer),
                    });
                }
                Err(e) => {
                    // The known end of the log already includes the events.
                    writer.invalidate();
                    return Err(e);
                }
            }
        }
    }

    /// Reads what the batch depends on, without the locks. Returns whether it depends on
    /// anything.
    fn prepare(
        &self,
        handle: &RunHandle,
        writer: &mut WriterState,
        reads: u32,
    ) -> Result<bool, StorageError> {
        match self.batch {
            BatchRequest::FromState(_) => writer.fold_unlocked(handle)?,
            _ if reads > 0 => writer.fold_unlocked(handle)?,
            BatchRequest::FromCounts(_) => writer.count_unlocked(handle)?,
            BatchRequest::Ready(drafts) if drafts.iter().any(|draft| draft.step().is_some()) => {
                writer.count_unlocked(handle)?;
            }
            BatchRequest::Ready(_) | BatchRequest::FromView(_) => return Ok(false),
        }
        Ok(true)
    }
}
