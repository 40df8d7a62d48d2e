//! Masking a stream as it arrives.

use std::fmt;
use std::sync::Arc;

use memchr::{memchr, memchr_iter};

use super::literal_set::PrefixState;
use super::matchers::{Matchers, SearchStarts};
use super::secret_match::{MASK, write_masked};

/// How much of an unfinished line to hold back for patterns, unless a literal is longer.
pub(crate) const HOLD_BYTES: usize = 64 * 1024;

/// The maximum length of a match that is masked exactly in a line longer than [`HOLD_BYTES`]. In
/// shorter lines there is no limit.
const PATTERN_REACH_BYTES: usize = HOLD_BYTES / 2 - CONTEXT_BYTES;

/// The number of bytes to keep before the buffer: one character, so that `^` and `\b` do not
/// match at the start of the buffer.
const CONTEXT_BYTES: usize = 4;

/// A masker for one stream.
///
/// Without patterns, everything is passed on at once, except for bytes at the end that may be
/// the start of a literal.
///
/// With patterns, the stream is masked line by line. Complete lines are passed on at once, and
/// an unfinished line is held back. If it reaches 64 KiB, everything except its last bytes is
/// passed on. The rest is enough to mask literals as if the whole line had been read, and
/// matches of patterns up to 32 KiB. A longer match masks the rest of its line too, because its
/// end cannot be known.
///
/// Literals with a line end are masked first, in the stream as a whole.
pub struct StreamMasker {
    across_lines: Option<Box<StreamMasker>>,
    matchers: Arc<Matchers>,
    /// The end of the stream, as far as it is still needed.
    pub(crate) held: Vec<u8>,
    /// The end of the part of `held` that was passed on or masked.
    written: usize,
    starts: SearchStarts,
    prefixes: PrefixState,
    /// Whether the rest of the line belongs to a match that was too long to hold.
    swallow: bool,
    /// How many of the next bytes may be the rest of a secret whose start was lost.
    in_doubt: usize,
}

impl StreamMasker {
    pub(crate) fn new(matchers: &Arc<Matchers>, across_lines: Option<&Arc<Matchers>>) -> Self {
        Self {
            across_lines: across_lines.map(|matchers| Box::new(Self::new(matchers, None))),
            matchers: Arc::clone(matchers),
            held: Vec::new(),
            written: 0,
            starts: matchers.starts(),
            prefixes: PrefixState::default(),
            swallow: false,
            in_doubt: 0,
        }
    }

    /// Continues after lost bytes. The next bytes may be the rest of a literal, and are masked.
    /// Returns the maximum number of these bytes.
    pub(crate) fn continue_after_loss(&mut self) -> usize {
        let first = self.across_lines.as_ref();
        let longest = first.map_or(0, |first| first.matchers.literals.longest());
        let longest = longest.max(self.matchers.literals.longest());
        self.in_doubt = longest.saturating_sub(1);
        self.in_doubt
    }

