//! Statistics of the active segment, which decide whether it is sealed.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::line_reader::{FileSpan, LineReader, RawLine, classify_raw};
use super::segment_checksum::SegmentChecksum;
use crate::log::error::StorageError;
use crate::log::format::classify::LineClass;
use crate::log::format::envelope;
use crate::log::format::event_type::EventType;
use crate::log::format::payload::records_loss;
use crate::volume::IoContext;

/// Statistics of the lines of a segment, from its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScanStats {
    /// Whether a line of another program was found.
    pub foreign: bool,
    /// The length of the checkpoint, with the record of what it lacks, including its `\n`, in
    /// bytes; 0 if there is none.
    pub checkpoint_bytes: u64,
    /// The time of the first event.
    pub first_ts: Option<Timestamp>,
    /// The end of the last whole line, in bytes.
    pub end: u64,
    /// The sequence number of the first valid event.
    pub first: Option<u64>,
    /// The number of damaged lines before the first valid event.
    pub damaged: u64,
    /// The checksum of the lines.
    pub checksum: SegmentChecksum,
}

impl ScanStats {
    /// Continues through the whole lines before `len`.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(crate) fn advance(
        &mut self,
        file: &Arc<File>,
        len: u64,
        path: &Path,
    ) -> Result<(), StorageError> {
        let mut lines = LineReader::from_span(FileSpan::new(Arc::clone(file), self.end, len));
        while let Some(line) = lines.next_line().at("read", path)? {
            if !line.whole {
                break;
            }
            if self.first.is_none() {
                self.before_first(&line);
            } else if self.is_fresh() && records_loss(line.bytes) {
                self.checkpoint_bytes = line.end();
            } else if !line.bytes.starts_with(envelope::PREFIX) {
                self.foreign |= matches!(classify_raw(&line), LineClass::Foreign(_));
            }
            self.checksum.push_line(&line);
            self.end = line.end();
        }
        Ok(())
    }

    fn before_first(&mut self, line: &RawLine<'_>) {
        match classify_raw(line) {
            LineClass::Ours(env) => {
                self.first = Some(env.seq);
                self.first_ts = env.timestamp();
                let rotated = env.kind == EventType::LogRotated;
                if rotated && self.damaged == 0 && !self.foreign {
                    self.checkpoint_bytes = line.end();
                }
            }
            LineClass::Foreign(_) => self.foreign = true,
            LineClass::Damage(_) => self.damaged += 1,
        }
    }

    /// Returns whether the segment contains only a checkpoint and the record of what it lacks.
    pub(crate) fn is_fresh(&self) -> bool {
        self.end == self.checkpoint_bytes
    }
}
