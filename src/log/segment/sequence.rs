//! Sequence numbers, and which number may follow which.

/// The number of bytes at the end of a segment whose order a backward scan checks.
///
/// Lines that were copied to the end are in order among themselves. A writer that trusted them
/// would use a sequence number twice.
pub(crate) const TAIL_CHECK_BYTES: u64 = 64 << 10;

/// Tracks the sequence numbers of lines in log order.
///
/// A damaged whole line may have had a number. The next writer counts it as one, and the next
/// valid line may continue with or without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sequence {
    last: Option<u64>,
    damaged: u64,
}

/// The relation of a valid line to the lines before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SequenceStep {
    /// The expected next number.
    Next,
    /// A number that has occurred before.
    Repeated,
    /// A number after a gap, in which others are missing.
    Gap,
}

impl Sequence {
    /// Creates a sequence that continues with `next`.
    pub(crate) fn before(next: u64) -> Self {
        Self {
            last: next.checked_sub(1),
            damaged: 0,
        }
    }

    /// Creates a sequence whose last valid line has the number before `next` and is followed by
    /// `damaged` damaged lines.
    pub(crate) fn resumed(next: u64, damaged: u64) -> Self {
        Self {
            damaged,
            ..Self::before(next)
        }
    }

    /// Adds a valid line, and returns its relation to the lines before it.
    ///
    /// A repeated line changes nothing.
    pub(crate) fn push_event(&mut self, seq: u64) -> SequenceStep {
        let step = match self.last {
            Some(last) if seq <= last => return SequenceStep::Repeated,
            _ if seq > self.next() => SequenceStep::Gap,
            _ => SequenceStep::Next,
        };
        self.last = Some(seq);
        self.damaged = 0;
        step
    }

    /// Adds a damaged whole line.
    pub(crate) fn push_damage(&mut self) {
        self.damaged += 1;
    }

    /// Returns the next event's sequence number.
    pub(crate) fn next(&self) -> u64 {
        self.last.map_or(0, |last| last + 1) + self.damaged
    }

    /// Returns the highest sequence number of a valid line.
    pub(crate) fn last(&self) -> Option<u64> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_line_may_have_had_a_number() {
        let mut s = Sequence::default();
        assert_eq!(
            (s.push_event(0), s.push_event(1)),
            (SequenceStep::Next, SequenceStep::Next)
        );
        s.push_damage();
        assert_eq!(s.next(), 3);
        let mut without = s;
        assert_eq!(
            (s.push_event(3), without.push_event(2)),
            (SequenceStep::Next, SequenceStep::Next)
        );
        assert_eq!((s.next(), without.next()), (4, 3));
    }

    #[test]
    fn repeated_numbers_and_gaps_are_detected() {
        let mut s = Sequence::before(10);
        assert_eq!(s.push_event(10), SequenceStep::Next);
        assert_eq!(s.push_event(3), SequenceStep::Repeated);
        assert_eq!(s.next(), 11);
        assert_eq!(s.push_event(13), SequenceStep::Gap);
        assert_eq!(s.next(), 14);
    }
}
