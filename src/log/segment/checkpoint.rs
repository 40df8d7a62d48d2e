//! Checkpoints: the `log_rotated` event that opens a segment, without the folded state.

use jiff::Timestamp;
use serde::Deserialize;

use super::segment_file::Segment;
use crate::log::format::envelope::Envelope;
use crate::log::format::event_type::EventType;
use crate::log::format::payload::{LogRotated, parse_payload};

/// The part of a checkpoint that describes the segment before it.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// When the checkpoint was written.
    pub ts: Timestamp,
    /// The first sequence number of the segment before it.
    pub first_seq: u64,
    /// The length of the segment before it, in bytes before compression.
    pub bytes: u64,
    /// When the last event before the checkpoint was written.
    pub last_ts: Option<Timestamp>,
    /// Whether the checkpoint holds the whole state.
    pub is_full: bool,
}

impl Checkpoint {
    /// Parses the first line of a segment; `None` if it is damaged or not a checkpoint.
    fn parse(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct StateExtent {
            #[serde(default)]
            jobs_truncated: bool,
        }
        // Most first lines have another type, and can be rejected without computing a checksum.
        Envelope::parse_checked(line).filter(|env| env.kind == EventType::LogRotated)?;
        let env = Envelope::parse(line).ok()?;
        let LogRotated { sealed, state } = parse_payload::<LogRotated<StateExtent>>(line)?;
        Some(Self {
            ts: env.time(),
            first_seq: sealed.first_seq,
            bytes: sealed.bytes,
            last_ts: sealed.last_ts,
            is_full: !state.jobs_truncated,
        })
    }
}

impl Segment {
    /// Returns the checkpoint at the start of the segment, if there is one.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        let mut lines = self.lines().ok()?;
        let line = lines.next_line().ok()??;
        Checkpoint::parse(line.bytes)
    }

    /// Returns the length of the previous segment when it was sealed, in bytes before
    /// compression.
    pub(crate) fn sealed_bytes(&self) -> Option<u64> {
        self.checkpoint().map(|checkpoint| checkpoint.bytes)
    }

    /// Returns the time of the last event in the previous segment, or a later time.
    pub(crate) fn sealed_ts(&self) -> Option<Timestamp> {
        let checkpoint = self.checkpoint()?;
        Some(checkpoint.last_ts.unwrap_or(checkpoint.ts))
    }
}
