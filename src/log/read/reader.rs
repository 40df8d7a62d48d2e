//! Reading a run from its first segment to its last, without a lock.
//!
//! Damage affects at most the damaged record: it is reported by file, line and byte offset, and
//! the lines around it are read. A last line without `\n` is in flight, and is not read.

use std::fmt;

use super::damage::Damage;
use super::position::Position;
use super::segment_reader::{ItemKind, LinePosition, SegmentReader};
use crate::log::error::StorageError;
use crate::log::format::classify::Dialect;
use crate::log::format::envelope::Envelope;
use crate::log::format::event_head::EventHead;
use crate::log::segment::segment_file::Segment;
use crate::log::segment::segment_set::open_segments;
use crate::log::segment::sequence::Sequence;
use crate::volume::{Dir, FileKey};

/// The next item of a run.
#[derive(Debug)]
pub enum Item<'a> {
    /// An event of runlog: its envelope, and its line without `\n`.
    Event(Envelope<'a>, &'a [u8]),
    /// A line of another program.
    Foreign(Dialect, &'a [u8]),
    /// A damaged place, which was skipped.
    Damage(Damage),
}

impl<'a> Item<'a> {
    /// Returns the head of the event; `None` for damage.
    pub fn head(&self) -> Option<EventHead<'a>> {
        match self {
            Self::Event(env, _) => Some(EventHead::from_envelope(env)),
            Self::Foreign(_, line) => EventHead::parse(line),
            Self::Damage(_) => None,
        }
    }
}

/// A reader of the lines of a run in log order.
pub struct Reader {
    segments: std::vec::IntoIter<Segment>,
    current: Option<SegmentReader>,
    sequence: Option<Sequence>,
    /// Whether a gap was returned, so that the line after it comes next.
    after_gap: bool,
    /// The offset at which to start in the first segment.
    start: u64,
    /// The position at which reading ended in the last segment that was read.
    ended: Option<(FileKey, Position)>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens the run in `dir` as of now.
    ///
    /// # Errors
    /// A segment cannot be opened.
    pub fn open(dir: &Dir) -> Result<Self, StorageError> {
        Ok(Self::from_segments(open_segments(dir)?))
    }

    /// Creates a reader of open segments.
    pub(crate) fn from_segments(segments: Vec<Segment>) -> Self {
        Self::starting_at(segments, 0, None)
    }

    /// Creates a reader of open segments that starts at `offset` in the first one, which must be
    /// the start of a line. `sequence` is that of the lines before, if known.
    pub(crate) fn starting_at(
        segments: Vec<Segment>,
        offset: u64,
        sequence: Option<Sequence>,
    ) -> Self {
        Self {
            segments: segments.into_iter(),
            current: None,
            sequence,
            after_gap: false,
            start: offset,
            ended: None,
        }
    }

    /// Returns the position after the last item, from which another reader can continue.
    ///
    /// There is no such position between a gap and the line after it, or in an empty log.
    pub(crate) fn position(&self) -> Option<Position> {
        let current = self.current.as_ref().map(|c| c.position(self.sequence));
        current.or(self.ended.map(|(_, position)| position))
    }

    /// Returns the file and the offset at which reading ended, after the last item.
    pub(crate) fn end(&self) -> Option<(FileKey, u64)> {
        self.ended.map(|(key, position)| (key, position.offset))
    }

    /// Returns the end of the last whole line of the active segment, in bytes; `None` before the
    /// last item, and if there is no active segment.
    pub(crate) fn end_of_active(&self) -> Option<u64> {
        let ended = self.ended.filter(|_| self.segments.as_slice().is_empty());
        ended.map(|(_, position)| position.offset)
    }

    /// Returns the sequence number of the next event, according to the lines read so far.
    pub fn next_seq(&self) -> u64 {
        self.sequence.map_or(0, |s| s.next())
    }

    /// Returns the next item; `None` at the end of the run.
    ///
    /// # Errors
    /// A segment cannot be read.
    #[inline]
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, StorageError> {
        Ok(self.next_with_position()?.map(|(_, item)| item))
    }

    /// Returns the next item and its position.
    ///
    /// # Errors
    /// A segment cannot be read.
    #[inline]
    pub(crate) fn next_with_position(
        &mut self,
    ) -> Result<Option<(LinePosition<'_>, Item<'_>)>, StorageError> {
        let is_after_gap = std::mem::take(&mut self.after_gap);
        if !is_after_gap && !self.read_line()? {
            return Ok(None);
        }
        let Some(current) = &self.current else {
            return Ok(None);
        };
        let line = current.line();
        let item = if is_after_gap {
            Envelope::parse_checked(line).map(|env| Item::Event(env, line))
        } else {
            Some(match current.classify(&mut self.sequence) {
                ItemKind::Event(env) => Item::Event(env, line),
                ItemKind::EventAfterGap => {
                    self.after_gap = true;
                    Item::Damage(current.gap())
                }
                ItemKind::Foreign(dialect) => Item::Foreign(dialect, line),
                ItemKind::Damage(damage) => Item::Damage(damage),
            })
        };
        Ok(item.map(|item| (current.line_position(), item)))
    }

    /// Reads the next line of the run into `current`; returns `false` at the end.
    fn read_line(&mut self) -> Result<bool, StorageError> {
        loop {
            let current = if let Some(current) = &mut self.current {
                current
            } else {
                let Some(segment) = self.segments.next() else {
                    return Ok(false);
                };
                let start = std::mem::take(&mut self.start);
                // The segment was pruned since it was listed. The next segment shows what is
                // missing.
                let Some(segment) = segment.into_held()? else {
                    continue;
                };
                self.current.insert(SegmentReader::new(segment, start)?)
            };
            if current.read_line()? {
                return Ok(true);
            }
            self.ended = Some((current.file_key(), current.position(self.sequence)));
            self.current = None;
        }
    }
}
