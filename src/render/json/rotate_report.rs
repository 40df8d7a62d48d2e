//! What `runlog rotate` did to a run, or would do, as a line of JSON.

use serde::Serialize;

use super::execution::Execution;
use crate::log::{Compressed, NotRotated, PrunedSegment, Sealed};
use crate::volume::RunId;

/// What was done to one run, or would be.
#[derive(Debug, Serialize)]
pub struct RotateReport {
    /// The run.
    pub run_id: RunId,
    /// Whether nothing was done.
    #[serde(rename = "dry_run")]
    pub execution: Execution,
    /// Whether the active segment was sealed.
    pub rotated: bool,
    /// Why it was not sealed.
    pub why: Option<String>,
    /// The segment that was sealed; in a dry run only its length is known.
    pub sealed: Option<SealedReport>,
    /// The sealed segments that were compressed.
    pub compressed: Vec<Compressed>,
    /// The sealed segments that were dropped.
    pub dropped: Vec<PrunedSegment>,
    /// Why the active segment was not sealed.
    #[serde(skip)]
    pub not_rotated: Option<NotRotated>,
}

/// A segment that was sealed, or would be.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum SealedReport {
    /// It was sealed.
    Done(Sealed),
    /// It would be sealed.
    Would {
        /// The length in bytes.
        bytes: u64,
    },
}

impl RotateReport {
    /// Creates a report from the outcome for the active segment.
    pub fn new(
        run_id: RunId,
        execution: Execution,
        rotated: Result<SealedReport, NotRotated>,
    ) -> Self {
        Self {
            run_id,
            execution,
            rotated: rotated.is_ok(),
            why: rotated.as_ref().err().map(ToString::to_string),
            not_rotated: rotated.as_ref().err().copied(),
            sealed: rotated.ok(),
            compressed: Vec::new(),
            dropped: Vec::new(),
        }
    }

    /// Reports whether the log was left alone because another program writes to it.
    pub fn is_foreign(&self) -> bool {
        self.not_rotated == Some(NotRotated::Foreign)
    }
}
