//! Reading the log without its locks, so that little remains to be read under them.

use super::end_of_log;
use super::handle::RunHandle;
use super::tail::{Tail, TailMode};
use super::writer_state::WriterState;
use crate::log::error::StorageError;
use crate::log::read::fold;

impl WriterState {
    /// Finds the current end of the log and the counts of jobs, without the locks, unless they
    /// are known.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(crate) fn count_unlocked(&mut self, handle: &RunHandle) -> Result<(), StorageError> {
        if self.job_counts().is_some() {
            return Ok(());
        }
        self.refresh_unlocked(handle)?;
        if let (Some(segment), Some(tail)) = (&self.segment, &mut self.tail)
            && tail.jobs.is_none()
        {
            tail.jobs = Tail::find_job_counts(segment.file(), tail.end, handle.active_path())?;
        }
        Ok(())
    }

    /// Finds the current end of the log, without the locks.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(crate) fn refresh_unlocked(&mut self, handle: &RunHandle) -> Result<(), StorageError> {
        let Some(segment) = handle.open_active(self.segment())? else {
            return Ok(());
        };
        self.set_segment(&segment);
        let len = segment.len(handle.active_path())?;
        self.refresh(handle, &segment, len, u64::MAX)?;
        self.is_closed_by_any(handle, &segment, u64::MAX)?;
        Ok(())
    }

    /// Folds the run up to its current end, without the locks, unless the state is known.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(crate) fn fold_unlocked(&mut self, handle: &RunHandle) -> Result<(), StorageError> {
        if self.state.is_some() && self.tail.is_some() {
            return Ok(());
        }
        let Some(segment) = handle.open_active(self.segment())? else {
            return Ok(());
        };
        self.set_segment(&segment);
        let (fold, Some((key, end))) = fold::fold_to_end(handle.dir())? else {
            return Ok(());
        };
        if key == segment.key() {
            let before = || end_of_log::sealed_tail(handle);
            let path = handle.active_path();
            let tail = Tail::find(segment.file(), end, path, TailMode::Open, before)?;
            self.tail = Some(tail);
            self.set_state(fold);
            self.len = end;
            self.skip_lost_events(handle);
        }
        Ok(())
    }
}