    /// Masks the bytes in doubt, at most to the end of the line unless a literal continues.
    fn skip_doubtful<'a>(&mut self, chunk: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let in_doubt = std::mem::take(&mut self.in_doubt);
        if in_doubt == 0 || chunk.is_empty() {
            self.in_doubt = in_doubt;
            return chunk;
        }
        let line_end = memchr(b'\n', chunk).filter(|_| self.across_lines.is_none());
        let skipped = in_doubt.min(line_end.unwrap_or(chunk.len()));
        if skipped > 0 {
            out.extend_from_slice(MASK);
        }
        if line_end.is_none() {
            self.in_doubt = in_doubt - skipped;
        }
        chunk.get(skipped..).unwrap_or_default()
    }

    /// Accepts the next bytes of the stream, and appends to `out` what can be written now.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let chunk = self.skip_doubtful(chunk, out);
        if let Some(first) = &mut self.across_lines {
            let mut masked = Vec::new();
            first.push(chunk, &mut masked);
            self.push_lines(&masked, out);
        } else if self.matchers.patterns.is_empty() {
            self.push_literal(chunk, out);
        } else {
            self.push_lines(chunk, out);
        }
    }

    /// Accepts the next bytes of the stream and returns what may be written now: the bytes
    /// themselves if nothing in them is masked, which saves a copy, otherwise the content of
    /// `out`.
    pub(crate) fn mask<'a>(&mut self, chunk: &'a [u8], out: &'a mut Vec<u8>) -> &'a [u8] {
        out.clear();
        let is_simple = self.across_lines.is_none() && self.matchers.patterns.is_empty();
        let is_between = self.held.is_empty() && self.written == 0 && self.in_doubt == 0;
        if is_simple && is_between {
            self.mask_literals(chunk, out)
        } else {
            self.push(chunk, out);
            out
        }
    }

    /// Masks literals in bytes when no earlier bytes are held back.
    fn mask_literals<'a>(&mut self, chunk: &'a [u8], out: &'a mut Vec<u8>) -> &'a [u8] {
        let pending = self.matchers.literals.pending(&mut self.prefixes, chunk);
        let (ready, rest) = chunk.split_at(chunk.len().saturating_sub(pending));
        let found = self.matchers.literals.find(chunk, 0, ready.len());
        self.held.extend_from_slice(rest);
        if found.is_empty() {
            return ready;
        }
        self.written = write_masked(chunk, &found, 0, ready.len(), out) - ready.len();
        out
    }

    /// Ends the stream, and appends to `out` what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(first) = &mut self.across_lines {
            let mut masked = Vec::new();
            first.finish(&mut masked);
            self.push_lines(&masked, out);
        }
        self.end_line(&[], out);
        self.prefixes = PrefixState::default();
    }

    /// Returns how many bytes are held back.
    pub(crate) fn held_bytes(&self) -> usize {
        let first = self.across_lines.as_ref();
        self.held.len() + first.map_or(0, |first| first.held_bytes())
    }

    /// Passes on everything except the bytes at the end that may be the start of a literal.
    fn push_literal(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let pending = self.matchers.literals.pending(&mut self.prefixes, chunk);
        self.held.extend_from_slice(chunk);
        let border = self.held.len().saturating_sub(pending);
        let found = self.matchers.literals.find(&self.held, 0, border);
        let written = write_masked(&self.held, &found, self.written, border, out);
        self.held.drain(..border);
        self.written = written - border;
    }

    fn push_lines(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
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
        if self.held.len() >= self.hold_limit() {
            self.emit(out);
        }
    }

    /// Passes on the line that `rest` completes.
    fn end_line(&mut self, rest: &[u8], out: &mut Vec<u8>) {
        if !self.swallow {
            // Most lines arrive whole and need not be copied.
            let line = if self.held.is_empty() {
                rest
            } else {
                self.held.extend_from_slice(rest);
                &self.held
            };
            let found = self.matchers.find(line, &mut self.starts, usize::MAX);
            write_masked(line, &found, self.written, line.len(), out);
        }
        self.swallow = false;
        self.held.clear();
        self.written = 0;
        self.starts = self.matchers.starts();
    }

    /// Returns how many bytes must be matched again together with the following bytes.
    fn overlap(&self) -> usize {
        PATTERN_REACH_BYTES.max(self.matchers.literals.longest().saturating_sub(1))
    }

    /// Returns the length from which an unfinished line is passed on. At least half of it is
    /// passed on each time, so that the total time is linear.
    fn hold_limit(&self) -> usize {
        HOLD_BYTES.max(2 * (self.overlap() + CONTEXT_BYTES))
    }

    /// Passes on everything that no longer depends on later bytes.
    ///
    /// The border is chosen so that every literal that starts before it is complete. Matches
    /// that start before it are final, even if they end after it, and those that start later are
    /// found again with more bytes.
    fn emit(&mut self, out: &mut Vec<u8>) {
        let len = self.held.len();
        let border = len.saturating_sub(self.overlap());
        let found = self.matchers.find(&self.held, &mut self.starts, border);
        self.written = write_masked(&self.held, &found, self.written, border, out);
        // Only a match of a pattern can start before the border without having ended.
        if found.iter().any(|m| m.open_ended && m.range.end == len) {
            self.swallow = true;
            self.held.clear();
            return;
        }
        let passed = border.saturating_sub(CONTEXT_BYTES);
        self.held.drain(..passed);
        self.written -= passed;
        self.starts.shift(passed);
    }
}

impl fmt::Debug for StreamMasker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamMasker")
            .field("held_bytes", &self.held.len())
            .finish_non_exhaustive()
    }
}
