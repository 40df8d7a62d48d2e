//! A line that a search found.

use std::borrow::Cow;

use base64::Engine as _;
use jiff::Timestamp;
use serde::Serialize;

use crate::job::{FoundLine, LineKind};
use crate::volume::{JobId, RunId, rfc3339};

/// A line of `tail --grep --json`.
#[derive(Debug, Serialize)]
pub struct FoundRecord<'a> {
    run_id: &'a RunId,
    job_id: Option<&'a JobId>,
    stream: Option<&'static str>,
    #[serde(with = "rfc3339::option")]
    ts: Option<Timestamp>,
    file: &'a str,
    offset: u64,
    line: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<bool>,
}

impl<'a> FoundRecord<'a> {
    /// Creates the record for a line of a run.
    pub fn new(run: &'a RunId, found: &'a FoundLine<'_>) -> Self {
        let line = String::from_utf8_lossy(found.bytes);
        let encode = |bytes| base64::engine::general_purpose::STANDARD.encode(bytes);
        Self {
            run_id: run,
            job_id: found.origin.job.as_ref(),
            stream: found.origin.stream,
            ts: found.origin.ts,
            file: &found.origin.file,
            offset: found.origin.offset,
            line_b64: std::str::from_utf8(found.bytes)
                .is_err()
                .then(|| encode(found.bytes)),
            line,
            context: (found.kind == LineKind::Context).then_some(true),
        }
    }
}
