//! What `runlog rotate` did to a run, or would do, as a JSON line.

use serde::Serialize;

use super::execution::Execution;
use crate::log::{Compressed, NotRotated, PrunedSegment, Sealed};
use crate::volume::RunId;

/// The changes to one run, done or planned.
#[derive(Debug, Serialize)]
pub struct RotateReport {
    /// The run.
    pub run_id: RunId,
    /// Whether the changes were done.
    #[serde(rename = "dry_run")]
    pub execution: Execution,
    /// Whether the active segment was sealed.
    pub rotated: bool,
    /// Why the active segment was not sealed.
    pub why: Option<String>,
    /// The segment that was sealed. In a dry run, only its length is known.
    pub sealed: Option<SealedReport>,
    /// The sealed segments that were compressed.
    pub compressed: Vec<Compressed>,
    /// The sealed segments that were dropped.
    pub dropped: Vec<PrunedSegment>,
    /// Why the active segment was not sealed.
    #[serde(skip)]
    pub not_rotated: Option<NotRotated>,
}

/// A segment that was sealed or would be.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum SealedReport {
    /// The segment was sealed.
    Done(Sealed),
    /// The segment would be sealed.
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

    /// Returns whether the log was left alone because another program writes to it.
    pub fn is_foreign(&self) -> bool {
        self.not_rotated == Some(NotRotated::Foreign)
    }
}
