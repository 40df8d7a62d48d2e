//! Prints output as lines, each with its run, job, and time, and selects them by time.

use std::collections::HashMap;
use std::io;
use std::io::Write;

use jiff::Timestamp;

use crate::cli::context::Global;
use crate::cli::tail::args::Args;
use crate::job::PrintedChunk;
use crate::log::StreamId;
use crate::render::{Style, sanitized_line};
use crate::volume::{JobId, RunId, format_ts};

/// The maximum number of bytes of a line to hold. The rest starts a new line.
const MAX_LINE_BYTES: usize = 64 << 10;
/// The widest source that lines are aligned for.
const MAX_ALIGNED: usize = 60;
/// The text for an unknown time.
const NO_TIME: &str = "-";

/// The stream that a line comes from.
type Source = (RunId, JobId, Option<StreamId>);

/// A line that is not complete yet.
#[derive(Debug, Default)]
struct PartialLine {
    /// The time at which its first bytes were stored.
    ts: Option<Timestamp>,
    bytes: Vec<u8>,
}

/// Prints output line by line.
pub(super) struct OutputLines {
    style: Style,
    /// Whether lines go to a terminal, which must not interpret them.
    sanitized: bool,
    several: bool,
    timestamps: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    width: usize,
    /// The number of each job, which decides its color.
    numbers: HashMap<(RunId, JobId), usize>,
    next_number: usize,
    partial: HashMap<Source, PartialLine>,
}

impl OutputLines {
    pub(super) fn new(args: &Args, global: &Global) -> Self {
        Self {
            style: global.style(),
            sanitized: global.sanitizer().is_some(),
            several: args.all || args.runs.len() > 1,
            timestamps: args.timestamps,
            since: args.since,
            until: args.until_time(),
            width: 0,
            numbers: HashMap::new(),
            next_number: 0,
            partial: HashMap::new(),
        }
    }

    /// Prints the lines that a chunk completes.
    pub(super) fn chunk(
        &mut self,
        out: &mut dyn Write,
        run: &RunId,
        job: &JobId,
        chunk: PrintedChunk<'_>,
    ) -> io::Result<()> {
        let source = (run.clone(), job.clone(), chunk.stream);
        let mut line = self.partial.remove(&source).unwrap_or_default();
        for piece in chunk.bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in piece.chunks(MAX_LINE_BYTES) {
                if line.bytes.is_empty() {
                    line.ts = chunk.ts;
                }
                line.bytes.extend_from_slice(piece);
                if piece.ends_with(b"\n") || line.bytes.len() >= MAX_LINE_BYTES {
                    self.print(out, &source, &line)?;
                    line.bytes.clear();
                }
            }
        }
        if !line.bytes.is_empty() {
            self.partial.insert(source, line);
        }
        Ok(())
    }

    /// Prints the incomplete lines of a run that has ended.
    pub(super) fn end(&mut self, out: &mut dyn Write, run: &RunId) -> io::Result<()> {
        let mut sources: Vec<Source> = self.partial.keys().cloned().collect();
        sources.retain(|(of, _, _)| of == run);
        sources.sort_by(|a, b| {
            (&a.1, a.2.map(StreamId::as_str)).cmp(&(&b.1, b.2.map(StreamId::as_str)))
        });
        for source in sources {
            if let Some(line) = self.partial.remove(&source) {
                self.print(out, &source, &line)?;
            }
        }
        self.numbers.retain(|(of, _), _| of != run);
        Ok(())
    }

    fn print(
        &mut self,
        out: &mut dyn Write,
        source: &Source,
        line: &PartialLine,
    ) -> io::Result<()> {
        let is_before =
            |limit: Option<Timestamp>| line.ts.zip(limit).is_some_and(|(ts, limit)| ts < limit);
        let is_after =
            |limit: Option<Timestamp>| line.ts.zip(limit).is_some_and(|(ts, limit)| ts > limit);
        if is_before(self.since) || is_after(self.until) {
            return Ok(());
        }
        let (run, job, stream) = source;
        if self.several {
            let label = format!("{run}/{job}");
            self.width = self.width.max(label.len().min(MAX_ALIGNED));
            let number = self.numbers.entry((run.clone(), job.clone()));
            let number = *number.or_insert_with(|| {
                self.next_number += 1;
                self.next_number - 1
            });
            let prefix = format!("{label:<width$} |", width = self.width);
            let prefix = self.style.numbered(number, &prefix);
            write!(out, "{prefix} ")?;
        }
        if self.timestamps {
            let time = line.ts.map_or_else(|| NO_TIME.to_owned(), format_ts);
            write!(out, "{} ", self.style.faint(&time))?;
        }
        let ends = line.bytes.ends_with(b"\n");
        if self.sanitized {
            let text = sanitized_line(self.style, *stream, &line.bytes);
            out.write_all(text.as_bytes())?;
        } else {
            out.write_all(line.bytes.strip_suffix(b"\n").unwrap_or(&line.bytes))?;
        }
        if ends || self.several || self.timestamps {
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}
