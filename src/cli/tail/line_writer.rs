//! Formats the output of `tail`: events as stored or for people, gaps, and warnings.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use anyhow::Result;
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};

use super::stdout_sink::StdoutSink;
use super::stop_reason::StopConditions;
use crate::log::Gap;
use crate::render::{GapReport, Style, event_line, gap_line, json_line};
use crate::volume::RunId;

/// The number of bytes to buffer before a write.
const FLUSH_BYTES: usize = 64 << 10;
/// The longest ID that lines are aligned for.
const MAX_LINE_WIDTH: usize = 40;

/// The format of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineFormat {
    /// As stored.
    Json,
    /// Text.
    Text,
    /// Text after the ID of the run.
    TextWithRun,
}

/// Writes whole lines at a time, so that a kill usually leaves the reader no partial line.
#[derive(Debug)]
pub(crate) struct LineWriter {
    style: Style,
    format: LineFormat,
    width: usize,
    buf: Vec<u8>,
    pub sink: StdoutSink,
}

impl LineWriter {
    pub(crate) fn new(sink: StdoutSink, style: Style, format: LineFormat) -> Self {
        Self {
            style,
            format,
            width: 0,
            buf: Vec::with_capacity(2 * FLUSH_BYTES),
            sink,
        }
    }

    /// Ends a torn line, so that the next line does not continue it. An earlier process that was
    /// killed while writing to the same file leaves one.
    pub(crate) fn end_torn_line(&mut self) {
        if is_torn().unwrap_or(false) {
            self.buf.push(b'\n');
        }
    }

    /// Adds a line of a run.
    pub(crate) fn line(&mut self, run: &RunId, line: &[u8]) {
        if self.format == LineFormat::Json {
            self.buf.extend_from_slice(line);
            self.buf.push(b'\n');
        } else {
            self.people(run, &event_line(line, self.style));
        }
    }

    /// Adds a line about a gap.
    pub(crate) fn gap(&mut self, run: &RunId, gap: &Gap) -> io::Result<()> {
        let report = GapReport::new(run, gap);
        if self.format == LineFormat::Json {
            json_line(&mut self.buf, &report)?;
        } else {
            self.people(run, &gap_line(&report, self.style));
        }
        Ok(())
    }

    /// Aligns the lines for this run too.
    pub(crate) fn align(&mut self, run: &RunId) {
        self.width = self.width.max(run.as_str().len().min(MAX_LINE_WIDTH));
    }

    fn people(&mut self, run: &RunId, text: &str) {
        if self.format == LineFormat::TextWithRun {
            let prefix = format!("{run:<width$} |", width = self.width);
            let prefix = self.style.faint(&prefix);
            self.buf.extend_from_slice(prefix.as_bytes());
            self.buf.push(b' ');
        }
        self.buf.extend_from_slice(text.as_bytes());
        self.buf.push(b'\n');
    }

    /// Returns whether the buffer is full.
    pub(crate) fn is_full(&self) -> bool {
        self.buf.len() >= FLUSH_BYTES
    }

    /// Returns how many bytes were added, written or not.
    pub(crate) fn accepted(&self) -> u64 {
        self.sink.written() + self.buf.len() as u64
    }

    /// Writes the buffered lines. Returns whether all of them were written; if not, the reader
    /// did not read in time.
    ///
    /// # Errors
    /// See [`StdoutSink::write`].
    pub(crate) fn write(&mut self, stops: &StopConditions, until: Option<Instant>) -> Result<bool> {
        let done = self.sink.write(&self.buf, stops, until)?;
        self.buf.drain(..done);
        Ok(self.buf.is_empty())
    }
}

/// Returns whether stdout is a file opened for appending that does not end in a whole line.
fn is_torn() -> io::Result<bool> {
    let appends = fcntl_getfl(io::stdout())?.contains(OFlags::APPEND);
    let stat = fstat(io::stdout())?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let Some(last) = (stat.st_size as u64).checked_sub(1) else {
        return Ok(false);
    };
    if !appends || !is_file {
        return Ok(false);
    }
    // Stdout is open only for writing.
    let file = File::open("/dev/stdout")?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}
