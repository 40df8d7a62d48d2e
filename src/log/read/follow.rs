//! Following a run while it grows, across rotations and compressions. Nothing is left out or
//! returned twice. No file is held open between two polls.

use std::iter;

use rustix::fs::Stat;
use ulid::Ulid;

use super::cursor::{Cursor, RunEnd};
use super::first_event::known_first_id;
use super::last_lines::last_lines;
use super::missing_active::ActiveCheck;
use super::position::{Gap, GapReason, Position};
use super::reader::Reader;
use crate::log::error::StorageError;
use crate::log::segment::segment_file::Segment;
use crate::log::segment::segment_set::{open_active, open_segments, since_checkpoint};
use crate::volume::{Dir, FileKey, RunId, layout};

/// Where to start following a run.
#[derive(Debug, Clone)]
pub enum FollowStart {
    /// At its first event.
    Beginning,
    /// At its first event, even if that was removed: a gap then comes before the remaining
    /// lines.
    FirstEvent,
    /// At its newest checkpoint, which contains the state of all events before it, or at its
    /// first event if there is none.
    Checkpoint,
    /// At the last N of the selected lines.
    Last(usize),
    /// After a cursor.
    After(Cursor),
}

/// The metadata of the active segment at the time of the last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SeenStat {
    key: FileKey,
    len: u64,
    changed: (i64, u64),
}

