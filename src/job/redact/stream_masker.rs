//! Masking a stream as it comes, line by line.

use std::fmt;
use std::sync::Arc;

use memchr::memchr_iter;

use crate::job::redact::masker::{CONTEXT_BYTES, Secrets, Starts, write_masked};

/// Masks one stream, line by line.
///
/// Complete lines are passed on at once. A line that is not complete is held
/// back; from 64 KiB on it is passed on but for its last bytes, enough that a
/// literal secret that goes on there is still masked whole. So literals are
/// masked as if each line had been seen as a whole, whatever its length. In
/// lines of more than 64 KiB a pattern's match is, up to 32 KiB; a longer one
/// takes the rest of its line with it, for its end cannot be known.
pub struct StreamMasker {
    secrets: Arc<Secrets>,
    /// The unfinished line, but for what is of no use any more.
    pub(crate) held: Vec<u8>,
    /// Up to where `held` has been passed on or masked.
    written: usize,
    starts: Starts,
    /// The rest of this line belongs to a match that was too long to hold.
    swallow: bool,
}

impl StreamMasker {
    pub(crate) fn new(secrets: &Arc<Secrets>) -> Self {
        Self {
            secrets: Arc::clone(secrets),
            held: Vec::new(),
            written: 0,
            starts: secrets.starts(),
            swallow: false,
        }
    }

    /// Takes the next bytes of the stream, and appends to `out` what may be
    /// written now.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut start = 0;
        for newline in memchr_iter(b'\n', chunk) {
            let line = chunk.get(start..newline).unwrap_or_default();
            self.end_line(line, out);
            out.push(b'\n');
            start = newline + 1;
        }
        if !self.swallow {
            self.held
                .extend_from_slice(chunk.get(start..).unwrap_or_default());
        }
        if self.held.len() >= self.secrets.hold {
            self.emit(out);
        }
    }

    /// Ends the stream: appends to `out` what is still held.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_line(&[], out);
    }

    /// Passes on the line that `rest` completes.
    fn end_line(&mut self, rest: &[u8], out: &mut Vec<u8>) {
        if !self.swallow {
            // Most lines come whole and need not be copied.
            let line = if self.held.is_empty() {
                rest
            } else {
                self.held.extend_from_slice(rest);
                &self.held
            };
            let found = self.secrets.find(line, &mut self.starts, usize::MAX);
            write_masked(line, &found, self.written, line.len(), out);
        }
        self.swallow = false;
        self.held.clear();
        self.written = 0;
        self.starts.fill(0);
    }

    /// Passes on what no longer depends on what is still to come.
    ///
    /// The border lies so that every literal that begins before it has been seen
    /// whole. So matches that begin before it are decided now, even if they end
    /// behind it, and those that begin later are found again with more to see.
    fn emit(&mut self, out: &mut Vec<u8>) {
        let len = self.held.len();
        let border = len.saturating_sub(self.secrets.overlap);
        let found = self.secrets.find(&self.held, &mut self.starts, border);
        self.written = write_masked(&self.held, &found, self.written, border, out);
        // Only a pattern's match can begin before the border and not have ended.
        if found.iter().any(|m| m.open_ended && m.range.end == len) {
            self.swallow = true;
            self.held.clear();
            return;
        }
        let gone = border.saturating_sub(CONTEXT_BYTES);
        self.held.drain(..gone);
        self.written -= gone;
        for start in &mut self.starts {
            *start -= gone;
        }
    }
}

impl fmt::Debug for StreamMasker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamMasker")
            .field("held_bytes", &self.held.len())
            .finish_non_exhaustive()
    }
}
