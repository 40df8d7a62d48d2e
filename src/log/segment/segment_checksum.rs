//! The checksum of a whole segment, computed line by line.

use super::line_reader::RawLine;

/// The CRC-32C of the lines so far; unknown after a line that was too long to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SegmentChecksum {
    crc: u32,
    is_partial: bool,
}

impl SegmentChecksum {
    /// Adds a line.
    pub(crate) fn push_line(&mut self, line: &RawLine<'_>) {
        if line.too_long {
            self.is_partial = true;
        } else {
            self.push(line.bytes);
            if line.whole {
                self.push(b"\n");
            }
        }
    }

    /// Adds the next bytes of the segment.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
    }

    /// Returns the checksum as 8 lowercase hex digits; `None` if a line was too long to hold.
    pub(crate) fn to_hex(self) -> Option<String> {
        (!self.is_partial).then(|| format!("{:08x}", self.crc))
    }
}
