//! The numbers of a run's events: which may follow which.

/// The number of bytes at the end of a segment whose order a backward scan checks.
///
/// Lines that were copied there are in order among themselves, and must not make a writer
/// use a sequence number twice.
pub(crate) const TAIL_CHECK_BYTES: u64 = 64 << 10;

/// Follows the `seq` of lines in the order in which they stand.
///
/// A damaged whole line may have had a number: it counts as one for the next
/// writer, and the next valid line may go on with or without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sequence {
    last: Option<u64>,
    damaged: u64,
}

/// How a valid line stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SequenceStep {
    /// It follows.
    Next,
    /// Its number was there before.
    Repeated,
    /// Numbers are missing before it.
    Gap,
}

impl Sequence {
    /// A sequence whose last line had the number before `next`.
    pub(crate) fn before(next: u64) -> Self {
        Self {
            last: next.checked_sub(1),
            damaged: 0,
        }
    }

    /// A sequence whose last line had the number before `next`, with `damaged` whole lines
    /// behind it.
    pub(crate) fn resumed(next: u64, damaged: u64) -> Self {
        Self {
            damaged,
            ..Self::before(next)
        }
    }

    /// Takes a valid line. A repeated one changes nothing.
    pub(crate) fn event(&mut self, seq: u64) -> SequenceStep {
        let step = match self.last {
            Some(last) if seq <= last => return SequenceStep::Repeated,
            _ if seq > self.next() => SequenceStep::Gap,
            _ => SequenceStep::Next,
        };
        self.last = Some(seq);
        self.damaged = 0;
        step
    }

    /// Takes a damaged whole line.
    pub(crate) fn damage(&mut self) {
        self.damaged += 1;
    }

    /// The number that the next event gets.
    pub(crate) fn next(&self) -> u64 {
        self.last.map_or(0, |last| last + 1) + self.damaged
    }

    /// The highest number of a valid line.
    pub(crate) fn last(&self) -> Option<u64> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_lines_may_or_may_not_have_had_a_number() {
        let mut s = Sequence::default();
        assert_eq!(
            (s.event(0), s.event(1)),
            (SequenceStep::Next, SequenceStep::Next)
        );
        s.damage();
        assert_eq!(s.next(), 3);
        let mut without = s;
        assert_eq!(
            (s.event(3), without.event(2)),
            (SequenceStep::Next, SequenceStep::Next)
        );
        assert_eq!((s.next(), without.next()), (4, 3));
    }

    #[test]
    fn copies_and_gaps_are_seen() {
        let mut s = Sequence::before(10);
        assert_eq!(s.event(10), SequenceStep::Next);
        assert_eq!(s.event(3), SequenceStep::Repeated);
        assert_eq!(s.next(), 11);
        assert_eq!(s.event(13), SequenceStep::Gap);
        assert_eq!(s.next(), 14);
    }
}