impl From<&Stat> for SeenStat {
    fn from(stat: &Stat) -> Self {
        Self {
            key: FileKey::from(stat),
            len: stat.st_size as u64,
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// The lines of a run to read first.
#[derive(Debug, Clone, Copy)]
enum FirstLines {
    All,
    SinceFirstEvent,
    SinceCheckpoint,
    Last(usize),
}

/// A follower that returns the lines of a run incrementally.
#[derive(Debug)]
pub struct Follower {
    /// Where to start, while there is no position yet.
    start: FirstLines,
    position: Option<Position>,
    seen: Option<SeenStat>,
    /// The id of the first event of the run that was read. A later run may have the same run id
    /// after this one is removed.
    first_id: Option<Ulid>,
    /// Whether `first_id` has been compared with the run since a cursor was given.
    identified: bool,
    /// The first id of the run that replaced the one that was read.
    successor: Option<Ulid>,
    /// Whether the active segment was reported as missing. It is reported again only after it
    /// existed.
    misses_active: bool,
}

/// The new lines of a run.
#[derive(Debug)]
pub struct Update {
    /// The gaps before them.
    pub gaps: Vec<Gap>,
    /// The new lines.
    pub reader: Reader,
}

/// Returns the gap before the first segment of a log that is read from its start.
fn dropped_before(segments: &[Segment]) -> Option<Gap> {
    let first = segments.first().map_or(0, Segment::first_event);
    first.checked_sub(1).map(|last| Gap {
        from_seq: Some(0),
        to_seq: Some(last),
        why: GapReason::Dropped,
    })
}

impl Follower {
    /// Creates a follower that starts at `start`.
    pub fn new(start: FollowStart) -> Self {
        let (start, cursor) = match start {
            FollowStart::Beginning => (FirstLines::All, None),
            FollowStart::FirstEvent => (FirstLines::SinceFirstEvent, None),
            FollowStart::Checkpoint => (FirstLines::SinceCheckpoint, None),
            FollowStart::Last(n) => (FirstLines::Last(n), None),
            FollowStart::After(cursor) => (FirstLines::All, Some(cursor)),
        };
        Self {
            start,
            position: cursor.as_ref().map(|cursor| cursor.position),
            seen: None,
            first_id: cursor.as_ref().and_then(Cursor::first_id),
            identified: false,
            successor: None,
            misses_active: false,
        }
    }

    /// Returns the lines that were added to the run in `dir` since the last poll; `None` if
    /// there are none. `want` selects the lines that count for [`FollowStart::Last`].
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn poll(
        &mut self,
        dir: &Dir,
        want: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<Update>, StorageError> {
        let now = dir.stat(layout::ACTIVE)?;
        let now = now.as_ref().map(SeenStat::from);
        if now.is_some() && now == self.seen {
            return Ok(None);
        }
        // Store the metadata from before the read, so that the next poll finds lines that are
        // added in the meantime.
        self.seen = now;
        self.misses_active &= now.is_none();
        let Some(position) = self.position else {
            self.first_id = known_first_id(dir)?;
            self.identified = true;
            let mut gaps = Vec::new();
            let reader = match std::mem::replace(&mut self.start, FirstLines::All) {
                FirstLines::Last(n) => last_lines(dir, n, want)?,
                first => {
                    let mut segments = open_segments(dir)?;
                    let check = self.check(dir, &segments)?;
                    match first {
                        FirstLines::SinceCheckpoint => segments = since_checkpoint(segments),
                        FirstLines::SinceFirstEvent => gaps.extend(dropped_before(&segments)),
                        FirstLines::All | FirstLines::Last(_) => {}
                    }
                    Reader::from_segments(segments).checking(check)
                }
            };
            return Ok(Some(Update { gaps, reader }));
        };
        let active = open_active(dir)?;
        let active = active.filter(|active| position.matches_segment(active));
        let is_doubtful = self.first_id.is_none() || !self.identified || active.is_none();
        if is_doubtful && let Some(update) = self.identify(dir, &position)? {
            return Ok(Some(update));
        }
        if let Some(active) = active {
            let reader = Reader::continue_from(&position, vec![active]);
            let gaps = Vec::new();
            return Ok(Some(Update { gaps, reader }));
        }
        let segments = open_segments(dir)?;
        if segments.is_empty() {
            // The segment is being removed, or is between two names.
            self.seen = None;
            return Ok(None);
        }
        let check = self.check(dir, &segments)?;
        let (reader, gap) = Reader::resume(&position, segments);
        let gaps = Vec::from_iter(gap);
        let reader = reader.checking(check);
        Ok(Some(Update { gaps, reader }))
    }

    /// Returns the check of the active segment, unless it was reported as missing.
    fn check(&self, dir: &Dir, segments: &[Segment]) -> Result<Option<ActiveCheck>, StorageError> {
        if self.misses_active {
            return Ok(None);
        }
        ActiveCheck::new(dir, segments).map(Some)
    }

    /// Compares the run in `dir` with the one that was read. Returns all lines if it is a
    /// different one.
    fn identify(&mut self, dir: &Dir, position: &Position) -> Result<Option<Update>, StorageError> {
        let found = known_first_id(dir)?;
        self.identified = true;
        let (Some(known), Some(found)) = (self.first_id, found) else {
            self.first_id = self.first_id.or(found);
            return Ok(None);
        };
        if known == found {
            return Ok(None);
        }
        self.successor = Some(found);
        let changed = Gap {
            from_seq: position.sequence.map(|sequence| sequence.next()),
            to_seq: None,
            why: GapReason::Changed,
        };
        let segments = open_segments(dir)?;
        let check = self.check(dir, &segments)?;
        let gaps = iter::once(changed).chain(dropped_before(&segments));
        Ok(Some(Update {
            gaps: gaps.collect(),
            reader: Reader::from_segments(segments).checking(check),
        }))
    }

    /// Records that everything up to the position of the reader was processed.
    pub fn mark_read(&mut self, reader: &Reader) {
        self.misses_active |= reader.misses_active();
        if let Some(position) = reader.position() {
            self.position = Some(position);
            self.first_id = self.successor.take().or(self.first_id);
        }
    }

    /// Makes the next poll read the run even if nothing seems to have changed, because not all
    /// lines were processed.
    pub fn invalidate(&mut self) {
        self.seen = None;
    }

    /// Returns whether the follower has a position in the run.
    pub fn has_events(&self) -> bool {
        self.position.is_some()
    }

    /// Returns whether the active segment has not changed since the last read.
    pub fn has_seen(&self, active: &Stat) -> bool {
        self.seen == Some(SeenStat::from(active))
    }

    /// Returns the current position; `None` before the first line.
    pub fn cursor(&self, run: &RunId, end: RunEnd) -> Option<Cursor> {
        Some(Cursor::new(run.clone(), self.first_id, self.position?, end))
    }
}
