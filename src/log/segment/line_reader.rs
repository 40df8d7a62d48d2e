//! A forward line reader with bounded memory.

use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::FileExt;

use crate::log::format::classify;
use crate::log::format::classify::{LineCheck, LineClass, classify_checked};
use crate::log::format::envelope::DamageReason;
use crate::log::format::limits::MAX_READ_LINE_BYTES;

/// The initial size of a reader's buffer, in bytes. Often only the first line is needed.
const INITIAL_CAPACITY: usize = 4 << 10;
/// The size up to which the buffer grows, in bytes. Only a longer line needs more.
const READ_CHUNK_BYTES: usize = 256 << 10;

/// A byte range of a plain file. It is read by position, so that the file can be shared.
#[derive(Debug)]
pub(crate) struct FileSpan<F> {
    file: F,
    at: u64,
    end: u64,
}

impl<F: AsRef<File>> FileSpan<F> {
    /// Creates a reader of the bytes `at..end` of `file`.
    pub(crate) fn new(file: F, at: u64, end: u64) -> Self {
        Self { file, at, end }
    }
}

impl<F: AsRef<File>> Read for FileSpan<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(0);
        }
        let len = buf.len().min(left);
        let n = match buf.get_mut(..len) {
            Some(buf) => self.file.as_ref().read_at(buf, self.at)?,
            None => 0,
        };
        self.at += n as u64;
        Ok(n)
    }
}

/// One line of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawLine<'a> {
    /// The offset of its first byte in the stream.
    pub offset: u64,
    /// The bytes without the `\n`; empty if `too_long`.
    pub bytes: &'a [u8],
    /// The length without the `\n`, in bytes.
    pub len: u64,
    /// Whether it ends with `\n`.
    pub whole: bool,
    /// Whether it exceeds the maximum length, so that its bytes were skipped.
    pub too_long: bool,
}

impl RawLine<'_> {
    /// Returns the offset of the next line.
    pub fn end(&self) -> u64 {
        self.offset + self.len + u64::from(self.whole)
    }
}

/// A reader of the lines of a stream that starts at `offset` of its file.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    source: R,
    buf: Vec<u8>,
    /// The start in `buf` of the bytes that were read but not yet returned.
    start: usize,
    end: usize,
    offset: u64,
    eof: bool,
    /// The range of the last returned line in `buf`.
    last: std::ops::Range<usize>,
}

impl<F: AsRef<File>> LineReader<FileSpan<F>> {
    /// Creates a reader of the lines in a byte range of a file.
    pub(crate) fn from_span(span: FileSpan<F>) -> Self {
        let offset = span.at;
        Self::new(span, offset)
    }
}

impl<R: Read> LineReader<R> {
    /// Creates a reader of the lines of `source`, which starts at `offset` of its file.
    pub(crate) fn new(source: R, offset: u64) -> Self {
        Self::with_buffer(source, offset, Vec::new())
    }

    fn with_buffer(source: R, offset: u64, buf: Vec<u8>) -> Self {
        Self {
            source,
            buf,
            start: 0,
            end: 0,
            offset,
            eof: false,
            last: 0..0,
        }
    }

    /// Continues with another stream, which starts at `offset`.
    pub(crate) fn restart(&mut self, source: R, offset: u64) {
        let buf = std::mem::take(&mut self.buf);
        *self = Self::with_buffer(source, offset, buf);
    }

    /// Returns the offset of the next line.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the bytes of the last returned line.
    pub(crate) fn last_bytes(&self) -> &[u8] {
        self.buf.get(self.last.clone()).unwrap_or_default()
    }

