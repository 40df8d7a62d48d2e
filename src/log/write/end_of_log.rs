//! Finding the end of a log whose active segment may follow sealed ones.

use super::active_segment::ActiveSegment;
use super::handle::RunHandle;
use super::tail::{Tail, TailMode};
use crate::log::error::StorageError;
use crate::log::segment::segment_file;
use crate::log::segment::segment_file::Segment;
use crate::log::segment::segment_set;
use crate::log::segment::sequence::Sequence;
use crate::volume::layout;

/// Finds the end of the log, whose active segment has `len` bytes; returns `None` if more than
/// `limit` bytes would have to be read.
///
/// # Errors
/// A segment cannot be read.
pub(crate) fn find(
    handle: &RunHandle,
    segment: &ActiveSegment,
    len: u64,
    limit: u64,
) -> Result<Option<Tail>, StorageError> {
    let (path, mode) = (handle.active_path(), TailMode::Open);
    let mut tail = match Tail::from_last_lines(segment.file(), len, path, mode, limit)? {
        Some(tail) => tail,
        None if len > limit => return Ok(None),
        None => Tail::from_all_lines(segment.file(), len, path, mode, sealed_tail(handle)?)?,
    };
    resume_after_sealed(handle, segment, &mut tail)?;
    Ok(Some(tail))
}

/// Finds the end of the newest sealed segment, if there is one.
///
/// # Errors
/// A segment cannot be read.
pub(crate) fn sealed_tail(handle: &RunHandle) -> Result<Tail, StorageError> {
    match newest_sealed(handle)? {
        Some(segment) => Tail::of_segment(&segment),
        None => Ok(Tail::empty()),
    }
}

/// Opens the newest sealed segment, if there is one.
///
/// # Errors
/// The segment cannot be opened.
pub(crate) fn newest_sealed(handle: &RunHandle) -> Result<Option<Segment>, StorageError> {
    segment_set::open_newest_sealed(handle.dir())
}

/// Ensures that no sequence number of a sealed segment is assigned again, even if an older file
/// replaced the active segment.
fn resume_after_sealed(
    handle: &RunHandle,
    segment: &ActiveSegment,
    tail: &mut Tail,
) -> Result<(), StorageError> {
    let names = handle.dir().names()?;
    let sealed = names.iter().filter_map(|name| layout::parse_sealed(name));
    let Some((newest, _)) = sealed.max() else {
        return Ok(());
    };
    if tail.end > 0 && segment_file::first_seq(segment.file()) > newest {
        return Ok(());
    }
    let before = sealed_tail(handle)?;
    if tail.sequence.next() < before.sequence.next() {
        tail.sequence = Sequence::before(before.sequence.next());
    }
    tail.last_id = tail.last_id.max(before.last_id);
    Ok(())
}
