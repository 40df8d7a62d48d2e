//! Pruning: removal of old sealed segments, but only those before a complete checkpoint on disk,
//! so that the state of the run never depends on removed segments.

use jiff::Timestamp;
use serde::Serialize;

use super::handle::RunHandle;
use crate::log::error::StorageError;
use crate::log::format::limits::LOCK_TIMEOUT;
use crate::log::lock::file_lock;
use crate::log::lock::file_lock::LockDeadline;
use crate::log::segment::segment_file::Segment;
use crate::log::segment::segment_set;
use crate::volume::{Dir, FileKey, IoContext, layout};

/// Which sealed segments to remove, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneLimit {
    /// All except this number of the newest ones.
    AllBut(usize),
    /// Those whose last event is older than this.
    OlderThan(Timestamp),
}

/// A sealed segment that was removed, or that a dry run would remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrunedSegment {
    /// The file name.
    pub file: String,
    /// The length of the file, in bytes.
    pub bytes: u64,
    /// The number of bytes on disk that its removal frees.
    #[serde(skip)]
    pub disk_bytes: u64,
}

/// Returns the segments of the run in `dir` that `prune` would remove, oldest first.
///
/// # Errors
/// A segment cannot be read.
pub fn plan_prune(dir: &Dir, limit: PruneLimit) -> Result<Vec<PrunedSegment>, StorageError> {
    let segments = segment_set::open_segments(dir)?;
    Ok(eligible_segments(&segments, limit).map(pruned).collect())
}

/// Returns the segments that `prune` would remove after the active one was sealed.
///
/// # Errors
/// A segment cannot be read.
pub fn plan_prune_after_rotation(
    dir: &Dir,
    limit: PruneLimit,
) -> Result<Vec<PrunedSegment>, StorageError> {
    let mut segments = segment_set::open_segments(dir)?;
    let Some(active) = segments.pop_if(|s| s.first_seq.is_none()) else {
        return Ok(Vec::new());
    };
    // The checkpoint that comes after the removed segments does not exist yet.
    let sealed = segments.len() + 1;
    let count = match limit {
        PruneLimit::AllBut(keep) => sealed.saturating_sub(keep),
        PruneLimit::OlderThan(_) => 0,
    };
    let all = segments.iter().chain([&active]).map(pruned);
    Ok(all.take(count).collect())
}

fn pruned(segment: &Segment) -> PrunedSegment {
    PrunedSegment {
        file: segment.name.clone(),
        bytes: segment.len,
        disk_bytes: segment.disk_bytes,
    }
}

fn eligible_segments(segments: &[Segment], limit: PruneLimit) -> impl Iterator<Item = &Segment> {
    // Never remove a segment after the newest complete checkpoint, or one to which another
    // program may have written.
    let newest = (1..segments.len()).rev().find(|&at| {
        segments
            .get(at)
            .and_then(Segment::checkpoint)
            .is_some_and(|c| c.is_full)
    });
    let mut left = segments.iter().filter(|s| s.first_seq.is_some()).count();
    segments
        .iter()
        .zip(segments.iter().skip(1))
        .take(newest.unwrap_or(0))
        .take_while(move |(segment, next)| {
            let is_unchanged = segment.compressed || next.sealed_bytes() == Some(segment.len);
            let is_eligible = match limit {
                PruneLimit::AllBut(keep) => left > keep,
                PruneLimit::OlderThan(then) => next.sealed_ts().is_some_and(|ts| ts < then),
            };
            left -= 1;
            is_eligible && is_unchanged
        })
        .map(|(segment, _)| segment)
}

/// Removes the sealed segments that `limit` selects, oldest first. Stops at one that is being
/// compressed.
///
/// Finds the segments and syncs every removal without the lock of the run: hundreds of syncs
/// take longer than appenders wait for it.
///
/// # Errors
/// Another process kept the lock, or a file cannot be removed. The remaining log has no hole.
pub(crate) fn prune(
    handle: &RunHandle,
    limit: PruneLimit,
) -> Result<Vec<PrunedSegment>, StorageError> {
    let segments = segment_set::open_segments(handle.dir())?;
    let mut removed = Vec::new();
    for segment in eligible_segments(&segments, limit) {
        if removed.is_empty() {
            sync_checkpoint(handle.dir(), &segments)?;
        }
        if !remove(handle, segment)? {
            break;
        }
        // Sync before removing the next one: a power loss must not leave a hole.
        handle.dir().sync()?;
        removed.push(pruned(segment));
    }
    Ok(removed)
}

/// Removes one segment under its lock and that of the run; returns whether it did.
fn remove(handle: &RunHandle, segment: &Segment) -> Result<bool, StorageError> {
    let dir = handle.dir();
    let _run_lock = handle.lock_run(LockDeadline::new(LOCK_TIMEOUT))?;
    let file = match segment.open() {
        Err(e) if e.is_not_found() => return Ok(false),
        opened => opened?.file,
    };
    let Some(_lock) = file_lock::try_exclusive(&*file, &segment.path)? else {
        return Ok(false);
    };
    let is_current = dir.stat(&segment.name)?.is_some_and(|stat| {
        FileKey::from(&stat) == segment.key && stat.st_size as u64 == segment.len
    });
    if is_current {
        dir.remove_file(&layout::compressed(&segment.plain_name()))?;
        dir.remove_file(&segment.plain_name())?;
    }
    Ok(is_current)
}

/// Makes the checkpoint durable on which the state depends from now on.
fn sync_checkpoint(dir: &Dir, segments: &[Segment]) -> Result<(), StorageError> {
    if let Some(active) = segments.iter().find(|s| s.first_seq.is_none()) {
        active.open()?.file.sync_all().at("sync", &active.path)?;
    }
    Ok(dir.sync()?)
}
