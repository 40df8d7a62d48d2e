//! Reading a run from its first segment to its last, without a lock.
//!
//! Damage affects at most the damaged record: it is reported by file, line and byte offset, and
//! the lines around it are read. A last line without `\n` is in flight, and is not read.

use std::fmt;

use super::damage::Damage;
use super::missing_active::ActiveCheck;
use super::position::{Gap, Position};
use super::segment_reader::{ItemKind, LinePosition, SegmentReader};
use crate::log::error::StorageError;
use crate::log::format::classify::Dialect;
use crate::log::format::envelope::Envelope;
use crate::log::format::event_head::EventHead;
use crate::log::format::event_type::EventType;
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
    /// Events that were dropped while the log was read: `rotate --keep` removed their segments.
    Dropped(Gap),
}

impl<'a> Item<'a> {
    /// Returns the head of the event; `None` for damage.
    pub fn head(&self) -> Option<EventHead<'a>> {
        match self {
            Self::Event(env, _) => Some(EventHead::from_envelope(env)),
            Self::Foreign(_, line) => EventHead::parse(line),
            Self::Damage(_) | Self::Dropped(_) => None,
        }
    }

    /// Returns whether the event is about the log, not the run, so that its time says nothing
    /// about the run.
    pub fn is_upkeep(&self) -> bool {
        match self {
            Self::Event(env, _) => {
                env.kind == EventType::LogRotated || env.kind == EventType::LogRepaired
            }
            Self::Foreign(..) | Self::Damage(_) | Self::Dropped(_) => false,
        }
    }
}

/// Why the current line was held back and is the next item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeldLine {
    /// A gap was found when the line was added to the sequence.
    Gap,
    /// Segments before it were dropped.
    Dropped,
}

/// A reader of the lines of a run in log order.
pub struct Reader {
    segments: std::vec::IntoIter<Segment>,
    current: Option<SegmentReader>,
    sequence: Option<Sequence>,
    held: Option<HeldLine>,
    /// The sequence before dropped segments. Its gap comes before the next line.
    before_dropped: Option<Sequence>,
    /// Whether a segment was dropped between its listing and its turn.
    has_dropped: bool,
    /// The offset at which to start in the first segment.
    start: u64,
    /// The last segment that was read to its end, and the offset of the end.
    ended: Option<(FileKey, u64)>,
    /// The position after the last segment that has lines. A segment without lines has nothing
    /// that identifies it later.
    resume_at: Option<Position>,
    /// The check of the active segment, until the end.
    check: Option<ActiveCheck>,
    /// Whether the first new event of the newest segment is a checkpoint, or may be, because
    /// reading did not start with it; `None` before that event.
    has_checkpoint: Option<bool>,
    /// The active segment that was found missing at the end.
    missing: Option<Damage>,
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
        let segments = open_segments(dir)?;
        let check = ActiveCheck::new(dir, &segments)?;
        Ok(Self::from_segments(segments).checking(check))
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
            held: None,
            before_dropped: None,
            has_dropped: false,
            start: offset,
            ended: None,
            resume_at: None,
            check: None,
            has_checkpoint: None,
            missing: None,
        }
    }

    /// Makes the reader report a missing active segment as its last item.
    pub(crate) fn checking(mut self, check: impl Into<Option<ActiveCheck>>) -> Self {
        self.check = check.into();
        self
    }

    /// Returns whether the first new event of the newest segment is a checkpoint, or may be.
    pub(crate) fn has_checkpoint(&self) -> bool {
        self.has_checkpoint == Some(true)
    }

    /// Returns whether a segment was dropped between its listing and its turn.
    pub(crate) fn has_dropped(&self) -> bool {
        self.has_dropped
    }

    /// Returns whether the active segment was reported as missing.
    pub(crate) fn misses_active(&self) -> bool {
        self.missing.is_some()
    }

    /// Returns the position after the last item, from which another reader can continue.
    ///
    /// There is no such position between a gap and the line after it, or in an empty log.
    pub(crate) fn position(&self) -> Option<Position> {
        let current = self.current.as_ref().map(|c| c.position(self.sequence));
        current.or(self.resume_at)
    }

    /// Returns the file and the offset at which reading ended, after the last item.
    pub(crate) fn end(&self) -> Option<(FileKey, u64)> {
        self.ended
    }

    /// Returns the end of the last whole line of the active segment, in bytes; `None` before the
    /// last item, and if there is no active segment.
    pub(crate) fn end_of_active(&self) -> Option<u64> {
        let ended = self.ended.filter(|_| self.segments.as_slice().is_empty());
        ended.map(|(_, end)| end)
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
        let held = self.held.take();
        if held.is_none() && !self.read_line()? {
            return Ok(self.missing_active());
        }
        let Some(current) = &self.current else {
            return Ok(None);
        };
        if let Some(before) = self.before_dropped.take()
            && let Some(gap) = current.dropped_after(before)
        {
            self.held = Some(HeldLine::Dropped);
            return Ok(Some((current.line_position(), Item::Dropped(gap))));
        }
        let line = current.line();
        let item = if held == Some(HeldLine::Gap) {
            let env = Envelope::parse_checked(line);
            if let Some(env) = &env {
                self.has_checkpoint
                    .get_or_insert(env.kind == EventType::LogRotated);
            }
            env.map(|env| Item::Event(env, line))
        } else {
            Some(match current.classify(&mut self.sequence) {
                ItemKind::Event(env) => {
                    self.has_checkpoint
                        .get_or_insert(env.kind == EventType::LogRotated);
                    Item::Event(env, line)
                }
                ItemKind::EventAfterGap => {
                    self.held = Some(HeldLine::Gap);
                    Item::Damage(current.gap())
                }
                ItemKind::Foreign(dialect) => Item::Foreign(dialect, line),
                ItemKind::Damage(damage) => Item::Damage(damage),
            })
        };
        Ok(item.map(|item| (current.line_position(), item)))
    }

    /// Returns the active segment as a damaged place if it is missing; only once.
    fn missing_active(&mut self) -> Option<(LinePosition<'_>, Item<'_>)> {
        let check = self.check.take()?;
        self.missing = check.missing(self.has_checkpoint());
        self.missing.as_ref().map(|damage| {
            let position = LinePosition {
                file: &damage.file,
                line: damage.line,
                offset: 0,
                end: 0,
            };
            (position, Item::Damage(damage.clone()))
        })
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
                self.has_checkpoint = (start > 0).then_some(true);
                let Some(held) = segment.to_held()? else {
                    // Only the oldest segments are pruned, and a checkpoint follows them. If an
                    // older one remains, this one was lost, and the next line shows the gap.
                    if segment.is_oldest()? {
                        self.has_dropped = true;
                        self.before_dropped = self.before_dropped.or(self.sequence.take());
                    }
                    continue;
                };
                self.current.insert(SegmentReader::new(held, start)?)
            };
            if current.read_line()? {
                return Ok(true);
            }
            let position = current.position(self.sequence);
            if position.offset > 0 || self.resume_at.is_none() {
                self.resume_at = Some(position);
            }
            self.ended = Some((current.file_key(), position.offset));
            self.current = None;
        }
    }
}
