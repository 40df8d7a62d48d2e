//! A place between two lines of a run, and how it is found again after the log was
//! rotated, compressed, cut, or lost some of its segments.

use crate::log::format::envelope::Envelope;
use crate::log::segment::rev_line_reader::RevLineReader;
use crate::log::segment::segment_file::Segment;
use crate::log::segment::sequence::{Sequence, SequenceStep};

/// A place between two lines: behind a line that was given out, or before the first.
///
/// It names no file: a segment is identified by the sequence number of its first event, which stays
/// when the segment is renamed and compressed, and the place in it by the checksum of the
/// line before. An inode number would not do, since it is given to another file as soon
/// as nobody holds the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The number of the first event in the segment.
    pub first_seq: u64,
    /// In the uncompressed segment, in bytes.
    pub offset: u64,
    /// CRC-32C of the line before, without its `\n`; 0 at the start of the segment.
    pub crc: u32,
    /// The numbers so far; `None` where the line before has none.
    pub sequence: Option<Sequence>,
}

/// Why lines between a place and what is left of the log are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// The segment was dropped, by `rotate --keep` or `gc`.
    Dropped,
    /// The log does not have the line any more behind which the place was: it was cut, or
    /// is that of another run.
    Changed,
    /// The run was removed.
    Removed,
}

impl GapReason {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// Lines that cannot be given out any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The number of the first missing event, where it is known.
    pub from_seq: Option<u64>,
    /// The number of the last missing event, where it is known.
    pub to_seq: Option<u64>,
    /// Why they are missing.
    pub why: GapReason,
}

impl Position {
    /// Whether this is a place in that segment.
    pub(crate) fn matches_segment(&self, segment: &Segment) -> bool {
        segment.first_event() == self.first_seq && self.is_present_in(segment)
    }

    /// Returns whether the event `first` follows it, so that nothing is missing in between.
    pub(super) fn is_followed_by(&self, first: u64) -> bool {
        self.sequence
            .is_some_and(|mut sequence| sequence.push_event(first) == SequenceStep::Next)
    }

    /// Returns whether the segment holds the line before this position where it was.
    pub(super) fn is_present_in(&self, segment: &Segment) -> bool {
        PrecedingLine::find(segment, self.offset).is_some_and(|before| before.crc == self.crc)
    }
}

/// What is known of the line that ends at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PrecedingLine {
    /// CRC-32C of it without its `\n`; 0 at the start of the segment.
    pub crc: u32,
    /// The sequence number, if the line has one.
    pub seq: Option<u64>,
}

impl PrecedingLine {
    pub(crate) fn new(line: &[u8]) -> Self {
        Self {
            crc: crc32c::crc32c(line),
            seq: Envelope::parse(line).ok().map(|env| env.seq),
        }
    }

    /// The line that ends at `offset`, in bytes before compression; `None` where none ends
    /// there.
    pub(crate) fn find(segment: &Segment, offset: u64) -> Option<Self> {
        if offset == 0 {
            return Some(Self::default());
        }
        let opened = segment.open().ok()?;
        if opened.compressed {
            let mut lines = opened.lines();
            while lines.offset() < offset {
                lines.next_line().ok()??;
            }
            return (lines.offset() == offset).then(|| Self::new(lines.last_bytes()));
        }
        if opened.len < offset {
            return None;
        }
        let mut back = RevLineReader::new(&opened.file, offset);
        let line = back.prev_line().ok()??;
        let ends_here = line.whole || (segment.first_seq.is_some() && opened.len == offset);
        ends_here.then(|| Self::new(line.bytes))
    }
}
