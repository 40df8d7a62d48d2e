//! The end of a segment, which a writer must know before it appends.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde_json::value::RawValue;
use ulid::Ulid;

use crate::log::error::StorageError;
use crate::log::format::classify::LineClass;
use crate::log::format::envelope::{DamageReason, Envelope, peek_frame};
use crate::log::format::event_type::EventType;
use crate::log::format::job_counts::JobCounts;
use crate::log::format::payload::{Summarized, parse_payload};
use crate::log::interop::foreign::apply_foreign;
use crate::log::segment::line_reader::{FileSpan, LineReader, RawLine, classify_raw};
use crate::log::segment::rev_line_reader::RevLineReader;
use crate::log::segment::segment_file::Segment;
use crate::log::segment::sequence::{Sequence, SequenceStep, TAIL_CHECK_BYTES};
use crate::log::state::run_state::RunState;
use crate::volume::{IoContext, VolumeError};

/// The end of a segment, after its last whole line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    /// The sequence numbers so far.
    pub sequence: Sequence,
    /// The highest id so far.
    pub last_id: Option<Ulid>,
    /// The summary of a closed run.
    pub summary: Option<Box<RawValue>>,
    /// Whether another program wrote a line.
    pub foreign: bool,
    /// The number of repairs so far.
    pub repairs: u64,
    /// The number of damaged lines so far.
    pub damaged: u64,
    /// The end of the last whole line, in bytes.
    pub end: u64,
    /// Whether there is an event other than the record of a repair.
    pub started: bool,
    /// The counts of jobs; `None` if the lines that were read do not show them.
    pub jobs: Option<JobCounts>,
}

/// How to read a last line without `\n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TailMode {
    /// As a fragment, which the next writer repairs.
    Open,
    /// As a line like any other: nothing is appended to a sealed segment.
    Sealed,
}

impl Tail {
    /// Returns the end of a log without events.
    pub(crate) fn empty() -> Self {
        Self {
            jobs: Some(JobCounts::default()),
            ..Self::default()
        }
    }

    /// Advances over the whole lines up to `len`. Returns whether the events were consecutive.
    ///
    /// # Errors
    /// The segment cannot be read, or a newer version wrote to it.
    pub(crate) fn advance(
        &mut self,
        file: &Arc<File>,
        len: u64,
        path: &Path,
        state: Option<&mut RunState>,
    ) -> Result<bool, StorageError> {
        let lines = LineReader::from_span(FileSpan::new(Arc::clone(file), self.end, len));
        self.advance_over(lines, path, TailMode::Open, state)
    }

    /// Returns whether only other programs wrote lines.
    pub(crate) fn only_foreign(&self) -> bool {
        self.foreign && self.sequence.last().is_none()
    }

    /// Advances over the lines of a stream; see [`Tail::advance`].
    pub(crate) fn advance_over(
        &mut self,
        mut lines: LineReader<impl Read>,
        path: &Path,
        mode: TailMode,
        mut state: Option<&mut RunState>,
    ) -> Result<bool, StorageError> {
        let mut in_order = true;
        while let Some(line) = lines.next_line().at("read", path)? {
            if !line.whole && mode == TailMode::Open {
                break;
            }
            in_order &= self.apply_line(&line, path, state.as_deref_mut())?;
        }
        Ok(in_order)
    }

