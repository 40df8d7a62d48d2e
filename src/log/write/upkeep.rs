//! The upkeep of an open log: rotation, and the removal of old segments.

use std::time::Duration;

use super::active_segment::ActiveSegment;
use super::locked::ExclusiveRun;
use super::prune;
use super::prune::{PruneLimit, PrunedSegment};
use super::rotate;
use super::rotation_policy::{NotRotated, Rotation, RotationThreshold};
use super::run_log::RunLog;
use crate::log::error::{RotateError, StorageError};
use crate::log::lock::file_lock::LockDeadline;
use crate::log::segment::segment_file::outgrew_checkpoint;

impl RunLog {
    /// Seals the active segment if it has reached a threshold.
    ///
    /// # Errors
    /// See [`RotateError`]. Events that were appended before always remain.
    pub fn rotate(
        &self,
        threshold: RotationThreshold,
        lock_timeout: Duration,
    ) -> Result<Rotation, RotateError> {
        let mut writer = self.lock_writer(LockDeadline::new(lock_timeout))?;
        let scanned = rotate::scan_unlocked(&self.handle, &mut writer, threshold)?;
        // The scan does not count as waiting.
        let deadline = LockDeadline::new(lock_timeout);
        let mut run = ExclusiveRun::lock(&self.handle, &mut writer, deadline)?;
        let rotated = rotate::rotate(&mut run, scanned, threshold);
        drop(run);
        if rotated.is_err() {
            writer.forget_segment();
        }
        rotated
    }

    /// Removes the sealed segments that `limit` selects, oldest first.
    ///
    /// # Errors
    /// A segment cannot be removed. The remaining log has no hole.
    pub fn drop_sealed(&self, limit: PruneLimit) -> Result<Vec<PrunedSegment>, StorageError> {
        prune::prune(&self.handle, limit)
    }

    /// Waits until the sealed segments are compressed.
    ///
    /// # Errors
    /// The first error of a rotation, a compression or a removal of segments.
    pub fn finish_upkeep(&self) -> Result<(), RotateError> {
        self.auto_rotation.finish()
    }

    /// Rotates after an append that left the segment with `len` bytes.
    pub(super) fn rotate_when_due(&self, segment: &ActiveSegment, len: u64) {
        let Some((threshold, timeout)) = self.auto_rotation.threshold() else {
            return;
        };
        // A large state makes a checkpoint as long as the limit. Checking that this segment is
        // not due must not require a fold each time.
        let rotated = match outgrew_checkpoint(segment.file(), len) {
            Ok(false) => Ok(Rotation::Skipped(NotRotated::NotDue)),
            Ok(true) | Err(_) => self.rotate(threshold, timeout),
        };
        let retry_at = self.auto_rotation.record(rotated, len, &self.handle);
        if let Some(retry_at) = retry_at
            && let Ok(mut writer) = self.writer.try_lock()
        {
            writer.set_rotate_at(retry_at);
        }
    }
}
