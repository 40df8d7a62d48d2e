//! When to rotate a log, and the outcome.

use std::time::Duration;

use jiff::Timestamp;

use crate::log::format::payload::Sealed;
use crate::log::segment::scan_stats::ScanStats;

/// How a writer divides its log into segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPolicy {
    /// The length at which a segment is sealed, in bytes.
    pub max_size: u64,
    /// The number of sealed segments to keep; `None` keeps all of them.
    pub keep: Option<usize>,
    /// Whether sealed segments are compressed.
    pub compress: bool,
}

/// The limits that a segment must reach to be sealed. Without any, it is sealed at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RotationThreshold {
    /// The length of the active segment, in bytes.
    pub max_size: Option<u64>,
    /// The age of its first event.
    pub max_age: Option<Duration>,
}

/// The reason why a log was not rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRotated {
    /// The other program would continue to write to the sealed file.
    #[error("it holds lines of another program, which may still write to it")]
    Foreign,
    /// The segment is empty or has only its checkpoint.
    #[error("nothing was written since the last rotation")]
    Fresh,
    /// No limit is reached.
    #[error("no threshold is reached")]
    NotDue,
}

/// The outcome of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// The active segment was sealed.
    Sealed(Sealed),
    /// The log is unchanged.
    Skipped(NotRotated),
}

/// What a rotation would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationPlan {
    /// It would seal the active segment.
    Seal {
        /// The length of the segment, in bytes.
        bytes: u64,
    },
    /// The log would remain unchanged.
    Skip(NotRotated),
}

impl Rotation {
    /// Converts the outcome to a `Result`.
    ///
    /// # Errors
    /// The reason why nothing was rotated.
    pub fn into_result(self) -> Result<Sealed, NotRotated> {
        match self {
            Self::Sealed(sealed) => Ok(sealed),
            Self::Skipped(why) => Err(why),
        }
    }
}

impl RotationThreshold {
    /// Returns whether a segment has reached a limit.
    ///
    /// # Errors
    /// The reason why it is not sealed.
    pub(crate) fn check(self, stats: &ScanStats, now: Timestamp) -> Result<(), NotRotated> {
        if stats.foreign {
            return Err(NotRotated::Foreign);
        }
        if stats.is_fresh() {
            return Err(NotRotated::Fresh);
        }
        // A checkpoint as long as the limit must not make every event cause a rotation.
        let is_large = |max: u64| stats.end >= max.max(2 * stats.checkpoint_bytes);
        let is_old = |max: Duration| {
            let age = stats.first_ts.map(|ts| now.duration_since(ts));
            let max = i128::try_from(max.as_nanos()).unwrap_or(i128::MAX);
            age.is_some_and(|age| age.as_nanos() >= max)
        };
        let is_limited = self.max_size.is_some() || self.max_age.is_some();
        if is_limited && !self.max_size.is_some_and(is_large) && !self.max_age.is_some_and(is_old) {
            return Err(NotRotated::NotDue);
        }
        Ok(())
    }
}
