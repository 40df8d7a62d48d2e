//! Reading a run from its first segment to its last, without a lock.
//!
//! Damage costs at most the damaged record: it is named by file, line and byte offset,
//! and its neighbours are read. A last line without `\n` is in flight, and not read.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::position::{Position, PrecedingLine};
use crate::log::error::StorageError;
use crate::log::format::classify::{Dialect, LineClass};
use crate::log::format::envelope::{DamageReason, Envelope};
use crate::log::format::event_head::EventHead;
use crate::log::format::event_type::EventType;
use crate::log::interop::foreign::apply_foreign;
use crate::log::segment::line_reader::{FileSpan, RawLine, classify_raw, read_span};
use crate::log::segment::segment_file::{Segment, SegmentLines};
use crate::log::segment::segment_set;
use crate::log::segment::segment_set::open_segments;
use crate::log::segment::sequence::{Sequence, SequenceStep};
use crate::log::state::run_state::RunState;
use crate::volume::{Dir, FileKey, IoContext};

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The segment.
    pub file: PathBuf,
    /// The line in the segment, from 1.
    pub line: u64,
    /// Where the line begins in the (uncompressed) segment, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub reason: DamageReason,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            offset,
            reason,
        } = self;
        write!(
            f,
            "{}:{line}:{offset}: damaged line: {reason}",
            file.display()
        )
    }
}

/// What stands next in a run.
#[derive(Debug)]
pub enum Item<'a> {
    /// An event of ours: its frame and its line without `\n`.
    Event(Envelope<'a>, &'a [u8]),
    /// A line of another program.
    Foreign(Dialect, &'a [u8]),
    /// Something damaged, which was passed over.
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

    /// Takes it into the state of its run; damage changes nothing.
    pub fn fold_into(&self, state: &mut RunState) {
        match self {
            Self::Event(env, line) => state.apply(env, line),
            Self::Foreign(_, line) => apply_foreign(state, line),
            Self::Damage(_) => {}
        }
    }
}

/// Reads the lines of a run in their order.
pub struct Reader {
    segments: std::vec::IntoIter<Segment>,
    current: Option<OpenSegment>,
    sequence: Option<Sequence>,
    /// A gap was told; the line behind it comes next.
    after_gap: bool,
    /// Where the first segment is begun.
    start: u64,
    /// Where reading ended in the last segment that was read.
    ended: Option<(FileKey, Position)>,
}

/// Where a line of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinePosition<'a> {
    /// Its segment.
    pub file: &'a Path,
    /// The line in the segment, from 1, if the segment is read from its start.
    pub line: u64,
    /// Where it begins in the (uncompressed) segment, in bytes.
    pub offset: u64,
    /// Where the next one begins.
    pub end: u64,
}

struct OpenSegment {
    segment: Segment,
    file: Arc<File>,
    lines: SegmentLines,
    /// Where it was begun.
    start: u64,
    /// Where the line given out last begins.
    begin: u64,
    /// Where the line given out last ends.
    end: u64,
    /// How many lines were given out.
    line: u64,
    /// The line given out last, where the segment is compressed.
    given: Option<PrecedingLine>,
    /// Where a line was read once more because it looked damaged.
    again_at: Option<u64>,
    /// The compressed data ended in an error, which was told.
    broken: bool,
}

/// What the line is that `Current` gave out last.
enum ItemKind {
    Event,
    Foreign(Dialect),
    Damage(Damage),
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens the run in `dir` as it stands now.
    ///
    /// # Errors
    /// A segment cannot be opened.
    pub fn open(dir: &Dir) -> Result<Self, StorageError> {
        Ok(Self::from_segments(open_segments(dir)?))
    }

    /// Reads segments that are open already.
    pub(crate) fn from_segments(segments: Vec<Segment>) -> Self {
        Self::starting_at(segments, 0, None)
    }

    /// Reads segments that are open already, the first from `offset` on, where a line
    /// begins. `sequence` is what was read before, if that is known.
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

    /// Where reading stands, for one that goes on later: behind what was given out last.
    /// Not to be asked for between a gap and the line behind it. `None` where there is
    /// nothing to read.
    pub(crate) fn position(&self) -> Option<Position> {
        let current = self.current.as_ref().map(|c| c.place(self.sequence));
        current.or(self.ended.map(|(_, place)| place))
    }