    /// Applies one whole line; returns whether its number is the next one.
    fn apply_line(
        &mut self,
        line: &RawLine<'_>,
        path: &Path,
        state: Option<&mut RunState>,
    ) -> Result<bool, StorageError> {
        self.end = line.end();
        match classify_raw(line) {
            LineClass::Ours(env) => {
                let step = self.sequence.push_event(env.seq);
                if step != SequenceStep::Repeated {
                    self.last_id = self.last_id.max(env.ulid());
                    self.record_summary(&env, line.bytes);
                    self.repairs += u64::from(env.kind == EventType::LogRepaired);
                    self.started |= env.kind != EventType::LogRepaired;
                    if JobCounts::line_has_counts(line.bytes) {
                        self.jobs = JobCounts::from_line(line.bytes);
                    }
                    if let Some(state) = state {
                        state.apply(&env, line.bytes);
                    }
                }
                Ok(step == SequenceStep::Next)
            }
            LineClass::Foreign(_) => {
                self.foreign = true;
                self.started = true;
                if let Some(state) = state {
                    apply_foreign(state, line.bytes);
                }
                Ok(true)
            }
            LineClass::Damage(DamageReason::Version) => Err(StorageError::NewerFormat {
                path: path.to_owned(),
            }),
            LineClass::Damage(_) => {
                self.sequence.push_damage();
                self.damaged += 1;
                // It may have been an event of a job.
                self.jobs = None;
                Ok(true)
            }
        }
    }

    /// Finds the end of a segment that no process writes to any longer.
    ///
    /// # Errors
    /// The segment cannot be read, or a newer version wrote to it.
    pub(crate) fn of_segment(segment: &Segment) -> Result<Self, StorageError> {
        let before = || {
            Ok(Self {
                sequence: Sequence::before(segment.first_seq.unwrap_or(0)),
                ..Self::default()
            })
        };
        let (path, mode) = (&segment.path, TailMode::Sealed);
        let opened = segment.open()?;
        if !opened.compressed {
            return Self::find(&opened.file, opened.len, path, mode, before);
        }
        let mut tail = before()?;
        match tail.advance_over(opened.lines(), path, mode, None) {
            // Data that cannot be decompressed counts as one damaged line.
            Err(StorageError::Volume(VolumeError::Io { .. })) => tail.sequence.push_damage(),
            advanced => drop(advanced?),
        }
        Ok(tail)
    }

    /// Finds the end of a segment of `len` bytes from its last lines, or from all of them if the
    /// last ones are not consecutive: a copied line must not lead to a reused sequence number.
    /// `before` returns the end of the segments before this one.
    ///
    /// # Errors
    /// The segment cannot be read, or a newer version wrote to it.
    pub(crate) fn find(
        file: &Arc<File>,
        len: u64,
        path: &Path,
        mode: TailMode,
        before: impl FnOnce() -> Result<Self, StorageError>,
    ) -> Result<Self, StorageError> {
        match Self::from_last_lines(file, len, path, mode, u64::MAX)? {
            Some(tail) => Ok(tail),
            None => Self::from_all_lines(file, len, path, mode, before()?),
        }
    }

    /// Finds the end of a segment from all its lines. `before` is the end of the earlier
    /// segments.
    ///
    /// # Errors
    /// The segment cannot be read, or a newer version wrote to it.
    pub(crate) fn from_all_lines(
        file: &Arc<File>,
        len: u64,
        path: &Path,
        mode: TailMode,
        before: Self,
    ) -> Result<Self, StorageError> {
        let mut tail = Self { end: 0, ..before };
        let lines = LineReader::from_span(FileSpan::new(Arc::clone(file), 0, len));
        tail.advance_over(lines, path, mode, None)?;
        Ok(tail)
    }

