//! An event that is not in the log yet.

use serde::Serialize;

use crate::log::error::DraftError;
use crate::log::format::event_type::{EventType, SpaceClaim};
use crate::log::format::job_counts::{JobStep, MAX_FIELD_BYTES};
use crate::log::format::limits::{MAX_LINE_BYTES, MAX_READ_LINE_BYTES};
use crate::log::format::payload::{EventPayload, JobEnded, Note};
use crate::log::format::{envelope, note_data};
use crate::volume::{JobId, RunId};

/// An event without `seq`, `id` and `ts`.
#[derive(Debug, Clone)]
pub struct Draft {
    kind: EventType,
    body: Vec<u8>,
    step: Option<JobStep>,
}

impl Draft {
    /// Creates an event of `run` from its payload. The fields of the payload follow `type`,
    /// `run_id` and `job_id`.
    ///
    /// # Errors
    /// The payload is not a JSON object, its line would exceed the limit, or only the log itself
    /// writes events of this type.
    pub fn new<P: EventPayload>(
        run: &RunId,
        job: Option<&JobId>,
        payload: &P,
    ) -> Result<Self, DraftError> {
        use EventType::{LogRepaired, LogRotated, RunClosed};
        let kind = P::TYPE;
        if matches!(kind, LogRepaired | LogRotated | RunClosed) {
            return Err(DraftError::Reserved { kind });
        }
        Self::with_type(kind, run, job, payload)
    }

    /// Creates a `note` about `name`, with any data that can be serialized as JSON.
    ///
    /// # Errors
    /// The name or the data contains a NUL, the data is nested more than 100 levels deep or
    /// cannot be serialized, or the line would exceed the limit.
    pub fn note(
        run: &RunId,
        job: Option<&JobId>,
        name: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<Self, DraftError> {
        let checked = |json: String| note_data::compact(&json, MAX_LINE_BYTES, None);
        checked(serde_json::to_string(name)?)?;
        let data = checked(serde_json::to_string(data)?)?;
        let note = Note {
            name: name.into(),
            data: Some(&*data),
        };
        Self::new(run, job, &note)
    }

    /// Creates an event of `run` that only the log itself writes.
    ///
    /// # Errors
    /// The payload is not a JSON object, or its line would exceed the limit.
    pub(crate) fn reserved<P: EventPayload>(run: &RunId, payload: &P) -> Result<Self, DraftError> {
        Self::with_type(P::TYPE, run, None, payload)
    }

    /// Creates an event of `run` from any object, such as a payload that was masked.
    ///
    /// # Errors
    /// The payload is not a JSON object, or its line would exceed the limit.
    pub(crate) fn with_type(
        kind: EventType,
        run: &RunId,
        job: Option<&JobId>,
        payload: &impl Serialize,
    ) -> Result<Self, DraftError> {
        // The type and the ids contain no characters to escape.
        let mut body = Vec::with_capacity(512);
        let mut push = |text: &str| body.extend_from_slice(text.as_bytes());
        push("\"type\":\"");
        push(kind.as_str());
        push("\",\"run_id\":\"");
        push(run.as_str());
        push("\"");
        if let Some(job) = job {
            push(",\"job_id\":\"");
            push(job.as_str());
            push("\"");
        }
        let start = body.len();
        serde_json::to_writer(&mut body, payload)?;
        let step = job_step(kind, body.get(start..).unwrap_or_default())?;
        // `{…}` becomes `,…`, and an empty object becomes nothing.
        body.pop();
        match body.get_mut(start) {
            Some(brace) => *brace = b',',
            None => body.truncate(start),
        }
        if body.len() == start + 1 {
            body.truncate(start);
        }
        let limit = match kind {
            EventType::LogRotated => MAX_READ_LINE_BYTES,
            _ => MAX_LINE_BYTES,
        };
        let counts = step.map_or(0, |_| MAX_FIELD_BYTES);
        let bytes = body.len() + counts + envelope::FRAME_LEN;
        if bytes > limit {
            return Err(DraftError::TooLong { bytes, limit });
        }
        Ok(Self { kind, body, step })
    }

    /// Returns the type of the event.
    pub fn kind(&self) -> EventType {
        self.kind
    }

    /// Returns which preallocated space the event may use on a full disk.
    pub(crate) fn space(&self) -> SpaceClaim {
        match self.kind {
            // The attempt will be retried.
            EventType::JobFailed if self.step.is_none() => SpaceClaim::Supporting,
            kind => kind.space(),
        }
    }

    /// Returns the bytes between `ts` and `crc` of the line.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns how the event changes the counts of jobs, which its line then carries.
    pub(crate) fn step(&self) -> Option<JobStep> {
        self.step
    }
}

fn job_step(kind: EventType, payload: &[u8]) -> Result<Option<JobStep>, serde_json::Error> {
    Ok(match kind {
        EventType::JobSubmitted => Some(JobStep::Submit),
        EventType::JobCompleted => Some(JobStep::Complete),
        EventType::JobFailed => {
            let ended: JobEnded = serde_json::from_slice(payload)?;
            ended.retry_in_ms.is_none().then_some(JobStep::Fail)
        }
        EventType::RunClosed | EventType::LogRotated => Some(JobStep::Summarize),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::format::payload::RunClosed;

    #[test]
    fn drafts_are_parts_of_an_object() {
        let run: RunId = "r".parse().unwrap();
        let job: JobId = "j".parse().unwrap();
        let empty = serde_json::json!({});
        let draft = Draft::with_type(EventType::Note, &run, None, &empty).unwrap();
        assert_eq!(draft.body, br#""type":"note","run_id":"r""#);
        let named = |name: &str| Note {
            name: name.to_owned().into(),
            data: None,
        };
        let draft = Draft::new(&run, Some(&job), &named("x")).unwrap();
        assert_eq!(
            draft.body,
            br#""type":"note","run_id":"r","job_id":"j","name":"x""#
        );
        assert!(matches!(
            Draft::new(&run, None, &named(&"x".repeat(MAX_LINE_BYTES))),
            Err(DraftError::TooLong { .. })
        ));
    }

    #[test]
    fn note_data_is_readable_by_every_reader() {
        let run: RunId = "r".parse().unwrap();
        let note = |name: &str, data| Draft::note(&run, None, name, &data);
        let draft = note("x", serde_json::json!({"a": [1, " "]})).unwrap();
        assert_eq!(
            draft.body,
            br#""type":"note","run_id":"r","name":"x","data":{"a":[1," "]}"#
        );
        let nul = serde_json::json!("\0");
        assert!(matches!(note("x", nul), Err(DraftError::Data(_))));
        let null = serde_json::Value::Null;
        assert!(matches!(note("\0", null), Err(DraftError::Data(_))));
        let long = serde_json::json!("x".repeat(MAX_LINE_BYTES - 40));
        assert!(matches!(note("x", long), Err(DraftError::TooLong { .. })));
    }

    #[test]
    fn events_of_the_log_are_not_drafts() {
        let run: RunId = "r".parse().unwrap();
        let summary = serde_json::json!({});
        let closed = RunClosed {
            duration_ms: None,
            summary,
        };
        let refused = Draft::new(&run, None, &closed).unwrap_err();
        assert!(matches!(refused, DraftError::Reserved { .. }));
        assert!(Draft::reserved(&run, &closed).is_ok());
    }
}
