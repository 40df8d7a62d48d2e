//! The end of the jobs' output in limited memory. It usually says why a job failed.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::log::StreamId;
use crate::render::export::OutputChunk;
use crate::render::human::format::size;

/// How much output of all jobs to keep before each job is limited to [`MIN_JOB_BYTES`].
const MAX_TOTAL_BYTES: usize = 32 << 20;
/// How much output of each job to keep after that, in bytes.
const MIN_JOB_BYTES: usize = 4 << 10;

/// The minimum time between the storage of bytes in different parts.
const PART_INTERVAL: SignedDuration = SignedDuration::from_millis(100);

/// Consecutive bytes of one stream that were stored at about the same time.
#[derive(Debug)]
pub(crate) struct OutputPart {
    pub stream: Option<StreamId>,
    /// When the first of these bytes were stored, if known.
    pub ts: Option<Timestamp>,
    pub bytes: Vec<u8>,
}

/// The end of one job's output.
#[derive(Debug, Default)]
pub(crate) struct OutputTail {
    pub parts: VecDeque<OutputPart>,
    /// The number of dropped bytes before it.
    pub omitted: u64,
    len: usize,
}

/// The end of each job's output.
#[derive(Debug)]
pub(crate) struct OutputTails {
    jobs: HashMap<String, OutputTail>,
    /// How much output of one job to keep, in bytes.
    limit: usize,
    total: usize,
}

impl OutputTails {
    /// Creates tails that keep about `limit` bytes of each job.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            jobs: HashMap::new(),
            limit,
            total: 0,
        }
    }

    pub(crate) fn record(&mut self, chunk: OutputChunk<'_>) {
        if !self.jobs.contains_key(chunk.job) {
            self.jobs
                .insert(chunk.job.to_owned(), OutputTail::default());
        }
        let limit = if self.total > MAX_TOTAL_BYTES {
            MIN_JOB_BYTES
        } else {
            self.limit
        };
        if let Some(tail) = self.jobs.get_mut(chunk.job) {
            let before = tail.len;
            tail.push(chunk);
            // Trim only occasionally, not after each small chunk.
            if tail.len > limit + limit / 2 {
                tail.trim(limit);
            }
            self.total = (self.total + tail.len).saturating_sub(before);
        }
    }

    /// Returns the kept output of a job.
    pub(crate) fn get(&self, job: &str) -> Option<&OutputTail> {
        self.jobs.get(job)
    }

    /// Removes and returns the kept output of a job.
    pub(crate) fn remove(&mut self, job: &str) -> Option<OutputTail> {
        self.jobs.remove(job)
    }
}

/// Returns whether bytes that were stored at `ts` need a new part because of their time.
fn is_later(first: Option<Timestamp>, ts: Option<Timestamp>) -> bool {
    match first.zip(ts) {
        Some((first, ts)) => ts.duration_since(first) >= PART_INTERVAL,
        None => first.is_some() != ts.is_some(),
    }
}

impl OutputTail {
    fn push(&mut self, chunk: OutputChunk<'_>) {
        self.len += chunk.bytes.len();
        match self.parts.back_mut() {
            Some(last) if last.stream == chunk.stream && !is_later(last.ts, chunk.ts) => {
                last.bytes.extend_from_slice(chunk.bytes);
            }
            _ => self.parts.push_back(OutputPart {
                stream: chunk.stream,
                ts: chunk.ts,
                bytes: chunk.bytes.to_vec(),
            }),
        }
    }

    fn trim(&mut self, limit: usize) {
        while self.len > limit {
            let Some(mut first) = self.parts.pop_front() else {
                return;
            };
            let cut = first.bytes.len().min(self.len - limit);
            first.bytes.drain(..cut);
            self.len -= cut;
            self.omitted += cut as u64;
            if !first.bytes.is_empty() {
                // Free the memory, because there may be thousands of jobs.
                first.bytes.shrink_to(first.bytes.len() * 3 / 2);
                self.parts.push_front(first);
            }
        }
    }

    /// Returns a line that says how much was dropped; empty if nothing was.
    pub(crate) fn omission_notice(&self) -> String {
        if self.omitted == 0 {
            return String::new();
        }
        format!("[runlog: omitted {} before this]\n", size(self.omitted))
    }

    /// Returns all bytes of the streams that `select` accepts.
    pub(crate) fn bytes(&self, select: impl Fn(Option<StreamId>) -> bool) -> Vec<u8> {
        let parts = self.parts.iter().filter(|part| select(part.stream));
        parts.flat_map(|part| part.bytes.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk<'a>(job: &'a str, bytes: &'a [u8]) -> OutputChunk<'a> {
        OutputChunk {
            job,
            stream: None,
            ts: None,
            bytes,
        }
    }

    #[test]
    fn tail_keeps_end_and_counts_rest() {
        let mut tails = OutputTails::new(100);
        for n in 0..1000 {
            tails.record(chunk("j", format!("{n:04}").as_bytes()));
        }
        let tail = tails.get("j").unwrap();
        let bytes = tail.bytes(|_| true);
        assert!((100..=150).contains(&bytes.len()), "{}", bytes.len());
        assert!(bytes.ends_with(b"09980999"));
        assert_eq!(tail.omitted + bytes.len() as u64, 4000);
    }

    #[test]
    fn tails_of_many_jobs_stay_small() {
        let mut tails = OutputTails::new(1 << 20);
        let bytes = vec![b'x'; 64 << 10];
        for job in 0..2000 {
            for _ in 0..2 {
                tails.record(chunk(&job.to_string(), &bytes));
            }
        }
        let parts = tails.jobs.values().flat_map(|job| &job.parts);
        let held: usize = parts.map(|part| part.bytes.capacity()).sum();
        assert!(
            (MAX_TOTAL_BYTES..2 * MAX_TOTAL_BYTES).contains(&held),
            "{held}"
        );
        let last = tails.get("1999").unwrap();
        assert_eq!(last.omitted, (128 << 10) - MIN_JOB_BYTES as u64);
    }
}
