//! An active segment that was removed or overwritten together with its events.
//!
//! An interrupted rotation leaves no active segment either, but the segment that it sealed is
//! compressed only if the active one starts with a checkpoint.

use super::damage::Damage;
use crate::log::error::StorageError;
use crate::log::format::envelope::DamageReason;
use crate::log::segment::segment_file::Segment;
use crate::volume::{Dir, layout};

/// What the listed segments say about the active one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActiveCheck {
    /// Whether the active segment must have a checkpoint.
    is_expected: bool,
    is_listed: bool,
}

impl ActiveCheck {
    /// `segments` are all listed segments.
    pub(crate) fn new(segments: &[Segment]) -> Self {
        let newest_sealed = segments.iter().rfind(|s| s.first_seq.is_some());
        Self {
            is_expected: newest_sealed.is_some_and(|sealed| sealed.compressed),
            is_listed: segments.iter().any(|s| s.first_seq.is_none()),
        }
    }

    /// Returns the damage if the active segment of the run in `dir` was removed, or has no whole
    /// line. `end` is the end of the last whole line that was read.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn missing(
        self,
        dir: &Dir,
        end: Option<u64>,
    ) -> Result<Option<Damage>, StorageError> {
        let is_missing = self.is_expected
            && if self.is_listed {
                end == Some(0)
            } else {
                // Check again, because a rotation may have given it its name in the meantime.
                dir.stat(layout::ACTIVE)?.is_none()
            };
        Ok(is_missing.then(|| Damage {
            file: dir.path().join(layout::ACTIVE),
            line: 1,
            offset: 0,
            reason: DamageReason::Gap,
        }))
    }
}
