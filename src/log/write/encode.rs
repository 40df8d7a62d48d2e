//! Drafts become lines: numbers, ids, time, and the summary of a closed run.

use serde::Serialize;
use serde_json::value::RawValue;
use ulid::Ulid;

use super::append::Close;
use super::run_log::{RunLog, WriterState};
use crate::log::error::{AppendError, DraftError, Refusal};
use crate::log::format::envelope;
use crate::log::format::envelope::{Envelope, MAX_SEQ};
use crate::log::format::event_type::EventType;
use crate::log::format::ulid::ulid_from_ms;
use crate::log::write::draft::Draft;
use crate::volume::parse_ts;

/// A batch as bytes.
pub(crate) struct EncodedBatch {
    pub ts: String,
    pub bytes: Vec<u8>,
    /// Where each line ends in `bytes`.
    pub ends: Vec<usize>,
    /// Whether it is to be written even on a full disk.
    pub essential: bool,
    pub closed: bool,
    pub unfinished: Vec<String>,
}

#[derive(Serialize)]
struct Closed {
    duration_ms: Option<u64>,
    summary: Box<RawValue>,
}

impl RunLog {
    /// Gives numbers, ids and time to the events, and takes them into what we know.
    /// After an error, and if they are not written, all of that has to be forgotten.
    pub(crate) fn encode_batch(
        &self,
        inner: &mut WriterState,
        drafts: &[Draft],
        close: Close,
    ) -> Result<EncodedBatch, AppendError> {
        let mut lines = EncodedBatch {
            ts: inner.clock.now().to_owned(),
            bytes: Vec::new(),
            ends: Vec::new(),
            essential: false,
            closed: false,
            unfinished: Vec::new(),
        };
        for draft in drafts {
            self.encode_line(inner, &mut lines, draft)?;
        }
        if close == Close::No {
            return Ok(lines);
        }
        let state = inner.state.get_or_insert_default();
        lines.unfinished = state
            .unfinished()
            .map(|job| job.job_id.to_string())
            .collect();
        if !lines.unfinished.is_empty() {
            return match close {
                Close::Now => Err(Refusal::Unfinished {
                    run: self.run.clone(),
                    jobs: lines.unfinished,
                }
                .into()),
                _ => Ok(lines),
            };
        }
        state.closed_ts = parse_ts(&lines.ts);
        let closed = Closed {
            duration_ms: state.duration_ms(),
            summary: state.summary().map_err(DraftError::from)?,
        };
        let draft = Draft::new_unchecked(EventType::RunClosed, &self.run, None, &closed)?;
        self.encode_line(inner, &mut lines, &draft)?;
        lines.closed = true;
        Ok(lines)
    }

    fn encode_line(
        &self,
        inner: &mut WriterState,
        lines: &mut EncodedBatch,
        draft: &Draft,
    ) -> Result<(), AppendError> {
        let tail = inner.tail.get_or_insert_default();
        let seq = tail.sequence.next();
        let id = match (tail.last_id.max(inner.last_id), self.first_id) {
            (None, Some(first_id)) => Some(first_id),
            (last_id, _) => next_id(last_id, inner.clock.millisecond()),
        };
        let Some(id) = id.filter(|_| seq < MAX_SEQ) else {
            return Err(Refusal::SequenceExhausted {
                path: self.active_path(),
            }
            .into());
        };
        let start = lines.bytes.len();
        envelope::write_line(&mut lines.bytes, seq, id, &lines.ts, draft.body());
        tail.sequence.push_event(seq);
        tail.last_id = Some(id);
        inner.last_id = Some(id);

        let after_close = draft.kind().may_follow_close() && tail.summary.is_some();
        if inner.state.is_some() || after_close || draft.kind() == EventType::RunClosed {
            let end = lines.bytes.len() - 1;
            let line = lines.bytes.get(start..end).unwrap_or_default();
            let mut has_summary = false;
            if let Ok(env) = Envelope::parse(line) {
                has_summary = tail.record_summary(&env, line);
                if let Some(state) = &mut inner.state {
                    state.apply(&env, line);
                }
            }
            if after_close && !has_summary {
                // The state of a closed run is in its last line, whichever that is.
                let summary = match (&inner.state, tail.summary.take()) {
                    (None, Some(summary)) => summary,
                    (state, _) => state
                        .clone()
                        .unwrap_or_default()
                        .summary()
                        .map_err(DraftError::from)?,
                };
                let body = [draft.body(), b",\"summary\":", summary.get().as_bytes()].concat();
                lines.bytes.truncate(start);
                envelope::write_line(&mut lines.bytes, seq, id, &lines.ts, &body);
                tail.summary = Some(summary);
            }
        }
        lines.ends.push(lines.bytes.len());
        lines.essential |= draft.kind().is_essential();
        Ok(())
    }
}

/// An id above `last` that tells the time, in milliseconds since the epoch, as far as that
/// allows; `None` where there is none.
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
    fn ids_rise_whatever_the_clock_does() {
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
