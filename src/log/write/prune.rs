//! Old sealed segments are dropped, never such that the state of the run depends on what
//! is gone: only those before a checkpoint that has all of it and is on disk.

use jiff::Timestamp;
use serde::Serialize;

use super::run_log::RunLog;
use crate::log::error::StorageError;
use crate::log::format::event_type::EventType;
use crate::log::lock::file_lock;
use crate::log::lock::file_lock::LockDeadline;
use crate::log::segment::segment_set;
use crate::log::segment::segment_set::Segment;
use crate::volume::{Dir, IoContext, layout};

/// Which sealed segments may go, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneLimit {
    /// All but the newest so many.
    AllBut(usize),
    /// Those whose last event was written before then.
    OlderThan(Timestamp),
}

/// A sealed segment that goes or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrunedSegment {
    /// Its name.
    pub file: String,
    /// Its length on disk, in bytes.
    pub bytes: u64,
}

/// The segments of the run in `dir` that `prune` lets go, oldest first; `rotated` is
/// whether the active one would be sealed before.
///
/// # Errors
/// A segment cannot be read.
pub fn plan_prune(
    dir: &Dir,
    prune: PruneLimit,
    rotated: bool,
) -> Result<Vec<PrunedSegment>, StorageError> {
    let mut segments = segment_set::open_segments(dir)?;
    if !rotated {
        return Ok(eligible_segments(&segments, prune).map(dropped).collect());
    }
    let Some(active) = segments.pop_if(|s| s.first_seq.is_none()) else {
        return Ok(Vec::new());
    };
    // The checkpoint that lets them go is yet to come.
    let sealed = segments.len() + 1;
    let going = match prune {
        PruneLimit::AllBut(keep) => sealed.saturating_sub(keep),
        PruneLimit::OlderThan(_) => 0,
    };
    let all = segments.iter().chain([&active]).map(dropped);
    Ok(all.take(going).collect())
}

fn dropped(segment: &Segment) -> PrunedSegment {
    PrunedSegment {
        file: segment.name.clone(),
        bytes: segment.len,
    }
}

fn eligible_segments(segments: &[Segment], prune: PruneLimit) -> impl Iterator<Item = &Segment> {
    // Nothing behind the newest checkpoint goes, nor anything with lines of others.
    let newest = (1..segments.len()).rev().find(|&at| {
        segments
            .get(at)
            .and_then(Segment::checkpoint)
            .is_some_and(|c| c.is_full)
    });
    let sealed = segments.iter().filter(|s| s.first_seq.is_some()).count();
    let mut left = sealed;
    segments
        .iter()
        .zip(segments.iter().skip(1))
        .take(newest.unwrap_or(0))
        .take_while(move |(segment, next)| {
            let grew = !segment.compressed && next.sealed_bytes() != Some(segment.len);
            let goes = match prune {
                PruneLimit::AllBut(keep) => left > keep,
                PruneLimit::OlderThan(then) => next.sealed_ts().is_some_and(|ts| ts < then),
            };
            left -= 1;
            goes && !grew
        })
        .map(|(segment, _)| segment)
}

#[doc(hidden)]
impl RunLog {
    /// Drops the sealed segments that `prune` lets go, under the run's lock. One that
    /// is being compressed stays for now, and those behind it.
    ///
    /// # Errors
    /// The lock was not to be had, or a file could not be removed; what is left is a
    /// log without a hole.
    pub fn drop_sealed(&self, prune: PruneLimit) -> Result<Vec<PrunedSegment>, StorageError> {
        let wait = LockDeadline::new(EventType::LogRotated.lock_budget());
        let _inner = self.lock_writer(wait)?;
        let _lock = file_lock::exclusive(&self.lock, &self.paths.lock, wait)?;
        self.check_not_replaced()?;
        let segments = segment_set::open_segments(&self.dir)?;
        let mut gone = Vec::new();
        for segment in eligible_segments(&segments, prune) {
            let Some(_lock) = file_lock::try_exclusive(&segment.file, &segment.path)? else {
                break;
            };
            if gone.is_empty() {
                self.sync_checkpoint(&segments)?;
            }
            self.dir
                .remove_file(&layout::compressed(&segment.plain_name()))?;
            self.dir.remove_file(&segment.plain_name())?;
            // One after the other: a power loss must not leave a hole.
            self.dir.sync()?;
            gone.push(dropped(segment));
        }
        Ok(gone)
    }

    /// What the state rests on from now on is on disk.
    fn sync_checkpoint(&self, segments: &[Segment]) -> Result<(), StorageError> {
        if let Some(active) = segments.iter().find(|s| s.first_seq.is_none()) {
            active.file.sync_all().at("sync", &active.path)?;
        }
        Ok(self.dir.sync()?)
    }
}
