//! Events that can no longer be shown, as a JSON line.

use jiff::Timestamp;
use serde::Serialize;

use crate::log::Gap;
use crate::volume::{RunId, now_ts, rfc3339};

/// A range of missing events of a run.
#[derive(Debug, Serialize)]
pub struct GapReport<'a> {
    /// The type `gap`, which distinguishes the line from an event.
    #[serde(rename = "type")]
    kind: &'static str,
    /// When the gap was found.
    #[serde(with = "rfc3339")]
    pub ts: Timestamp,
    /// The run.
    run_id: &'a RunId,
    /// The sequence number of the first missing event, if known.
    from_seq: Option<u64>,
    /// The sequence number of the last missing event, if known.
    to_seq: Option<u64>,
    /// Why the events are missing: `dropped`, `changed` or `removed`.
    reason: &'static str,
    /// A description for people.
    pub message: String,
}

impl<'a> GapReport<'a> {
    /// Creates a report of a gap that was found just now.
    pub fn new(run: &'a RunId, gap: &Gap) -> Self {
        Self {
            kind: "gap",
            ts: now_ts(),
            run_id: run,
            from_seq: gap.from_seq,
            to_seq: gap.to_seq,
            reason: gap.why.as_str(),
            message: gap.to_string(),
        }
    }
}