    /// Where the last whole line of the active segment ends, in bytes; `None` before all
    /// was read, and where there is no active segment.
    pub(crate) fn end_of_active(&self) -> Option<u64> {
        let ended = self.ended.filter(|_| self.segments.as_slice().is_empty());
        ended.map(|(_, place)| place.offset)
    }

    /// The number that the next event would get, as far as was read.
    pub fn next_seq(&self) -> u64 {
        self.sequence.map_or(0, |s| s.next())
    }

    /// The next thing in the run; `None` at its end.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, StorageError> {
        Ok(self.next_with_position()?.map(|(_, item)| item))
    }

    /// The next thing in the run and where it stands.
    ///
    /// # Errors
    /// As [`Reader::next_item`].
    pub(crate) fn next_with_position(
        &mut self,
    ) -> Result<Option<(LinePosition<'_>, Item<'_>)>, StorageError> {
        let Some(kind) = self.step()? else {
            return Ok(None);
        };
        let Some(current) = &self.current else {
            return Ok(None);
        };
        let line = current.lines.last_bytes();
        let item = match kind {
            ItemKind::Event => Envelope::parse_checked(line).map(|env| Item::Event(env, line)),
            ItemKind::Foreign(dialect) => Some(Item::Foreign(dialect, line)),
            ItemKind::Damage(damage) => Some(Item::Damage(damage)),
        };
        Ok(item.map(|item| (current.line_position(), item)))
    }

    fn step(&mut self) -> Result<Option<ItemKind>, StorageError> {
        if std::mem::take(&mut self.after_gap) {
            return Ok(Some(ItemKind::Event));
        }
        loop {
            let current = if let Some(current) = &mut self.current {
                current
            } else {
                let Some(segment) = self.segments.next() else {
                    return Ok(None);
                };
                let start = std::mem::take(&mut self.start);
                // Pruned since it was listed: the next segment shows what is missing.
                let Some(segment) = segment.into_held()? else {
                    continue;
                };
                self.current.insert(OpenSegment::new(segment, start)?)
            };
            let next = current.next_line(&mut self.sequence)?;
            if let Some((kind, after_gap)) = next {
                self.after_gap = after_gap;
                return Ok(Some(kind));
            }
            self.ended = Some((current.segment.key, current.place(self.sequence)));
            self.current = None;
        }
    }
}

impl OpenSegment {
    fn new(segment: Segment, start: u64) -> Result<Self, StorageError> {
        Ok(Self {
            file: segment.open()?.file,
            lines: segment.lines_from(start)?,
            segment,
            start,
            begin: start,
            end: start,
            line: 0,
            given: None,
            again_at: None,
            broken: false,
        })
    }

    /// Behind the line given out last. `sequence` is what the reader knows.
    fn place(&self, sequence: Option<Sequence>) -> Position {
        // Where a segment is compressed, all before the line would have to be read again.
        let found = || PrecedingLine::find(&self.segment, self.end).unwrap_or_default();
        let before = self.given.unwrap_or_else(found);
        Position {
            first_seq: self.segment.first_event(),
            offset: self.end,
            crc: before.crc,
            sequence: sequence.or(before.seq.map(|seq| Sequence::before(seq + 1))),
        }
    }

