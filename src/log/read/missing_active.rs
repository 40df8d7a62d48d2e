//! An active segment that was removed, overwritten or replaced together with its events.
//!
//! An interrupted rotation leaves no active segment either, but the segment that it sealed is
//! compressed only if the active one starts with a checkpoint. Without sealed segments, what the
//! jobs printed shows that there were events: each job is in the log before it starts.

use std::os::unix::fs::FileExt as _;

use super::damage::Damage;
use crate::log::error::StorageError;
use crate::log::format::envelope::DamageReason;
use crate::log::segment::segment_file::Segment;
use crate::volume::{Dir, IoContext, layout};

/// What the other files of a run say about its active segment.
#[derive(Debug)]
pub(crate) struct ActiveCheck {
    /// The damage if the active segment is missing; `None` if it need not exist.
    damage: Option<Damage>,
    is_listed: bool,
}

impl ActiveCheck {
    /// `segments` are all listed segments of the run in `dir`.
    ///
    /// # Errors
    /// The directory or the segment cannot be read.
    pub(crate) fn new(dir: &Dir, segments: &[Segment]) -> Result<Self, StorageError> {
        let newest_sealed = segments.iter().rfind(|s| s.first_seq.is_some());
        let active = segments.iter().find(|s| s.first_seq.is_none());
        let is_expected = match (newest_sealed, active) {
            (Some(sealed), Some(_)) => sealed.compressed,
            // Check again, because a rotation may have given it its name in the meantime.
            (Some(sealed), None) => sealed.compressed && dir.stat(layout::ACTIVE)?.is_none(),
            (None, Some(active)) => match first_byte(active)? {
                Some(0) => true,
                Some(_) => false,
                None => has_output(dir)?,
            },
            (None, None) => has_output(dir)?,
        };
        let damage = is_expected.then(|| Damage {
            file: dir.path().join(layout::ACTIVE),
            line: 1,
            offset: 0,
            reason: DamageReason::Gap,
        });
        Ok(Self {
            damage,
            is_listed: active.is_some(),
        })
    }

    /// Returns whether a run without segments has lost them.
    pub(crate) fn is_expected(&self) -> bool {
        self.damage.is_some()
    }

    /// Returns the damage if the active segment was removed or replaced. `has_checkpoint` is
    /// whether its first new event is a checkpoint.
    pub(crate) fn missing(self, has_checkpoint: bool) -> Option<Damage> {
        self.damage.filter(|_| !self.is_listed || !has_checkpoint)
    }
}

/// Returns the first byte of a segment. No writer starts a log with a zero.
fn first_byte(segment: &Segment) -> Result<Option<u8>, StorageError> {
    let mut first = [0];
    let read = segment.open()?.file.read_at(&mut first, 0);
    let read = read.at("read", &segment.path)?;
    Ok((read > 0).then_some(u8::from_ne_bytes(first)))
}

/// Returns whether a job of the run in `dir` has printed anything.
fn has_output(dir: &Dir) -> Result<bool, StorageError> {
    let Ok(jobs) = dir.open_dir(layout::JOBS) else {
        return Ok(false);
    };
    for name in jobs.names()? {
        if name.ends_with(layout::OUTPUT_SUFFIX)
            && jobs.stat(&name)?.is_some_and(|stat| stat.st_size > 0)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
