//! Reading one segment of a run, line by line.

use std::cell::OnceCell;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::damage::Damage;
use super::position::{Gap, GapReason, Position, PrecedingLine};
use crate::log::error::StorageError;
use crate::log::format::classify::{Dialect, LineCheck, LineClass, classify_checked};
use crate::log::format::envelope::{DamageReason, Envelope};
use crate::log::format::event_type::EventType;
use crate::log::format::payload::records_loss;
use crate::log::segment::line_reader::{FileSpan, RawLine, check_raw, read_span};
use crate::log::segment::segment_file::{Segment, SegmentLines};
use crate::log::segment::sequence::{Sequence, SequenceStep};
use crate::volume::{FileKey, IoContext};

/// The last line of a [`SegmentReader`].
pub(crate) enum ItemKind<'a> {
    Event(Envelope<'a>),
    /// An event with a gap before it.
    EventAfterGap,
    Foreign(Dialect),
    Damage(Damage),
}

/// The position of a line in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinePosition<'a> {
    /// The segment.
    pub file: &'a Path,
    /// The number of the line in the segment, from 1, if the segment is read from its start.
    pub line: u64,
    /// The offset of the line in the uncompressed segment, in bytes.
    pub offset: u64,
    /// The offset of the next line.
    pub end: u64,
}

/// A reader of the lines of an open segment.
pub(crate) struct SegmentReader {
    segment: Segment,
    /// The sequence number of the first event in the segment, once it is needed.
    first_event: OnceCell<u64>,
    file: Arc<File>,
    lines: SegmentLines,
    /// The offset at which reading started.
    start: u64,
    /// The number of lines before `start`, once it is needed.
    lines_before: OnceCell<u64>,
    /// The start of the last line.
    line_start: u64,
    /// The end of the last line.
    line_end: u64,
    /// The result of the check of the last line.
    check: LineCheck,
    /// The number of lines read.
    line: u64,
    /// The last line, if the segment is compressed.
    preceding: Option<PrecedingLine>,
    /// The offset of a line that was read again because it looked damaged.
    reread_at: Option<u64>,
    /// Whether the compressed data ended in an error, which was returned as damage.
    broken: bool,
}

impl SegmentReader {
    pub(crate) fn new(segment: Segment, start: u64) -> Result<Self, StorageError> {
        Ok(Self {
            file: segment.open()?.file,
            lines: segment.lines_from(start)?,
            segment,
            first_event: OnceCell::new(),
            start,
            lines_before: OnceCell::new(),
            line_start: start,
            line_end: start,
            check: LineCheck::Damage(DamageReason::Blank),
            line: 0,
            preceding: None,
            reread_at: None,
            broken: false,
        })
    }

    /// Returns the last line.
    pub(crate) fn line(&self) -> &[u8] {
        self.lines.last_bytes()
    }

    /// Returns the identity of the file.
    pub(crate) fn file_key(&self) -> FileKey {
        self.segment.key
    }

    /// Returns the position after the last line. `sequence` is that of the lines so far.
    ///
    /// Each line needs it for its cursor, so known facts are not read again.
    pub(crate) fn position(&self, sequence: Option<Sequence>) -> Position {
        let find = || {
            if self.line > 0 && self.lines.offset() == self.line_end {
                PrecedingLine::new(self.lines.last_bytes())
            } else {
                PrecedingLine::find(&self.segment, self.line_end).unwrap_or_default()
            }
        };
        // In a compressed segment, all earlier lines would have to be read again.
        let preceding = self.preceding.unwrap_or_else(find);
        Position {
            first_seq: *self.first_event.get_or_init(|| self.segment.first_event()),
            offset: self.line_end,
            crc: preceding.crc,
            sequence: sequence.or(preceding.seq.map(|seq| Sequence::before(seq + 1))),
        }
    }

