//! Catching up with other writers: only the sequence number and the id of the last line matter,
//! unless a line changes more than that.

use super::tail::Tail;
use crate::log::format::classify::{LineClass, classify};
use crate::log::format::envelope;
use crate::log::format::envelope::Envelope;
use crate::log::format::job_counts::JobCounts;
use crate::log::segment::sequence::Sequence;

/// The prefixes of types that change more than the sequence number: a repair frees blocks, a
/// close ends the run, and events after it carry its summary.
const STATEFUL_TYPES: [&[u8]; 3] = [b"log_", b"run_", b"job_roll"];

impl Tail {
    /// Advances over `unread`, the bytes after this end, if they are whole lines with
    /// consecutive sequence numbers that change nothing else.
    ///
    /// Checks only the last line in full: a damaged line before it has still used its sequence
    /// number, and the last id is the highest, because ids increase. Returns `false`, and
    /// changes nothing, if every line must be read.
    pub(crate) fn skip_plain_lines(&mut self, unread: &[u8]) -> bool {
        let Some(lines) = unread
            .strip_suffix(b"\n")
            .filter(|_| self.summary.is_none())
        else {
            return false;
        };
        let mut next = self.sequence.next();
        let mut rest = Some(lines);
        let mut last = lines;
        let mut jobs = self.jobs;
        while let Some(lines) = rest {
            (last, rest) = match memchr::memchr(b'\n', lines) {
                Some(at) => (lines.get(..at).unwrap_or_default(), lines.get(at + 1..)),
                None => (lines, None),
            };
            let is_plain =
                |kind: &[u8]| !STATEFUL_TYPES.iter().any(|prefix| kind.starts_with(prefix));
            if !envelope::peek_frame(last)
                .is_some_and(|frame| frame.seq == next && is_plain(frame.kind))
            {
                return false;
            }
            if JobCounts::line_has_counts(last) {
                jobs = JobCounts::from_line(last).filter(|_| Envelope::parse(last).is_ok());
                if jobs.is_none() {
                    return false;
                }
            }
            next += 1;
        }
        let LineClass::Ours(env) = classify(last) else {
            return false;
        };
        self.jobs = jobs;
        self.started = true;
        self.sequence = Sequence::before(next);
        self.last_id = self.last_id.max(env.ulid());
        self.end += unread.len() as u64;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::log::test_log::{PLAIN, written as line};

    const KINDS: [&str; 4] = [
        PLAIN,
        r#""type":"log_repaired","run_id":"r""#,
        r#""type":"run_closed","run_id":"r","summary":{}"#,
        r#""type":"job_rolled_back","run_id":"r","summary":{}"#,
    ];

    fn lines(seqs: std::ops::Range<u64>) -> Vec<u8> {
        seqs.flat_map(|seq| line(seq, PLAIN)).collect()
    }

    /// Returns the end of a log whose last line has the number 6.
    fn tail() -> Tail {
        let mut tail = Tail::default();
        tail.sequence.push_event(6);
        tail
    }

    /// Returns the end of the log after reading every new line.
    fn advanced(new_lines: &[u8]) -> Tail {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(new_lines).unwrap();
        let (mut tail, file): (_, Arc<File>) = (tail(), Arc::new(file));
        let len = new_lines.len() as u64;
        tail.advance(&file, len, Path::new("x"), None).unwrap();
        tail
    }

    fn same(a: &Tail, b: &Tail) -> bool {
        let of = |t: &Tail| (t.sequence.next(), t.end, t.foreign, t.repairs, t.last_id);
        of(a) == of(b) && a.summary.is_none() && b.summary.is_none()
    }

    #[test]
    fn plain_lines_are_skipped() {
        let mut tail = tail();
        assert!(tail.skip_plain_lines(&lines(7..23)));
        assert!(same(&tail, &advanced(&lines(7..23))));
        assert!(tail.skip_plain_lines(&line(23, PLAIN)));
        assert_eq!(tail.sequence.next(), 24);
    }

    #[test]
    fn stateful_events_are_not_skipped() {
        let copied = [lines(7..9), lines(8..10)].concat();
        let newer = String::from_utf8(lines(7..9))
            .unwrap()
            .replacen('1', "2", 1);
        let torn = [lines(7..9), b"{\"v\":1".to_vec()].concat();
        let foreign = [lines(7..9), b"{\"type\":\"pipe.done\"}\n".to_vec()].concat();
        let many = [
            copied,
            newer.into_bytes(),
            torn,
            foreign,
            lines(8..9),
            lines(6..9),
        ];
        let stateful = KINDS[1..]
            .iter()
            .map(|kind| [line(7, kind), line(8, kind)].concat());
        for new_lines in many.into_iter().chain(stateful) {
            let mut tail = tail();
            assert!(
                !tail.skip_plain_lines(&new_lines),
                "{}",
                new_lines.escape_ascii()
            );
            assert_eq!((tail.end, tail.sequence.next()), (0, 7));
        }
        let mut closed = tail();
        closed.summary = serde_json::from_str("{}").ok();
        assert!(!closed.skip_plain_lines(&line(7, PLAIN)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn skipping_plain_lines_matches_full_read(
            kinds in prop::collection::vec(prop_oneof![20 => Just(0_usize), 1 => 0..KINDS.len()], 1..8),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let each = kinds.iter().zip(7..).map(|(kind, seq)| line(seq, KINDS[*kind]));
            let mut new_lines = each.collect::<Vec<_>>().concat();
            for (at, with) in flips {
                let at = at.index(new_lines.len());
                new_lines[at] ^= with;
            }
            let mut tail = tail();
            if tail.skip_plain_lines(&new_lines) {
                prop_assert!(same(&tail, &advanced(&new_lines)), "{}", new_lines.escape_ascii());
            }
        }
    }
}
