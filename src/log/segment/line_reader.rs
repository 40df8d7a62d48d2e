//! Splitting a byte stream into lines, forwards, in bounded memory.

use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::FileExt;

use crate::log::format::classify::{LineClass, classify};
use crate::log::format::envelope::DamageReason;

/// Longest line that a reader holds, in bytes.
pub(crate) const MAX_READ_LINE_BYTES: usize = 16 << 20;
/// First size of a reader's buffer, in bytes: the first line is often all that is asked for.
const INITIAL_CAPACITY: usize = 4 << 10;
/// Size that it grows to as reading goes on, in bytes; more only for a line that needs it.
const READ_CHUNK_BYTES: usize = 256 << 10;

/// A part of a plain file, read by position so that the file can be shared.
#[derive(Debug)]
pub(crate) struct FileSpan<F> {
    file: F,
    at: u64,
    end: u64,
}

impl<F: AsRef<File>> FileSpan<F> {
    /// The bytes `at..end` of `file`.
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

/// One line as it stands in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawLine<'a> {
    /// Where it begins in the stream, in bytes.
    pub offset: u64,
    /// Its bytes without the `\n`; empty where `too_long`.
    pub bytes: &'a [u8],
    /// Its length without the `\n`, in bytes.
    pub len: u64,
    /// Whether a `\n` ends it.
    pub whole: bool,
    /// Whether it is longer than [`LINE_LIMIT`], and so not held.
    pub too_long: bool,
}

impl RawLine<'_> {
    /// Where the next line begins.
    pub fn end(&self) -> u64 {
        self.offset + self.len + u64::from(self.whole)
    }
}

/// Reads lines from a stream whose first byte is at `offset`.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    source: R,
    buf: Vec<u8>,
    /// The part of `buf` that was read and not yet given out.
    start: usize,
    end: usize,
    offset: u64,
    eof: bool,
    /// Where the line given out last stands in `buf`.
    last: std::ops::Range<usize>,
}

impl<F: AsRef<File>> LineReader<FileSpan<F>> {
    /// Lines of a part of a file.
    pub(crate) fn of(span: FileSpan<F>) -> Self {
        let offset = span.at;
        Self::new(span, offset)
    }
}

impl<R: Read> LineReader<R> {
    /// Lines of `source`; `offset` is where its first byte stands in its file.
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

    /// Goes on with another stream, whose first byte is at `offset`.
    pub(crate) fn restart(&mut self, source: R, offset: u64) {
        let buf = std::mem::take(&mut self.buf);
        *self = Self::with_buffer(source, offset, buf);
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes of the line given out last, until the next is asked for.
    pub(crate) fn last_bytes(&self) -> &[u8] {
        self.buf.get(self.last.clone()).unwrap_or_default()
    }

    /// The next line; `None` at the end.
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
        // A buffer that was not filled is large enough for what the stream gives at once.
        let filled = self.end == self.buf.len();
        if self.start > 0 {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let len = match self.buf.len() {
            0 => INITIAL_CAPACITY,
            len if len < READ_CHUNK_BYTES && filled => (len * 8).min(READ_CHUNK_BYTES),
            // One more than the limit tells a line that is too long.
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

/// Classifies a line of a segment.
pub(crate) fn classify_raw<'a>(line: &RawLine<'a>) -> LineClass<'a> {
    if line.too_long {
        LineClass::Damage(DamageReason::TooLong)
    } else {
        classify(line.bytes)
    }
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

    /// Gives out few bytes at a time.
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
        fn lines_put_together_are_the_stream(
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
    fn a_line_over_the_limit_is_passed_over_and_its_neighbours_are_read() {
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
