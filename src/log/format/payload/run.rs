//! The events of a whole run.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::EventPayload;
use crate::log::format::event_type::EventType;
use crate::log::format::trace_context::TraceContext;
use crate::volume::{JobId, RunId};

/// `run_opened`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RunOpened {
    /// The name of the run, for people.
    #[serde(default)]
    pub name: String,
    /// Whether the run stays open for more jobs until the user closes it.
    #[serde(default)]
    pub keep_open: bool,
    /// The name of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The version of runlog that wrote the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runlog: Option<String>,
    /// The boot in which the event was written (`/proc/sys/kernel/random/boot_id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The milliseconds since that boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// The job that started the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<EnclosingJob>,
    /// The span of the run in the caller's trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// The run that this one runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<RunId>,
}

/// A job inside which a run was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnclosingJob {
    /// The run, which may be in another volume.
    pub run_id: RunId,
    /// The job.
    pub job_id: JobId,
}

impl EventPayload for RunOpened {
    const TYPE: EventType = EventType::RunOpened;
}

/// `run_closed`, which only the log itself writes. `S` is the state of the run, as read or
/// written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunClosed<S> {
    /// The time from the first event to the close, in milliseconds.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// The state of the run.
    pub summary: S,
}

impl<S: Serialize> EventPayload for RunClosed<S> {
    const TYPE: EventType = EventType::RunClosed;
}

/// The summary in the last line of a closed run, whatever the type of that line.
#[derive(Debug, Clone, Deserialize)]
pub struct Summarized<S> {
    /// The state of the run.
    pub summary: S,
}

/// `note`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note<'a> {
    /// The subject of the note.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// The user's JSON.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
}

impl EventPayload for Note<'_> {
    const TYPE: EventType = EventType::Note;
}
