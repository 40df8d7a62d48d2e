//! What jobs printed, as much of it as an export holds: the end of it, which is what
//! tells why a job failed.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::io::Write;

use crate::job::StreamId;
use crate::render::export::OutputChunk;
use crate::render::human::format::size;

/// Most that is held of all jobs together before each gets little, in bytes.
const MAX_TOTAL_BYTES: usize = 32 << 20;
/// What each gets then, in bytes.
const MIN_JOB_BYTES: usize = 4 << 10;

/// Bytes of one stream that came together.
#[derive(Debug)]
pub(crate) struct OutputPart {
    pub stream: Option<StreamId>,
    pub bytes: Vec<u8>,
}

/// The end of what one job printed.
#[derive(Debug, Default)]
pub(crate) struct OutputTails {
    pub parts: VecDeque<OutputPart>,
    /// What of it was left out at its beginning, in bytes.
    pub left_out: u64,
    len: usize,
}

/// The same of all jobs.
#[derive(Debug)]
pub(crate) struct OutputTail {
    jobs: HashMap<String, OutputTails>,
    /// For one job, in bytes.
    limit: usize,
    total: usize,
}

impl OutputTail {
    /// Holds at most so many bytes of each job.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            jobs: HashMap::new(),
            limit,
            total: 0,
        }
    }

    pub(crate) fn record(&mut self, piece: OutputChunk<'_>) {
        if !self.jobs.contains_key(piece.job) {
            self.jobs
                .insert(piece.job.to_owned(), OutputTails::default());
        }
        let limit = if self.total > MAX_TOTAL_BYTES {
            MIN_JOB_BYTES
        } else {
            self.limit
        };
        if let Some(kept) = self.jobs.get_mut(piece.job) {
            let before = kept.len;
            kept.push(piece);
            // Now and then: not with every small piece.
            if kept.len > limit + limit / 2 {
                kept.cut(limit);
            }
            self.total = (self.total + kept.len).saturating_sub(before);
        }
    }

    /// What is held of a job.
    pub(crate) fn tail_of(&self, job: &str) -> Option<&OutputTails> {
        self.jobs.get(job)
    }
}

impl OutputTails {
    fn push(&mut self, piece: OutputChunk<'_>) {
        self.len += piece.bytes.len();
        match self.parts.back_mut() {
            Some(last) if last.stream == piece.stream => {
                last.bytes.extend_from_slice(piece.bytes);
            }
            _ => self.parts.push_back(OutputPart {
                stream: piece.stream,
                bytes: piece.bytes.to_vec(),
            }),
        }
    }

    fn cut(&mut self, limit: usize) {
        while self.len > limit {
            let Some(mut first) = self.parts.pop_front() else {
                return;
            };
            let cut = first.bytes.len().min(self.len - limit);
            first.bytes.drain(..cut);
            self.len -= cut;
            self.left_out += cut as u64;
            if !first.bytes.is_empty() {
                // What was cut is not held: there may be thousands of jobs.
                first.bytes.shrink_to(first.bytes.len() * 3 / 2);
                self.parts.push_front(first);
            }
        }
    }

    /// Writes a line that tells how much was left out, if anything was.
    pub(crate) fn write_left_out(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.left_out == 0 {
            return Ok(());
        }
        let left_out = size(self.left_out);
        writeln!(out, "[runlog: {left_out} before this are left out]")
    }

    /// All bytes of one stream, or of those that belong to no known one as well.
    pub(crate) fn bytes(&self, wanted: impl Fn(Option<StreamId>) -> bool) -> Vec<u8> {
        let parts = self.parts.iter().filter(|part| wanted(part.stream));
        parts.flat_map(|part| part.bytes.iter().copied()).collect()
    }
}

/// Joins the bytes of a stream into text, also where a character is in two pieces. What
/// is no UTF-8 becomes `�`.
#[derive(Debug, Default)]
pub(crate) struct Utf8 {
    /// The beginning of a character.
    begun: Vec<u8>,
}

impl Utf8 {
    /// The characters that are whole with these bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let whole = all.len() - begun_len(&all);
        self.begun = all.split_off(whole);
        String::from_utf8_lossy(&all).into_owned()
    }

    /// What is left at the end.
    pub(crate) fn rest(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned()
    }
}

/// How many bytes at the end are the beginning of a character.
fn begun_len(bytes: &[u8]) -> usize {
    let tail = bytes.iter().rev().take(3);
    for (n, byte) in (1..).zip(tail) {
        let needs = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if n < needs { n } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece<'a>(job: &'a str, bytes: &'a [u8]) -> OutputChunk<'a> {
        OutputChunk {
            job,
            stream: None,
            ts: None,
            bytes,
        }
    }

    #[test]
    fn the_end_is_kept_and_the_rest_is_counted() {
        let mut kept = OutputTail::new(100);
        for n in 0..1000 {
            kept.record(piece("j", format!("{n:04}").as_bytes()));
        }
        let output = kept.tail_of("j").unwrap();
        let bytes = output.bytes(|_| true);
        assert!((100..=150).contains(&bytes.len()), "{}", bytes.len());
        assert!(bytes.ends_with(b"09980999"));
        assert_eq!(output.left_out + bytes.len() as u64, 4000);
    }

    #[test]
    fn many_jobs_are_held_in_little() {
        let mut kept = OutputTail::new(1 << 20);
        let bytes = vec![b'x'; 64 << 10];
        for job in 0..2000 {
            for _ in 0..2 {
                kept.record(piece(&job.to_string(), &bytes));
            }
        }
        let parts = kept.jobs.values().flat_map(|job| &job.parts);
        let held: usize = parts.map(|part| part.bytes.capacity()).sum();
        assert!(
            (MAX_TOTAL_BYTES..2 * MAX_TOTAL_BYTES).contains(&held),
            "{held}"
        );
        let last = kept.tail_of("1999").unwrap();
        assert_eq!(last.left_out, (128 << 10) - MIN_JOB_BYTES as u64);
    }

    #[test]
    fn a_character_in_two_pieces_is_one() {
        let text = "aé€😀z";
        for at in 0..text.len() {
            let (left, right) = text.as_bytes().split_at(at);
            let mut utf8 = Utf8::default();
            let joined = utf8.push(left) + &utf8.push(right) + &utf8.rest();
            assert_eq!(joined, text, "cut at {at}");
        }
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.push(b"\xffa\xc3"), "\u{fffd}a");
        assert_eq!(utf8.rest(), "\u{fffd}");
    }
}
