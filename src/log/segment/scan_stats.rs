//! What has to be known of the active segment before it is sealed.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::line_reader::{FileSpan, LineReader, RawLine, classify_raw};
use crate::log::error::LogError;
use crate::log::format::classify::LineClass;
use crate::log::format::envelope;
use crate::log::format::event_type::EventType;
use crate::volume::{IoContext, parse_ts};

/// The lines of a segment, looked over from its start on.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScanStats {
    /// Whether a line of another program is among them.
    pub foreign: bool,
    /// Length of its checkpoint with the `\n`, in bytes; 0 where it has none.
    pub checkpoint_bytes: u64,
    /// When its first event was written.
    pub first_ts: Option<Timestamp>,
    /// End of the last whole line, in bytes.
    pub end: u64,
    /// The number of the first valid event.
    pub first: Option<u64>,
    /// Damaged lines before it.
    pub damaged: u64,
}

impl ScanStats {
    /// Goes on over the whole lines up to `len`.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(crate) fn advance(
        &mut self,
        file: &Arc<File>,
        len: u64,
        path: &Path,
    ) -> Result<(), LogError> {
        let mut lines = LineReader::of(FileSpan::new(Arc::clone(file), self.end, len));
        while let Some(line) = lines.next_line().at("read", path)? {
            if !line.whole {
                break;
            }
            if self.first.is_none() {
                self.before_first(&line);
            } else if !line.bytes.starts_with(envelope::PREFIX) {
                self.foreign |= matches!(classify_raw(&line), LineClass::Foreign(_));
            }
            self.end = line.end();
        }
        Ok(())
    }

    fn before_first(&mut self, line: &RawLine<'_>) {
        match classify_raw(line) {
            LineClass::Ours(env) => {
                self.first = Some(env.seq);
                self.first_ts = parse_ts(env.ts);
                let rotated = env.kind == EventType::LogRotated.as_str();
                if rotated && self.damaged == 0 && !self.foreign {
                    self.checkpoint_bytes = line.end();
                }
            }
            LineClass::Foreign(_) => self.foreign = true,
            LineClass::Damage(_) => self.damaged += 1,
        }
    }

    /// Whether there is nothing but a checkpoint.
    pub(crate) fn is_fresh(&self) -> bool {
        self.end == self.checkpoint_bytes
    }
}
