//! Reads the lines of stdin in chunks.

use std::io;
use std::io::Read;

use crate::log::MAX_LINE_BYTES;

/// The number of bytes to read at a time. All lines of a chunk are stored together.
const CHUNK_BYTES: usize = 256 << 10;

/// Splits stdin into lines as they arrive, without keeping a line that is too long in memory.
#[derive(Default)]
pub(super) struct InputLines {
    held: Vec<u8>,
    chunk: Vec<u8>,
    line_no: u64,
    too_long: bool,
    ended: bool,
}

impl InputLines {
    /// Reads once; returns `false` at the end of input.
    pub(super) fn read(&mut self, stdin: &mut impl Read) -> io::Result<bool> {
        self.chunk.resize(CHUNK_BYTES, 0);
        let n = loop {
            match stdin.read(&mut self.chunk) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                n => break n?,
            }
        };
        self.ended = n == 0;
        self.held
            .extend_from_slice(self.chunk.get(..n).unwrap_or_default());
        Ok(!self.ended)
    }

    /// Removes and returns the complete lines with their line numbers, without their `\n`;
    /// `None` is a line that is too long.
    pub(super) fn complete_lines(&mut self) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut lines = Vec::new();
        let mut rest = self.held.as_slice();
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(at);
            rest = after.get(1..).unwrap_or_default();
            self.line_no += 1;
            let fits = !std::mem::take(&mut self.too_long) && line.len() <= MAX_LINE_BYTES;
            lines.push((self.line_no, fits.then(|| line.to_vec())));
        }
        let mut rest = rest.to_vec();
        if rest.len() > MAX_LINE_BYTES {
            self.too_long = true;
            rest.clear();
        }
        if self.ended && (self.too_long || !rest.is_empty()) {
            self.line_no += 1;
            let rest = std::mem::take(&mut rest);
            lines.push((self.line_no, (!self.too_long).then_some(rest)));
        }
        self.held = rest;
        lines
    }
}
