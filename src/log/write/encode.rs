//! Encoding a batch: sequence numbers, ids, times, and the summary of a closed run.

use std::path::Path;

use ulid::Ulid;

use super::batch::Close;
use super::draft::Draft;
use super::tail::Tail;
use crate::log::error::{AppendError, DraftError, Refusal};
use crate::log::format::envelope;
use crate::log::format::envelope::{Envelope, MAX_SEQ};
use crate::log::format::event_type::{EventType, SpaceClaim};
use crate::log::format::payload::RunClosed;
use crate::log::format::ulid::ulid_from_ms;
use crate::log::state::run_state::RunState;
use crate::volume::{RunId, parse_ts};

/// A batch as bytes.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    /// The lines.
    pub bytes: Vec<u8>,
    /// The end of each line in `bytes`.
    pub ends: Vec<usize>,
    /// Which preallocated space the batch may use on a full disk.
    pub space: SpaceClaim,
    /// Whether the batch closes the run.
    pub closed: bool,
    /// The jobs that keep the run open.
    pub unfinished: Vec<String>,
    /// Whether damage that may hide events keeps the run open.
    pub uncertain: bool,
}

/// An encoder of events after the known end of a log.
pub(crate) struct Encoder<'a> {
    /// The run.
    pub run: &'a RunId,
    /// The path of the active segment, for messages.
    pub path: &'a Path,
    /// The id of the first event if the log is empty.
    pub first_id: Option<Ulid>,
    /// The end of the log.
    pub tail: &'a mut Tail,
    /// The state of the run, if it is known.
    pub state: &'a mut Option<RunState>,
    /// Whether damage hides events from `state`.
    pub is_uncertain: bool,
    /// The highest id that this writer assigned.
    pub last_id: &'a mut Option<Ulid>,
    /// The time in milliseconds since the epoch.
    pub millisecond: u64,
}

impl Encoder<'_> {
    /// Assigns sequence numbers, ids and the time `ts` to the events, and advances the known end
    /// of the log.
    ///
    /// # Errors
    /// The batch is rejected.
    pub(crate) fn encode(
        mut self,
        ts: &str,
        drafts: &[Draft],
        close: Close,
    ) -> Result<EncodedBatch, AppendError> {
        let mut batch = EncodedBatch {
            bytes: Vec::new(),
            ends: Vec::new(),
            space: SpaceClaim::Ordinary,
            closed: false,
            unfinished: Vec::new(),
            uncertain: false,
        };
        for draft in drafts {
            self.encode_line(&mut batch, ts, draft)?;
        }
        if close != Close::No {
            self.encode_close(&mut batch, ts, close)?;
        }
        Ok(batch)
    }

    fn encode_close(
        &mut self,
        batch: &mut EncodedBatch,
        ts: &str,
        close: Close,
    ) -> Result<(), AppendError> {
        let state = self.state.get_or_insert_default();
        let jobs: Vec<String> = state
            .unfinished()
            .map(|job| job.job_id.to_string())
            .collect();
        if !jobs.is_empty() {
            if close == Close::Now {
                let run = self.run.clone();
                return Err(Refusal::Unfinished { run, jobs }.into());
            }
            batch.unfinished = jobs;
            return Ok(());
        }
        if close == Close::IfCertain && self.is_uncertain {
            batch.uncertain = true;
            return Ok(());
        }
        state.close(parse_ts(ts));
        let payload = RunClosed {
            duration_ms: state.duration_ms(),
            summary: state.summary().map_err(DraftError::from)?,
        };
        let draft = Draft::reserved(self.run, &payload)?;
        self.encode_line(batch, ts, &draft)?;
        batch.closed = true;
        Ok(())
    }

    fn encode_line(
        &mut self,
        batch: &mut EncodedBatch,
        ts: &str,
        draft: &Draft,
    ) -> Result<(), AppendError> {
        let tail = &mut *self.tail;
        let seq = tail.sequence.next();
        let id = match (tail.last_id.max(*self.last_id), self.first_id) {
            (None, Some(first_id)) => Some(first_id),
            (last_id, _) => next_id(last_id, self.millisecond),
        };
        let Some(id) = id.filter(|_| seq < MAX_SEQ) else {
            let path = self.path.to_owned();
            return Err(Refusal::SequenceExhausted { path }.into());
        };
        let start = batch.bytes.len();
        envelope::write_line(&mut batch.bytes, seq, id, ts, draft.body());
        tail.sequence.push_event(seq);
        tail.last_id = Some(id);
        tail.started |= draft.kind() != EventType::LogRepaired;
        *self.last_id = Some(id);

        let after_close = draft.kind().may_follow_close() && tail.summary.is_some();
        // The fields of the line in addition to its payload.
        let mut fields = Vec::new();
        if self.state.is_some() || after_close || draft.kind() == EventType::RunClosed {
            let end = batch.bytes.len() - 1;
            let line = batch.bytes.get(start..end).unwrap_or_default();
            let mut has_summary = false;
            if let Ok(env) = Envelope::parse(line) {
                has_summary = tail.record_summary(&env, line);
                if let Some(state) = self.state {
                    state.apply(&env, line);
                }
            }
            if after_close && !has_summary {
                // The last line of a closed run has its state, whatever its type.
                let summary = match (&*self.state, tail.summary.take()) {
                    (None, Some(summary)) => summary,
                    (state, _) => state
                        .clone()
                        .unwrap_or_default()
                        .summary()
                        .map_err(DraftError::from)?,
                };
                fields.extend_from_slice(b",\"summary\":");
                fields.extend_from_slice(summary.get().as_bytes());
                tail.summary = Some(summary);
            }
        }
        if let Some(step) = draft.step() {
            let counts = match &*self.state {
                Some(state) => state.job_counts(),
                None => tail.jobs.unwrap_or_default().after(step),
            };
            counts.push_field(&mut fields);
            tail.jobs = Some(counts);
        }
        if !fields.is_empty() {
            batch.bytes.truncate(start);
            let body = [draft.body(), &fields].concat();
            envelope::write_line(&mut batch.bytes, seq, id, ts, &body);
        }
        batch.ends.push(batch.bytes.len());
        batch.space = batch.space.max(draft.space());
        Ok(())
    }
}

/// Returns an id greater than `last` that encodes the time, in milliseconds since the epoch, if
/// possible; `None` if there is no greater id.
fn next_id(last: Option<Ulid>, now_ms: u64) -> Option<Ulid> {
    match last {
        Some(last) if now_ms <= last.timestamp_ms() => last.increment().ok().or_else(|| {
            let next_ms = last.timestamp_ms() + 1;
            (next_ms < 1 << 48).then(|| Ulid::from_parts(next_ms, 0))
        }),
        _ => Some(ulid_from_ms(now_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_when_clock_is_set_back() {
        let full = |ms| Ulid::from_parts(ms, u128::MAX);
        let future = 1 << 45;
        for last in [
            Ulid::nil(),
            full(7),
            Ulid::from_parts(future, 5),
            full(future),
        ] {
            assert!(next_id(Some(last), 7) > Some(last), "{last}");
        }
        assert_eq!(next_id(Some(Ulid::max()), 7), None);
        assert_eq!(
            next_id(Some(full(6)), 7).map(|id| id.timestamp_ms()),
            Some(7)
        );
    }
}
