//! An active segment that was removed, and its events with it.
//!
//! A rotation that was cut off leaves no active segment either, but the segment that it sealed
//! is compressed only once the rotation is complete.

use super::damage::Damage;
use crate::log::error::StorageError;
use crate::log::format::envelope::DamageReason;
use crate::log::segment::segment_file::Segment;
use crate::volume::{Dir, layout};

/// Returns the damage if the active segment of the run in `dir` was removed. `segments` are all
/// that were listed.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn missing_active(
    dir: &Dir,
    segments: &[Segment],
) -> Result<Option<Damage>, StorageError> {
    // Looked at again: a rotation may have given it its name meanwhile.
    let is_missing =
        segments.last().is_some_and(|last| last.compressed) && dir.stat(layout::ACTIVE)?.is_none();
    Ok(is_missing.then(|| Damage {
        file: dir.path().join(layout::ACTIVE),
        line: 1,
        offset: 0,
        reason: DamageReason::Gap,
    }))
}
