//! A position between two lines of a run, which can be found again after the log was rotated,
//! compressed, cut, or lost some of its segments.

use std::fmt;

use crate::log::format::envelope::Envelope;
use crate::log::segment::rev_line_reader::RevLineReader;
use crate::log::segment::segment_file::Segment;
use crate::log::segment::sequence::{Sequence, SequenceStep};

/// A position between two lines: after a returned line, or before the first one.
///
/// It contains no file name. A segment is identified by the sequence number of its first event,
/// which does not change when the segment is renamed or compressed, and the position in it by
/// the checksum of the previous line. An inode number would not work, because another file gets
/// it as soon as no process has the first one open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The sequence number of the first event in the segment.
    pub first_seq: u64,
    /// The offset in the uncompressed segment, in bytes.
    pub offset: u64,
    /// The CRC-32C of the previous line, without its `\n`; 0 at the start of the segment.
    pub crc: u32,
    /// The sequence numbers so far; `None` if the previous line has none.
    pub sequence: Option<Sequence>,
}

/// The reason why lines between a position and the rest of the log are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// `rotate --keep` or `gc` dropped the segment.
    Dropped,
    /// The line before the position is no longer in the log: the log was cut, or belongs to
    /// another run.
    Changed,
    /// The run was removed.
    Removed,
}

impl GapReason {
    /// Returns the name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// Lines that can no longer be returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The number of the first missing event, if known.
    pub from_seq: Option<u64>,
    /// The number of the last missing event, if known.
    pub to_seq: Option<u64>,
    /// Why they are missing.
    pub why: GapReason,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from_seq, self.to_seq) {
            (Some(from), Some(to)) if from == to => write!(f, "event {from} is missing")?,
            (Some(from), Some(to)) => write!(f, "events {from} to {to} are missing")?,
            (Some(from), None) => write!(f, "events from {from} on may be missing")?,
            (None, _) => write!(f, "events may be missing")?,
        }
        f.write_str(match self.why {
            GapReason::Dropped => ": their segment was dropped",
            GapReason::Changed => {
                ": the log no longer holds the last line that was read; continuing with what it \
                 holds"
            }
            GapReason::Removed => ": the run was removed",
        })
    }
}

impl Position {
    /// Returns whether this position is in the segment.
    pub(crate) fn matches_segment(&self, segment: &Segment) -> bool {
        segment.first_event() == self.first_seq && self.is_present_in(segment)
    }

    /// Returns whether the event `first` is the next one, so that nothing is missing in between.
    pub(super) fn is_followed_by(&self, first: u64) -> bool {
        self.sequence
            .is_some_and(|mut sequence| sequence.push_event(first) == SequenceStep::Next)
    }

    /// Returns whether the segment still has the line before this position.
    pub(super) fn is_present_in(&self, segment: &Segment) -> bool {
        PrecedingLine::find(segment, self.offset).is_some_and(|before| before.crc == self.crc)
    }
}

/// The known facts about the line that ends at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PrecedingLine {
    /// The CRC-32C of the line without its `\n`; 0 at the start of the segment.
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

    /// Finds the line that ends at `offset`, in bytes before compression; `None` if no line ends
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
