//! The segments of a run: listing them in order, and opening a consistent set.

use std::sync::Arc;

use rustix::fs::{FileType, Stat};

use super::checkpoint::Checkpoint;
use super::line_reader::{FileSpan, LineReader, classify_raw};
use super::segment_file::Segment;
use crate::log::error::StorageError;
use crate::log::format::classify::LineClass;
use crate::log::format::event_type::EventType;
use crate::volume::{Dir, FileKey, IoContext, layout};

/// The maximum number of listings while the directory keeps changing.
const MAX_LISTINGS: u32 = 100;
/// How many times a run without events is checked.
const MAX_CHECKS: u32 = 3;

/// The number of newest segments to hold open.
///
/// Rotation renames only the newest ones, and folding a run needs no others. Older segments are
/// opened one at a time when they are read, so a run may have more segments than a process may
/// have open files.
const MAX_HELD: usize = 8;

/// Lists the names of the segments, oldest first and the active one last.
///
/// If a sealed segment exists both plain and compressed, the plain file counts: compression
/// removes it only after the compressed file is complete.
pub(crate) fn names(dir: &Dir) -> Result<Vec<String>, StorageError> {
    let mut sealed: Vec<(u64, bool, String)> = Vec::new();
    let mut active = None;
    for name in dir.names()? {
        if let Some((seq, compressed)) = layout::parse_sealed(&name) {
            sealed.push((seq, compressed, name));
        } else if name == layout::ACTIVE {
            active = Some(name);
        }
    }
    sealed.sort();
    sealed.dedup_by_key(|(seq, _, _)| *seq);
    Ok(sealed
        .into_iter()
        .map(|(_, _, name)| name)
        .chain(active)
        .collect())
}

/// Opens the active segment; `None` if it does not exist.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn open_active(dir: &Dir) -> Result<Option<Segment>, StorageError> {
    Segment::hold(dir, layout::ACTIVE.to_owned())
}

/// Opens the newest sealed segment; `None` if there is none.
///
/// # Errors
/// The directory or the segment cannot be read.
pub(crate) fn open_newest_sealed(dir: &Dir) -> Result<Option<Segment>, StorageError> {
    for _ in 0..MAX_LISTINGS {
        let mut names = names(dir)?;
        names.retain(|name| name != layout::ACTIVE);
        let Some(name) = names.pop() else {
            return Ok(None);
        };
        // The segment may have been compressed since it was listed.
        if let Some(segment) = Segment::hold(dir, name)? {
            return Ok(Some(segment));
        }
    }
    Ok(None)
}

/// Opens a consistent set of all segments of a run, and holds the newest ones open.
///
/// Lists the directory, opens the files, and lists the directory again. Starts over if a
/// rotation happened in between.
///
/// # Errors
/// A segment cannot be opened.
pub(crate) fn open_segments(dir: &Dir) -> Result<Vec<Segment>, StorageError> {
    open_consistent(dir, names, MAX_HELD)
}

/// Opens a consistent set of the files that `names` lists in `dir`.
///
/// # Errors
/// A file cannot be opened.
pub(crate) fn open_named(
    dir: &Dir,
    names: impl Fn(&Dir) -> Result<Vec<String>, StorageError>,
) -> Result<Vec<Segment>, StorageError> {
    open_consistent(dir, names, usize::MAX)
}

fn open_consistent(
    dir: &Dir,
    names: impl Fn(&Dir) -> Result<Vec<String>, StorageError>,
    max_held: usize,
) -> Result<Vec<Segment>, StorageError> {
    let mut opened = Vec::new();
    for _ in 0..MAX_LISTINGS {
        opened = open_listed(dir, names(dir)?, max_held)?;
        if is_unchanged(dir, &names(dir)?, &opened)? {
            break;
        }
    }
    Ok(opened)
}

fn open_listed(
    dir: &Dir,
    mut names: Vec<String>,
    max_held: usize,
) -> Result<Vec<Segment>, StorageError> {
    let mut opened = Vec::with_capacity(names.len());
    let held = names.split_off(names.len().saturating_sub(max_held));
    if !names.is_empty() {
        let dir = Arc::new(dir.try_clone()?);
        for name in names {
            opened.extend(Segment::on_demand(&dir, name)?);
        }
    }
    for name in held {
        opened.extend(Segment::hold(dir, name)?);
    }
    Ok(opened)
}

fn is_unchanged(dir: &Dir, again: &[String], opened: &[Segment]) -> Result<bool, StorageError> {
    if again.len() != opened.len() {
        return Ok(false);
    }
    for (name, segment) in again.iter().zip(opened) {
        if !segment.is_held() {
            // Compression of an old segment does not matter: it can be opened under either name.
            let is_same = layout::parse_sealed(name).map(|(seq, _)| seq) == segment.first_seq;
            if !is_same {
                return Ok(false);
            }
            continue;
        }
        let is_same_file = dir
            .stat(name)?
            .is_some_and(|stat| FileKey::from(&stat) == segment.key);
        if name != &segment.name || !is_same_file {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Drops the segments that the newest full checkpoint covers.
pub(crate) fn since_checkpoint(mut segments: Vec<Segment>) -> Vec<Segment> {
    let newest = (1..segments.len()).rev().find(|&at| {
        let (Some(before), Some(segment)) = (segments.get(at - 1), segments.get(at)) else {
            return false;
        };
        // A program that does not notice rotations may have appended to the sealed file. If the
        // sealed file is shorter or missing, the checkpoint still contains all of its events.
        let has_more = |checkpoint: &Checkpoint| {
            before.first_seq == Some(checkpoint.first_seq)
                && !before.compressed
                && before.len > checkpoint.bytes
        };
        segment
            .checkpoint()
            .is_some_and(|c| c.is_full && !has_more(&c))
    });
    segments.drain(..newest.unwrap_or(0));
    segments
}

/// Returns whether the directory has a segment that is not empty.
///
/// # Errors
/// The directory cannot be read.
pub fn has_events(dir: &Dir) -> Result<bool, StorageError> {
    // Opening a file of another type reports the error.
    let has_content = |stat: Stat| {
        stat.st_size > 0 || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
    };
    // Between the two renames of a rotation there is no active segment, and soon after them the
    // sealed one may be removed. A reader that checks one after the other may miss both, so it
    // checks again before it reports that there are none.
    for _ in 0..MAX_CHECKS {
        if dir.stat(layout::ACTIVE)?.is_some_and(has_content) || has_sealed(dir)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_sealed(dir: &Dir) -> Result<bool, StorageError> {
    Ok(names(dir)?.iter().any(|name| name != layout::ACTIVE))
}

/// Returns whether the run in `dir` has started.
///
/// A log that contains only a torn first write, or the record of its repair, belongs to a run
/// that is still being created.
///
/// # Errors
/// The directory or the active segment cannot be read.
pub fn is_started(dir: &Dir) -> Result<bool, StorageError> {
    let Some(file) = dir.read(layout::ACTIVE)? else {
        return has_events(dir);
    };
    let path = dir.path().join(layout::ACTIVE);
    let mut lines = LineReader::from_span(FileSpan::new(Arc::new(file), 0, u64::MAX));
    while let Some(line) = lines.next_line().at("read", &path)? {
        let is_event = match classify_raw(&line) {
            LineClass::Ours(env) => env.kind != EventType::LogRepaired,
            LineClass::Foreign(_) => true,
            // No writer writes zeros: the file was overwritten, or lost its bytes in a power loss.
            LineClass::Damage(_) => line.whole || line.bytes.starts_with(&[0]),
        };
        if is_event {
            return Ok(true);
        }
    }
    has_sealed(dir)
}
