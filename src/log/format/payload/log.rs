//! The events that only the log itself writes.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventPayload, parse_payload};
use crate::log::format::event_type::EventType;
use crate::volume::rfc3339;

/// `log_rotated`, a checkpoint. `S` is the state of the run, or the part of it that is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogRotated<S> {
    /// The segment before this one.
    pub sealed: Sealed,
    /// The state of the run after the last sealed event.
    pub state: S,
}

impl<S: Serialize> EventPayload for LogRotated<S> {
    const TYPE: EventType = EventType::LogRotated;
}

/// The sealed segment that a `log_rotated` event describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The name of the segment in the run's directory, before compression.
    pub file: String,
    /// The sequence number of the first event in it.
    pub first_seq: u64,
    /// The sequence number of the last event in it.
    pub last_seq: Option<u64>,
    /// When the last event in it was written.
    #[serde(
        default,
        with = "rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_ts: Option<Timestamp>,
    /// The length in bytes, before compression.
    pub bytes: u64,
    /// The CRC-32C of the segment before compression, as 8 lowercase hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32c: Option<String>,
}

/// `log_repaired`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogRepaired<'a> {
    /// The segment.
    pub file: Cow<'a, str>,
    /// The offset of the fragment, in bytes.
    pub offset: u64,
    /// The length of the fragment, in bytes.
    pub bytes: u64,
    /// How the fragment was handled.
    pub action: RepairAction,
    /// The path of the copy, relative to the run's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,
    /// The first sequence number that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_first_seq: Option<u64>,
    /// The last sequence number that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_last_seq: Option<u64>,
}

impl EventPayload for LogRepaired<'_> {
    const TYPE: EventType = EventType::LogRepaired;
}

/// How a torn end was repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RepairAction {
    /// The fragment was moved to the quarantine.
    Cut,
    /// The fragment remains as one damaged line.
    Ended,
    /// Events are missing, and the sequence numbers continue after them.
    Continued,
    /// The whole segment was removed or emptied, so there is no fragment, but events may be
    /// missing.
    Missing,
    /// There is no fragment: damage in the sealed segment hides events from the checkpoint
    /// before this event.
    Hidden,
}

/// Returns whether a `log_repaired` records that events before it may be missing.
pub(crate) fn records_loss(line: &[u8]) -> bool {
    parse_payload::<LogRepaired<'_>>(line)
        .is_some_and(|e| matches!(e.action, RepairAction::Missing | RepairAction::Hidden))
}
