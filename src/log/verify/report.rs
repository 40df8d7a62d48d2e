//! The result of a verification.

/// The result of a verification, except for its faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// The number of valid events.
    pub events: u64,
    /// The number of lines of other programs, which have no checksum.
    pub foreign: u64,
    /// The number of segments.
    pub segments: usize,
    /// The number of jobs.
    pub jobs: usize,
    /// The number of faults.
    pub faults: u64,
    /// The sequence number of the first event in the log.
    pub first_seq: Option<u64>,
    /// Whether a process is writing the last line.
    pub in_flight: bool,
    /// Whether there is an active segment.
    pub has_active: bool,
}