    pub(crate) fn line_position(&self) -> LinePosition<'_> {
        LinePosition {
            file: &self.segment.path,
            line: self.line,
            offset: self.line_start,
            end: self.line_end,
        }
    }

    /// Returns the gap before the last line.
    pub(crate) fn gap(&self) -> Damage {
        self.damage(DamageReason::Gap)
    }

    /// Returns the gap between a sequence and this segment, before which others were dropped;
    /// `None` if no event is missing.
    pub(crate) fn dropped_after(&self, sequence: Sequence) -> Option<Gap> {
        let (first, next) = (self.segment.first_event(), sequence.next());
        let last = first.checked_sub(1).filter(|last| *last >= next)?;
        Some(Gap {
            from_seq: Some(next),
            to_seq: Some(last),
            why: GapReason::Dropped,
        })
    }

    fn damage(&self, reason: DamageReason) -> Damage {
        Damage {
            file: self.segment.path.clone(),
            line: self.lines_before() + self.line,
            offset: self.line_start,
            reason,
        }
    }

    /// Returns the number of lines before the start.
    ///
    /// They are counted only if there is damage to report, and only once: the segment may be
    /// long, and damaged in many places.
    fn lines_before(&self) -> u64 {
        let count = || {
            let mut count = 0;
            let Ok(mut lines) = self.segment.lines() else {
                return 0;
            };
            while let Ok(Some(line)) = lines.next_line()
                && line.offset < self.start
            {
                count += 1;
            }
            count
        };
        match self.start {
            0 => 0,
            _ => *self.lines_before.get_or_init(count),
        }
    }

    /// Classifies the last line, and adds it to the sequence of the lines before.
    #[inline]
    pub(crate) fn classify(&self, sequence: &mut Option<Sequence>) -> ItemKind<'_> {
        let line = self.line();
        let reason = match classify_checked(self.check, line) {
            LineClass::Foreign(dialect) => return ItemKind::Foreign(dialect),
            LineClass::Ours(env) => {
                // A checkpoint replaces the events before it, and the caller did not want those
                // before the start. Any other line must start with event 0.
                let starts_log = self.start == 0 && env.kind != EventType::LogRotated;
                let first = if starts_log { 0 } else { env.seq };
                let sequence = sequence.get_or_insert_with(|| Sequence::before(first));
                match sequence.push_event(env.seq) {
                    SequenceStep::Next
                        if env.kind == EventType::LogRepaired && records_loss(line) =>
                    {
                        return ItemKind::EventAfterGap;
                    }
                    SequenceStep::Next => return ItemKind::Event(env),
                    SequenceStep::Gap => return ItemKind::EventAfterGap,
                    SequenceStep::Repeated => DamageReason::Repeated,
                }
            }
            LineClass::Damage(reason) => {
                if sequence.is_some() || self.start == 0 {
                    let first = self.segment.first_seq.unwrap_or(0);
                    sequence
                        .get_or_insert_with(|| Sequence::before(first))
                        .push_damage();
                }
                reason
            }
        };
        ItemKind::Damage(self.damage(reason))
    }

    /// Reads the next line; returns `false` at the end of the segment.
    pub(crate) fn read_line(&mut self) -> Result<bool, StorageError> {
        let is_active = self.segment.first_seq.is_none();
        while !self.broken {
            let line = match self.lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(false),
                Err(_) if self.segment.compressed => {
                    self.broken = true;
                    self.line += 1;
                    self.line_start = self.lines.offset();
                    self.check = LineCheck::Damage(DamageReason::Compression);
                    return Ok(true);
                }
                Err(e) => return Err(e).at("read", &self.segment.path)?,
            };
            if !line.whole && is_active {
                // The line is in flight: its writer has not finished it, or the next writer will
                // repair it.
                return Ok(false);
            }
            let (offset, end, check) = (line.offset, line.end(), check_raw(&line));
            let preceding = self
                .segment
                .compressed
                .then(|| PrecedingLine::new(line.bytes));
            let reread = is_active
                && matches!(check, LineCheck::Damage(_))
                && self.reread_at != Some(offset)
                && has_changed(&self.file, &line);
            if !reread {
                self.line += 1;
                (self.line_start, self.line_end) = (offset, end);
                self.preceding = preceding;
                self.check = check;
                return Ok(true);
            }
            // A writer was writing here, so read the line once more.
            self.reread_at = Some(offset);
            let span = FileSpan::new(Arc::clone(&self.file), offset, self.segment.len);
            self.lines.restart(Box::new(span), offset);
        }
        Ok(false)
    }
}

/// Returns whether the bytes of the line in the file have changed.
fn has_changed(file: &File, line: &RawLine<'_>) -> bool {
    let end = line.offset + line.bytes.len() as u64;
    match read_span(file, line.offset, end) {
        Ok(now) => now != line.bytes,
        Err(_) => true,
    }
}