    fn line_position(&self) -> LinePosition<'_> {
        LinePosition {
            file: &self.segment.path,
            line: self.line,
            offset: self.begin,
            end: self.end,
        }
    }

    /// How many lines stand before the place where this began; counted only where
    /// there is damage to be named.
    fn lines_before(&self) -> u64 {
        let mut count = 0;
        if self.start > 0 {
            let Ok(mut lines) = self.segment.lines() else {
                return 0;
            };
            while let Ok(Some(line)) = lines.next_line()
                && line.offset < self.start
            {
                count += 1;
            }
        }
        count
    }

    /// What the next line is, and whether it is an event that follows a gap just told.
    fn next_line(
        &mut self,
        sequence: &mut Option<Sequence>,
    ) -> Result<Option<(ItemKind, bool)>, StorageError> {
        let Some((offset, sound)) = self.next_checked()? else {
            return Ok(None);
        };
        self.line += 1;
        let (reason, after_gap) = match sound {
            LineCheck::Foreign(dialect) => return Ok(Some((ItemKind::Foreign(dialect), false))),
            LineCheck::Event { seq, rotated } => {
                // What was before the oldest segment may have been dropped, and what was
                // before the start was not read.
                let first = match self.segment.first_seq {
                    _ if self.start > 0 || rotated => seq,
                    Some(first_seq) => first_seq.min(seq),
                    None => 0,
                };
                let sequence = sequence.get_or_insert_with(|| Sequence::before(first));
                match sequence.push_event(seq) {
                    SequenceStep::Next => return Ok(Some((ItemKind::Event, false))),
                    SequenceStep::Repeated => (DamageReason::Repeated, false),
                    SequenceStep::Gap => (DamageReason::Gap, true),
                }
            }
            LineCheck::Damage(reason) => {
                if sequence.is_some() || self.start == 0 {
                    let first = self.segment.first_seq.unwrap_or(0);
                    sequence
                        .get_or_insert_with(|| Sequence::before(first))
                        .push_damage();
                }
                (reason, false)
            }
        };
        let damage = Damage {
            file: self.segment.path.clone(),
            line: self.lines_before() + self.line,
            offset,
            reason,
        };
        Ok(Some((ItemKind::Damage(damage), after_gap)))
    }

    /// Where the next line begins and what it is.
    fn next_checked(&mut self) -> Result<Option<(u64, LineCheck)>, StorageError> {
        let is_active = self.segment.first_seq.is_none();
        while !self.broken {
            let line = match self.lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(_) if self.segment.compressed => {
                    self.broken = true;
                    return Ok(Some((
                        self.lines.offset(),
                        LineCheck::Damage(DamageReason::Compression),
                    )));
                }
                Err(e) => return Err(e).at("read", &self.segment.path)?,
            };
            if !line.whole && is_active {
                // In flight: its writer has not ended it, or the next one will mend it.
                return Ok(None);
            }
            let (offset, end, sound) = (line.offset, line.end(), check_line(&line));
            let given = self
                .segment
                .compressed
                .then(|| PrecedingLine::new(line.bytes));
            let again = is_active
                && matches!(sound, LineCheck::Damage(_))
                && self.again_at != Some(offset)
                && changed(&self.file, &line);
            if !again {
                (self.begin, self.end) = (offset, end);
                self.given = given;
                return Ok(Some((offset, sound)));
            }
            // A writer was at this place: look once more.
            self.again_at = Some(offset);
            let span = FileSpan::new(Arc::clone(&self.file), offset, self.segment.len);
            self.lines.restart(Box::new(span), offset);
        }
        Ok(None)
    }
}

enum LineCheck {
    Event { seq: u64, rotated: bool },
    Foreign(Dialect),
    Damage(DamageReason),
}

/// Classifies a line of a segment.
fn check_line(line: &RawLine<'_>) -> LineCheck {
    match classify_raw(line) {
        LineClass::Ours(env) => LineCheck::Event {
            seq: env.seq,
            rotated: env.kind == EventType::LogRotated,
        },
        LineClass::Foreign(dialect) => LineCheck::Foreign(dialect),
        LineClass::Damage(reason) => LineCheck::Damage(reason),
    }
}

/// Whether the file says something else now where the line was read.
fn changed(file: &File, line: &RawLine<'_>) -> bool {
    match read_span(file, line.offset, line.offset + line.bytes.len() as u64) {
        Ok(now) => now != line.bytes,
        Err(_) => true,
    }
}

/// The state of the run in `dir`, from its newest checkpoint on, or from its first event
/// where it has none.
///
/// # Errors
/// A segment cannot be read.
pub fn fold(dir: &Dir) -> Result<RunState, StorageError> {
    fold_to_end(dir).map(|(state, _)| state)
}

/// The same, with the file and the offset where reading ended.
pub(crate) fn fold_to_end(dir: &Dir) -> Result<(RunState, Option<(FileKey, u64)>), StorageError> {
    let mut reader = Reader::from_segments(segment_set::since_checkpoint(open_segments(dir)?));
    let mut state = RunState::default();
    while let Some(item) = reader.next_item()? {
        item.fold_into(&mut state);
    }
    let end = reader.ended.map(|(key, place)| (key, place.offset));
    Ok((state, end))
}
