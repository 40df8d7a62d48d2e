//! Readers that continue from a position in a run.

use super::position::{Gap, GapReason, Position};
use super::reader::Reader;
use crate::log::segment::segment_file::Segment;

impl Reader {
    /// Creates a reader that continues from a position in the first of the segments.
    pub(crate) fn continue_from(position: &Position, segments: Vec<Segment>) -> Self {
        Self::starting_at(segments, position.offset, position.sequence)
    }

    /// Creates a reader that continues from a position, and returns the gap before its first
    /// line.
    pub(crate) fn resume(position: &Position, mut segments: Vec<Segment>) -> (Self, Option<Gap>) {
        let found = segments
            .iter()
            .position(|s| position.matches_segment(s))
            // The first line of a segment may be damaged, and then has no sequence number.
            .or_else(|| {
                segments
                    .iter()
                    .position(|s| position.offset > 0 && position.is_present_in(s))
            });
        if let Some(at) = found {
            segments.drain(..at);
            return (Self::continue_from(position, segments), None);
        }
        // They may have been pruned since they were listed.
        let kept = segments.iter().position(|s| s.open().is_ok());
        segments.drain(..kept.unwrap_or(0));
        let same = segments
            .iter()
            .position(|s| s.first_event() == position.first_seq);
        let later = segments
            .iter()
            .map(Segment::first_event)
            .position(|first| first > position.first_seq);
        let from_seq = position.sequence.map(|s| s.next());
        if let (None, Some(at)) = (same, later) {
            segments.drain(..at);
            let first = segments.first().map_or(0, Segment::first_event);
            if position.is_followed_by(first) {
                let reader = Self::starting_at(segments, 0, position.sequence);
                return (reader, None);
            }
            let gap = Gap {
                from_seq,
                to_seq: first.checked_sub(1).filter(|to| Some(*to) >= from_seq),
                why: GapReason::Dropped,
            };
            return (Self::from_segments(segments), Some(gap));
        }
        // It is unknown which of the events are new, so all of them are read again.
        segments.drain(..same.unwrap_or(0));
        let gap = Gap {
            from_seq,
            to_seq: None,
            why: GapReason::Changed,
        };
        (Self::from_segments(segments), Some(gap))
    }
}
