//! A backward line reader with bounded memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::line_reader::RawLine;
use crate::log::format::limits::MAX_READ_LINE_BYTES;

/// The size of the first chunk, in bytes. The last line of a finished run usually fits.
const FIRST_CHUNK_BYTES: u64 = 2 << 10;
/// The maximum size of a chunk, in bytes: about half of what a check of the order reads.
const MAX_CHUNK_BYTES: u64 = 32 << 10;

/// A reader of the lines of a file, from a given end back to the start.
#[derive(Debug)]
pub struct RevLineReader<'a> {
    file: &'a File,
    /// The bytes `base .. base + buf.len()` of the file.
    buf: Vec<u8>,
    base: u64,
    /// The end of the bytes that were not yet returned.
    end: u64,
    chunk: u64,
    at_end: bool,
}

impl<'a> RevLineReader<'a> {
    /// Creates a reader of the lines in the first `end` bytes of `file`, last first.
    pub fn new(file: &'a File, end: u64) -> Self {
        Self {
            file,
            buf: Vec::new(),
            base: end,
            end,
            chunk: FIRST_CHUNK_BYTES,
            at_end: true,
        }
    }

    /// Returns the line before the last returned one; `None` at the start of the file.
    ///
    /// The line that is returned first may lack its `\n`.
    ///
    /// # Errors
    /// The file cannot be read, or became shorter.
    pub fn prev_line(&mut self) -> io::Result<Option<RawLine<'_>>> {
        if self.end == 0 {
            return Ok(None);
        }
        let whole = self.byte_before_end()? == b'\n';
        let text_end = self.end - u64::from(whole);
        debug_assert!(whole || self.at_end);
        self.at_end = false;

        let start = self.line_start(text_end)?;
        self.end = start;
        let len = text_end - start;
        let too_long = len > MAX_READ_LINE_BYTES as u64;
        let bytes = if too_long {
            &[]
        } else {
            let from = (start - self.base) as usize;
            self.buf.get(from..from + len as usize).unwrap_or_default()
        };
        Ok(Some(RawLine {
            offset: start,
            bytes,
            len,
            whole,
            too_long,
        }))
    }

    fn byte_before_end(&mut self) -> io::Result<u8> {
        if self.end <= self.base {
            self.extend()?;
        }
        let at = (self.end - 1 - self.base) as usize;
        Ok(self.buf.get(at).copied().unwrap_or_default())
    }

    /// Returns the start of the line that ends at `text_end`. The buffer then holds the whole
    /// line, unless the line is too long.
    fn line_start(&mut self, text_end: u64) -> io::Result<u64> {
        let mut searched_from = text_end;
        loop {
            let from = self.base.min(searched_from);
            let held_len = (searched_from - from) as usize;
            let skip = (from - self.base) as usize;
            let held = self.buf.get(skip..skip + held_len).unwrap_or_default();
            if let Some(at) = memchr::memrchr(b'\n', held) {
                return Ok(from + at as u64 + 1);
            }
            if from == 0 {
                return Ok(0);
            }
            searched_from = from;
            if text_end - from > MAX_READ_LINE_BYTES as u64 {
                // The line is too long to return, so only its start is needed.
                self.end = from;
                self.buf.clear();
            }
            self.extend()?;
        }
    }

    /// Reads the chunk before the buffer, and drops the bytes that were already returned.
    fn extend(&mut self) -> io::Result<()> {
        let keep = self
            .end
            .saturating_sub(self.base)
            .min(self.buf.len() as u64) as usize;
        let added = self.chunk.max(keep as u64).min(self.base);
        self.chunk = (self.chunk * 4).min(MAX_CHUNK_BYTES);
        let added_len = added as usize;
        self.buf.truncate(keep);
        self.buf.resize(added_len + keep, 0);
        self.buf.copy_within(..keep, added_len);
        let new = self.buf.get_mut(..added_len).unwrap_or_default();
        let read = self.file.read_exact_at(new, self.base - added);
        if read.is_ok() {
            self.base -= added;
        } else {
            // The buffer is now empty.
            self.buf.clear();
            self.base = self.end;
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn file_with(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn collect(text: &[u8]) -> Vec<u8> {
        let file = file_with(text);
        let mut back = RevLineReader::new(&file, text.len() as u64);
        let mut parts = Vec::new();
        while let Some(line) = back.prev_line().unwrap() {
            let mut part = line.bytes.to_vec();
            assert_eq!(&text[line.offset as usize..][..part.len()], part);
            if line.whole {
                part.push(b'\n');
            }
            parts.push(part);
        }
        parts.reverse();
        parts.concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn joined_lines_equal_the_file(text in "([a]{0,3000}\\n){0,40}[a]{0,9000}") {
            prop_assert_eq!(collect(text.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn overlong_line_is_skipped_backwards() {
        let mut text = b"first\n".to_vec();
        text.resize(text.len() + (1 << 20), b'y');
        text.push(b'\n');
        assert_eq!(collect(&text), text);
        text.resize(text.len() + MAX_READ_LINE_BYTES + 1000, b'x');
        text.extend_from_slice(b"\nlast\n");
        let file = file_with(&text);
        let mut back = RevLineReader::new(&file, text.len() as u64);
        assert_eq!(back.prev_line().unwrap().unwrap().bytes, b"last");
        let long = back.prev_line().unwrap().unwrap();
        assert!(long.too_long && long.len == (MAX_READ_LINE_BYTES + 1000) as u64);
        assert_eq!(back.prev_line().unwrap().unwrap().len, 1 << 20);
        assert_eq!(back.prev_line().unwrap().unwrap().bytes, b"first");
        assert_eq!(back.prev_line().unwrap(), None);
    }
}