    /// Finds the end from the last lines; returns `None` if they are not enough, or are longer
    /// than `limit` bytes.
    ///
    /// # Errors
    /// The segment cannot be read, or a newer version wrote to it.
    pub(crate) fn from_last_lines(
        file: &File,
        len: u64,
        path: &Path,
        mode: TailMode,
        limit: u64,
    ) -> Result<Option<Self>, StorageError> {
        let mut back = RevLineReader::new(file, len);
        let mut tail = Self::default();
        // The valid line after the current one, and the number of damaged ones in between.
        let mut after: Option<(u64, Option<Ulid>)> = None;
        let mut damaged = 0;
        while let Some(line) = back.prev_line().at("read", path)? {
            if !line.whole && mode == TailMode::Open {
                continue;
            }
            tail.end = tail.end.max(line.end());
            if len - line.offset > limit {
                return Ok(None);
            }
            // A line in order needs no checksum: the last id is the highest.
            if let Some((seq, id)) = &mut after
                && let Some(frame) = peek_frame(line.bytes)
                && frame.seq.checked_add(1) == Some(*seq)
                && frame.ulid().is_some_and(|this| Some(this) < *id)
            {
                *seq = frame.seq;
                damaged = 0;
                tail.started |= !frame.kind.starts_with(b"log_repaired\"");
                if len - line.offset >= TAIL_CHECK_BYTES && tail.started {
                    break;
                }
                continue;
            }
            match classify_raw(&line) {
                LineClass::Ours(env) => {
                    let this = (env.seq, env.ulid());
                    if let Some((seq, id)) = after {
                        let follows = this.0 < seq && seq <= this.0 + 1 + damaged;
                        // The allocation of ids hides a clock that was set back, but not a copy.
                        if !follows || this.1 >= id {
                            return Ok(None);
                        }
                        if len - line.offset >= TAIL_CHECK_BYTES && tail.started {
                            break;
                        }
                    } else {
                        tail.sequence = Sequence::resumed(env.seq + 1, damaged);
                        tail.last_id = this.1;
                        tail.record_summary(&env, line.bytes);
                    }
                    tail.started |= env.kind != EventType::LogRepaired;
                    after = Some(this);
                    damaged = 0;
                }
                LineClass::Foreign(_) => {
                    tail.foreign = true;
                    tail.started = true;
                }
                LineClass::Damage(DamageReason::Version) => {
                    return Err(StorageError::NewerFormat {
                        path: path.to_owned(),
                    });
                }
                LineClass::Damage(_) => damaged += 1,
            }
        }
        Ok(after.map(|_| tail))
    }

    /// Searches the first `len` bytes of a segment backward for the counts of jobs; returns
    /// `None` if a damaged line may have changed them, or if the segment does not contain them.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(crate) fn find_job_counts(
        file: &File,
        len: u64,
        path: &Path,
    ) -> Result<Option<JobCounts>, StorageError> {
        let mut back = RevLineReader::new(file, len);
        while let Some(line) = back.prev_line().at("read", path)? {
            let LineClass::Ours(env) = classify_raw(&line) else {
                return Ok(None);
            };
            if JobCounts::line_has_counts(line.bytes) {
                return Ok(JobCounts::from_line(line.bytes));
            }
            if env.seq == 0 && line.offset == 0 {
                return Ok(Some(JobCounts::default()));
            }
        }
        Ok(None)
    }

    /// Records the summary that a line carries; returns whether it carries one.
    pub(crate) fn record_summary(&mut self, env: &Envelope<'_>, line: &[u8]) -> bool {
        let may_carry = |kind: EventType| kind == EventType::RunClosed || kind.may_follow_close();
        if env.kind.known().is_some_and(may_carry)
            && let Some(Summarized { summary }) = parse_payload(line)
        {
            self.summary = Some(summary);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::log::test_log::{PLAIN, written};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn tail_scan_matches_full_scan(
            count in 1_u64..12,
            copied in prop::option::weighted(0.2, (any::<prop::sample::Index>(), 0_u64..4)),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut seqs: Vec<u64> = (0..count).collect();
            if let Some((at, more)) = copied {
                let first = at.index(count as usize) as u64;
                seqs.extend((first..count).take(more as usize));
            }
            let mut bytes: Vec<u8> = seqs.into_iter().flat_map(|seq| written(seq, PLAIN)).collect();
            for (at, with) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= with;
            }
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let (file, len) = (Arc::new(file), bytes.len() as u64);
            let path = Path::new("x");
            let mut all = Tail::default();
            let read = all.advance(&file, len, path, None);
            if let Ok(Some(last)) = Tail::from_last_lines(&file, len, path, TailMode::Open, u64::MAX) {
                prop_assert!(read.is_ok());
                let of = |tail: &Tail| (tail.sequence.next(), tail.last_id, tail.end);
                prop_assert_eq!(of(&last), of(&all), "{}", bytes.escape_ascii());
            }
        }
    }
}
