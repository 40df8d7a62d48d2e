//! A position in `retired.jsonl`, from which another process can continue later.
//!
//! ```text
//! retired:1:4711:9ae0daaf:5c1e7d02
//! ```
//!
//! `docs/format.md` describes the fields.

use std::fmt;
use std::fs::File;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use super::cursor::CursorError;
use crate::log::segment::line_reader::{FileSpan, LineReader};
use crate::log::segment::rev_line_reader::RevLineReader;

/// The start of the text, which distinguishes it from a cursor.
const LABEL: &str = "retired";
/// The version that this code writes.
const VERSION: u32 = 1;

/// A position between two lines of `retired.jsonl`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetiredPosition {
    /// The offset, in bytes.
    pub(crate) offset: u64,
    /// The CRC-32C of the previous line, without its `\n`; 0 at the start of the file.
    pub(crate) crc: u32,
}

impl RetiredPosition {
    /// Returns the position after `line`, which ends at `offset`.
    pub(crate) fn after(line: &[u8], offset: u64) -> Self {
        let crc = crc32c::crc32c(line);
        Self { offset, crc }
    }

    /// Returns the position after the last whole line of a file of `len` bytes.
    pub(crate) fn at_end(file: &File, len: u64) -> io::Result<Self> {
        let mut back = RevLineReader::new(file, len);
        while let Some(line) = back.prev_line()? {
            if line.whole {
                return Ok(Self::after(line.bytes, line.end()));
            }
        }
        Ok(Self::default())
    }

    /// Finds the position again in a file of `len` bytes, whose first lines may have been
    /// removed; `None` if the line before the position no longer exists.
    pub(crate) fn find(self, file: &Arc<File>, len: u64) -> io::Result<Option<Self>> {
        if self.offset == 0 {
            return Ok(Some(self));
        }
        if self.offset <= len
            && let Some(line) = RevLineReader::new(file, self.offset).prev_line()?
            && line.whole
            && crc32c::crc32c(line.bytes) == self.crc
        {
            return Ok(Some(self));
        }
        let mut lines = LineReader::from_span(FileSpan::new(Arc::clone(file), 0, len));
        while let Some(line) = lines.next_line()? {
            let found = Self::after(line.bytes, line.end());
            if line.whole && found.crc == self.crc {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Returns whether a line of a cursor file is such a position, or part of one.
    pub(super) fn is_labeled(text: &str) -> bool {
        text.starts_with(LABEL)
    }
}

impl fmt::Display for RetiredPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, crc } = self;
        let text = format!("{LABEL}:{VERSION}:{offset}:{crc:08x}");
        write!(f, "{text}:{:08x}", crc32c::crc32c(text.as_bytes()))
    }
}

impl FromStr for RetiredPosition {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let text = || text.to_owned();
        let malformed = || CursorError::Malformed { text: text() };
        let whole = text();
        let (checked, crc) = whole.rsplit_once(':').ok_or_else(malformed)?;
        let fields: Vec<&str> = checked.split(':').collect();
        let version = fields
            .get(1)
            .and_then(|version| version.parse::<u32>().ok());
        if version.is_some_and(|version| version > VERSION) {
            return Err(CursorError::Newer { text: text() });
        }
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        let parsed = || {
            let [_, _, offset, line_crc] = fields[..] else {
                return None;
            };
            (hex(crc)? == crc32c::crc32c(checked.as_bytes())).then_some(Self {
                offset: offset.parse().ok()?,
                crc: hex(line_crc)?,
            })
        };
        parsed().ok_or_else(malformed)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file_with(text: &str) -> (Arc<File>, u64) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        (Arc::new(file), text.len() as u64)
    }

    #[test]
    fn position_roundtrips_and_truncation_is_detected() {
        let position = RetiredPosition::after(b"line", 4711);
        let text = position.to_string();
        assert_eq!(text.parse(), Ok(position));
        for at in 0..text.len() {
            let cut = &text[..at];
            assert!(cut.parse::<RetiredPosition>().is_err(), "{cut}");
        }
        let newer = "retired:2:x:y".parse::<RetiredPosition>();
        assert!(matches!(newer, Err(CursorError::Newer { .. })));
    }

    #[test]
    fn position_is_found_after_file_was_trimmed() {
        let (file, len) = file_with("one\ntwo\nthree\ntorn");
        let end = RetiredPosition::at_end(&file, len).unwrap();
        assert_eq!(end, RetiredPosition::after(b"three", 14));
        assert_eq!(end.find(&file, len).unwrap(), Some(end));
        let (trimmed, len) = file_with("three\nfour\n");
        let found = end.find(&trimmed, len).unwrap();
        assert_eq!(found, Some(RetiredPosition::after(b"three", 6)));
        let (other, len) = file_with("four\n");
        assert_eq!(end.find(&other, len).unwrap(), None);
        let start = RetiredPosition::default();
        assert_eq!(start.find(&other, len).unwrap(), Some(start));
    }
}