    /// Returns the next line; `None` at the end.
    ///
    /// # Errors
    /// The stream cannot be read.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<RawLine<'_>>> {
        let mut searched = 0;
        let newline = loop {
            let held = self
                .buf
                .get(self.start + searched..self.end)
                .unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', held) {
                break Some(searched + at);
            }
            searched = self.end - self.start;
            if self.eof {
                break None;
            }
            if searched > MAX_READ_LINE_BYTES {
                return self.skip_long_line().map(Some);
            }
            self.fill()?;
        };
        let len = newline.unwrap_or(searched);
        if newline.is_none() && len == 0 {
            return Ok(None);
        }
        let (offset, start) = (self.offset, self.start);
        let taken = len + usize::from(newline.is_some());
        self.start += taken;
        self.offset += taken as u64;
        self.last = start..start + len;
        Ok(Some(RawLine {
            offset,
            bytes: self.last_bytes(),
            len: len as u64,
            whole: newline.is_some(),
            too_long: false,
        }))
    }

    fn fill(&mut self) -> io::Result<()> {
        // If a read did not fill the buffer, the buffer is large enough for the stream.
        let filled = self.end == self.buf.len();
        if self.start > 0 {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let len = match self.buf.len() {
            0 => INITIAL_CAPACITY,
            len if len < READ_CHUNK_BYTES && filled => (len * 8).min(READ_CHUNK_BYTES),
            // One byte more than the limit is enough to detect a line that is too long.
            len if len == self.end => (len * 2).min(MAX_READ_LINE_BYTES + 1),
            len => len,
        };
        self.buf.resize(len, 0);
        let room = self.buf.get_mut(self.end..).unwrap_or_default();
        match read_some(&mut self.source, room)? {
            0 => self.eof = true,
            n => self.end += n,
        }
        Ok(())
    }

    fn skip_long_line(&mut self) -> io::Result<RawLine<'_>> {
        let offset = self.offset;
        self.last = 0..0;
        let mut len = (self.end - self.start) as u64;
        let mut whole = false;
        while !whole && !self.eof {
            (self.start, self.end) = (0, 0);
            self.fill()?;
            let held = self.buf.get(..self.end).unwrap_or_default();
            let newline = memchr::memchr(b'\n', held);
            len += newline.unwrap_or(self.end) as u64;
            whole = newline.is_some();
            self.start = newline.map_or(self.end, |at| at + 1);
        }
        self.offset = offset + len + u64::from(whole);
        Ok(RawLine {
            offset,
            bytes: &[],
            len,
            whole,
            too_long: true,
        })
    }
}

/// Checks a line of a segment.
pub(crate) fn check_raw(line: &RawLine<'_>) -> LineCheck {
    if line.too_long {
        LineCheck::Damage(DamageReason::TooLong)
    } else {
        classify::check_line(line.bytes)
    }
}

/// Classifies a line of a segment.
pub(crate) fn classify_raw<'a>(line: &RawLine<'a>) -> LineClass<'a> {
    classify_checked(check_raw(line), line.bytes)
}

/// Reads the bytes `from..to` of a file.
pub(crate) fn read_span(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (to - from) as usize];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

fn read_some(source: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reader that returns only a few bytes at a time.
    struct Drip<'a>(&'a [u8], usize);
    impl Read for Drip<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(buf.len()).min(self.1);
            let (now, later) = self.0.split_at(n);
            buf[..n].copy_from_slice(now);
            self.0 = later;
            Ok(n)
        }
    }

    fn collect(source: impl Read) -> Vec<(u64, Vec<u8>, bool)> {
        let mut lines = LineReader::new(source, 0);
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            assert_eq!(line.len, line.bytes.len() as u64);
            all.push((line.offset, line.bytes.to_vec(), line.whole));
        }
        all
    }

    proptest! {
        #[test]
        fn joined_lines_equal_the_stream(
            text in "[a\\n]{0,80}", step in 1usize..9
        ) {
            let mut joined = Vec::new();
            for (offset, bytes, whole) in collect(Drip(text.as_bytes(), step)) {
                prop_assert_eq!(offset, joined.len() as u64);
                joined.extend_from_slice(&bytes);
                if whole { joined.push(b'\n'); }
            }
            prop_assert_eq!(joined, text.as_bytes());
        }
    }

    #[test]
    fn overlong_line_is_skipped() {
        let mut text = b"first\n".to_vec();
        text.resize(
            text.len() + MAX_READ_LINE_BYTES + READ_CHUNK_BYTES * 3,
            b'x',
        );
        text.extend_from_slice(b"\nlast\n");
        let mut lines = LineReader::new(&text[..], 0);
        assert_eq!(lines.next_line().unwrap().unwrap().bytes, b"first");
        let long = lines.next_line().unwrap().unwrap();
        assert!(long.too_long && long.whole && long.bytes.is_empty());
        assert_eq!(
            long.len,
            (MAX_READ_LINE_BYTES + READ_CHUNK_BYTES * 3) as u64
        );
        let last = lines.next_line().unwrap().unwrap();
        assert_eq!(
            (last.bytes, last.offset),
            (&b"last"[..], text.len() as u64 - 5)
        );
        assert_eq!(lines.next_line().unwrap(), None);
    }
}
