//! A batch of events, the view that it is created from, and its result.

use std::path::PathBuf;

use super::draft::Draft;

/// A locked log before a batch is written to it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LogView {
    /// Whether the log has no event yet, except for repairs. The batch must then open the run.
    pub is_new: bool,
    /// Whether the run is closed.
    pub is_closed: bool,
    /// Whether damage hides events from the state of the run. It is known only to a batch that
    /// depends on the state.
    pub is_uncertain: bool,
}

/// Whether a batch ends with `run_closed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The batch leaves the run open.
    No,
    /// The batch closes the run, and is rejected if a job has not ended.
    Now,
    /// The batch closes the run unless a job has not ended.
    IfAllEnded,
    /// The batch closes the run unless a job has not ended, or damage may hide one.
    IfCertain,
}

/// Events that are appended together, in one write.
#[derive(Debug)]
pub struct Batch {
    /// The events, in order.
    pub drafts: Vec<Draft>,
    /// Whether `run_closed` follows them.
    pub close: Close,
}

impl Batch {
    /// Creates a batch without events.
    pub fn only(close: Close) -> Self {
        let drafts = Vec::new();
        Self { drafts, close }
    }
}

/// The result of an append.
#[derive(Debug)]
#[non_exhaustive]
pub struct Appended {
    /// The lines as they are in the log, after the record of a repair, if any.
    pub bytes: Vec<u8>,
    /// Whether the run is now closed.
    pub closed: bool,
    /// The jobs that kept the run open.
    pub unfinished: Vec<String>,
    /// Whether damage that may hide events kept the run open.
    pub uncertain: bool,
    /// Acknowledged events of this writer that are no longer in the log.
    pub lost: Option<LostEvents>,
}

/// Events that this writer appended and that another program then removed from the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "another program truncated or replaced `{}`: events {first} to {last} were written and are \
     missing now",
    path.display()
)]
pub struct LostEvents {
    /// The active segment.
    pub path: PathBuf,
    /// The first missing sequence number.
    pub first: u64,
    /// The last missing sequence number.
    pub last: u64,
}
