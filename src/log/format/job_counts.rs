//! The counts of jobs in a run's log, so that a writer knows them without folding the log.

use serde::{Deserialize, Serialize};

use super::envelope::{TRAILER_LEN, peek_frame, push_number};

/// The key of the counts in a line, where they are the last field before the checksum.
const KEY: &[u8] = b",\"jobs\":";
/// The longest field, with three numbers below 2^53, in bytes.
pub(crate) const MAX_FIELD_BYTES: usize = 96;

/// How many jobs of a run were submitted, ended and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCounts {
    /// The number of jobs that were submitted.
    pub submitted: u64,
    /// The number of jobs that have a terminal event.
    pub ended: u64,
    /// The number of jobs that failed.
    pub failed: u64,
}

/// How an event changes the counts. Each such event carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobStep {
    /// A job is submitted.
    Submit,
    /// A job ends.
    Complete,
    /// A job fails for good.
    Fail,
    /// No job changes, but the event summarizes the run.
    Summarize,
}

impl JobCounts {
    /// Returns the counts after one more step.
    #[must_use]
    pub(crate) fn after(mut self, step: JobStep) -> Self {
        match step {
            JobStep::Submit => self.submitted += 1,
            JobStep::Complete => self.ended += 1,
            JobStep::Fail => {
                self.ended += 1;
                self.failed += 1;
            }
            JobStep::Summarize => {}
        }
        self
    }

    /// Returns whether every job has ended.
    pub fn all_ended(self) -> bool {
        self.ended >= self.submitted
    }

    /// Appends the counts as a field to the body of a line.
    pub(crate) fn push_field(self, body: &mut Vec<u8>) {
        body.extend_from_slice(KEY);
        for (key, count) in [
            (&b"{\"submitted\":"[..], self.submitted),
            (b",\"ended\":", self.ended),
            (b",\"failed\":", self.failed),
        ] {
            body.extend_from_slice(key);
            push_number(body, count);
        }
        body.push(b'}');
    }

    /// Returns the counts in a line whose checksum the caller has to check; `None` if there are
    /// none.
    ///
    /// The field is last, so that a checkpoint of several megabytes need not be parsed.
    pub(crate) fn from_line(line: &[u8]) -> Option<Self> {
        let end = line.len().checked_sub(TRAILER_LEN)?;
        let body = line.get(..end)?;
        let tail = body.get(body.len().saturating_sub(MAX_FIELD_BYTES)..)?;
        let at = memchr::memmem::rfind(tail, KEY)?;
        serde_json::from_slice(tail.get(at + KEY.len()..)?).ok()
    }

    /// Returns whether a line of this type carries the counts. The failure of an attempt that
    /// will be retried does not.
    pub(crate) fn line_has_counts(line: &[u8]) -> bool {
        const TYPES: [&[u8]; 5] = [
            b"job_submitted\"",
            b"job_completed\"",
            b"job_failed\"",
            b"run_closed\"",
            b"log_rotated\"",
        ];
        peek_frame(line).is_some_and(|frame| {
            TYPES.iter().any(|kind| frame.kind.starts_with(kind))
                && memchr::memmem::find(line, b"\"retry_in_ms\":").is_none()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::test_log::written;

    #[test]
    fn counts_survive_a_round_trip() {
        let most = (1 << 53) - 1;
        let counts = JobCounts {
            submitted: most,
            ended: most,
            failed: most,
        };
        let mut body = br#""type":"job_completed","run_id":"r","job_id":"j""#.to_vec();
        let len = body.len();
        counts.push_field(&mut body);
        assert!(body.len() - len <= MAX_FIELD_BYTES);
        let line = written(7, std::str::from_utf8(&body).unwrap());
        let line = line.strip_suffix(b"\n").unwrap();
        assert_eq!(JobCounts::from_line(line), Some(counts));
        assert!(JobCounts::line_has_counts(line));
    }

    #[test]
    fn counts_are_read_only_at_end_of_line() {
        let inner = r#""type":"note","run_id":"r","data":{"a":1,"jobs":{"submitted":1,"ended":1,"failed":1}}"#;
        for body in [inner, r#""type":"note","run_id":"r""#] {
            let line = written(7, body);
            let line = line.strip_suffix(b"\n").unwrap();
            assert_eq!(JobCounts::from_line(line), None, "{body}");
        }
        assert_eq!(JobCounts::from_line(b"short"), None);
    }

    #[test]
    fn failed_attempt_carries_no_counts() {
        let body = r#""type":"job_failed","run_id":"r","job_id":"j","retry_in_ms":5"#;
        let line = written(7, body);
        assert!(!JobCounts::line_has_counts(
            line.strip_suffix(b"\n").unwrap()
        ));
    }
}
