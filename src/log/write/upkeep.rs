//! The rotation of an open log, by request or after an append.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use super::active_segment::ActiveSegment;
use super::auto_rotate::AutoRotation;
use super::handle::RunHandle;
use super::locked::{ExclusiveRun, lock_writer};
use super::rotate;
use super::rotation_policy::{NotRotated, Rotation, RotationThreshold};
use super::writer_state::WriterState;
use crate::log::error::{RotateError, StorageError};
use crate::log::lock::file_lock::LockDeadline;
use crate::log::segment::segment_file::outgrew_checkpoint;

/// How many times a rotation is attempted while another program creates the active segment.
const MAX_ATTEMPTS: u32 = 3;

/// Seals the active segment if it has reached a threshold.
///
/// # Errors
/// See [`RotateError`].
pub(super) fn lock_and_rotate(
    handle: &RunHandle,
    writer: &Mutex<WriterState>,
    threshold: RotationThreshold,
    lock_timeout: Duration,
) -> Result<Rotation, RotateError> {
    let mut writer = lock_writer(handle, writer, LockDeadline::new(lock_timeout))?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let scanned = rotate::scan_unlocked(handle, &mut writer, threshold)?;
        // The scan does not count as waiting.
        let deadline = LockDeadline::new(lock_timeout);
        let mut run = ExclusiveRun::lock(handle, &mut writer, deadline)?;
        let rotated = rotate::rotate(&mut run, scanned, threshold);
        drop(run);
        if rotated.is_err() {
            writer.forget_segment();
        }
        match rotated {
            // Another program created an active segment between the two renames. Its lines decide
            // whether the log can be rotated.
            Err(RotateError::Storage(StorageError::Volume(e)))
                if e.io_kind() == Some(io::ErrorKind::AlreadyExists) && attempts < MAX_ATTEMPTS => {
            }
            rotated => return rotated,
        }
    }
}

/// Rotates after an append that left the segment with `len` bytes.
pub(super) fn rotate_when_due(
    handle: &RunHandle,
    writer: &Mutex<WriterState>,
    auto_rotation: &AutoRotation,
    segment: &ActiveSegment,
    len: u64,
) {
    let Some((threshold, timeout)) = auto_rotation.threshold() else {
        return;
    };
    // A large state makes a checkpoint as long as the limit. Checking that this segment is
    // not due must not require a fold each time.
    let rotated = match outgrew_checkpoint(segment.file(), len) {
        Ok(false) => Ok(Rotation::Skipped(NotRotated::NotDue)),
        Ok(true) | Err(_) => lock_and_rotate(handle, writer, threshold, timeout),
    };
    let retry_at = auto_rotation.record(rotated, len, handle);
    if let Some(retry_at) = retry_at
        && let Ok(mut writer) = writer.try_lock()
    {
        writer.set_rotate_at(retry_at);
    }
}
