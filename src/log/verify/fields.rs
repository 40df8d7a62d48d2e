//! The check of an event's fields against its type.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::log::format::event_type::EventType;
use crate::log::format::payload::{
    HookEnded, JobEnded, JobRerun, JobStarted, JobSubmitted, Output, RollbackStarted, RunOpened,
    Sealed, parse_payload,
};
use crate::volume::JobId;

/// The fields that verification uses.
#[derive(Deserialize)]
pub(crate) struct Fields<'a> {
    pub run_id: String,
    pub job_id: Option<JobId>,
    pub attempt: Option<u32>,
    pub sealed: Option<Sealed>,
    pub output: Option<Output>,
    #[serde(borrow)]
    pub state: Option<&'a RawValue>,
    #[serde(borrow)]
    pub summary: Option<&'a RawValue>,
}

/// The fields of an event with a type that this version does not know.
#[derive(Deserialize)]
struct RunFields {
    run_id: String,
}

/// Returns the fields of a line; `None` if they do not match its type.
pub(crate) fn fields_of(kind: Option<EventType>, line: &[u8]) -> Option<Fields<'_>> {
    let Some(kind) = kind else {
        let RunFields { run_id } = parse_payload(line)?;
        return Some(Fields {
            run_id,
            job_id: None,
            attempt: None,
            sealed: None,
            output: None,
            state: None,
            summary: None,
        });
    };
    let fields: Fields<'_> = parse_payload(line)?;
    let is_of_job = kind.as_str().starts_with("job_");
    let complete = match kind {
        EventType::LogRotated => fields.sealed.is_some() && fields.state.is_some(),
        EventType::RunClosed => fields.summary.is_some(),
        _ => !is_of_job || fields.job_id.is_some(),
    };
    (complete && fields_fit(kind, line)).then_some(fields)
}

/// Returns whether a line has the fields that its type requires.
fn fields_fit(kind: EventType, line: &[u8]) -> bool {
    match kind {
        EventType::RunOpened => fits::<RunOpened>(line),
        EventType::JobSubmitted => fits::<JobSubmitted>(line),
        EventType::JobStarted => fits::<JobStarted>(line),
        EventType::JobCompleted | EventType::JobRolledBack => fits::<JobEnded>(line),
        EventType::JobFailed => {
            parse_payload::<JobEnded>(line).is_some_and(|ended| ended.error.is_some())
        }
        EventType::JobRollbackStarted => fits::<RollbackStarted>(line),
        EventType::HookEnded => fits::<HookEnded>(line),
        EventType::JobRerun => fits::<JobRerun>(line),
        _ => fits::<IgnoredAny>(line),
    }
}

fn fits<T: for<'de> Deserialize<'de>>(line: &[u8]) -> bool {
    parse_payload::<T>(line).is_some()
}
