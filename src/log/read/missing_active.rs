//! An active segment that was removed together with its events.
//!
//! An interrupted rotation leaves no active segment either, but the segment that it sealed is
//! compressed only after the rotation is complete.

use super::damage::Damage;
use crate::log::error::StorageError;
use crate::log::format::envelope::DamageReason;
use crate::log::segment::segment_file::Segment;
use crate::volume::{Dir, layout};

/// Returns the damage if the active segment of the run in `dir` was removed. `segments` are all
/// listed segments.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn missing_active(
    dir: &Dir,
    segments: &[Segment],
) -> Result<Option<Damage>, StorageError> {
    // Check again, because a rotation may have given it its name in the meantime.
    let is_missing =
        segments.last().is_some_and(|last| last.compressed) && dir.stat(layout::ACTIVE)?.is_none();
    Ok(is_missing.then(|| Damage {
        file: dir.path().join(layout::ACTIVE),
        line: 1,
        offset: 0,
        reason: DamageReason::Gap,
    }))
}
