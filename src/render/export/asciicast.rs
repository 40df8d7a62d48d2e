//! asciicast v2, which `asciinema play` shows: what the jobs printed at the pace at which
//! it came, with a marker where a job starts.
//!
//! "asciicast v2": a header, then a line for each event, `[seconds, "o", text]`. Jobs write
//! to pipes, and a terminal needs `\r\n`.

use std::collections::HashMap;
use std::io;
use std::io::Write;

use jiff::Timestamp;
use serde_json::json;

use super::output_tail::Utf8;
use crate::job::StreamId;
use crate::log::{Item, RunState};
use crate::render::export::transitions::{TransitionKind, Transitions};
use crate::render::export::{Export, OutputChunk};
use crate::render::human::event_line::line_time;
use crate::render::json::json_lines::json_line;
use crate::render::json::run_record::RunRecord;

/// The size of the terminal; what the jobs wrote to was none, so it is not known.
const SIZE: (u32, u32) = (100, 30);

/// A stream of a job.
type Source = (String, Option<StreamId>);

/// Writes a recording.
#[derive(Debug, Default)]
pub struct Asciicast {
    steps: Transitions,
    /// When the run began.
    start: Option<Timestamp>,
    /// The time of the last line, in seconds: it never goes back.
    at: f64,
    begun: bool,
    streams: HashMap<Source, Utf8>,
    /// The last character was a `\r`.
    after_cr: bool,
}

impl Asciicast {
    fn header(&mut self, out: &mut dyn Write, title: &str) -> io::Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let (width, height) = SIZE;
        let mut header = json!({
            "version": 2, "width": width, "height": height, "title": title,
        });
        if let (Some(start), Some(header)) = (self.start, header.as_object_mut()) {
            header.insert("timestamp".to_owned(), start.as_second().into());
        }
        json_line(out, &header)
    }

    fn line(
        &mut self,
        out: &mut dyn Write,
        ts: Option<Timestamp>,
        code: &str,
        text: &str,
    ) -> io::Result<()> {
        if let (Some(start), Some(ts)) = (self.start, ts) {
            let since = ts.duration_since(start).as_secs_f64();
            self.at = self.at.max(since);
        }
        // Microseconds, as the log has them.
        let at = (self.at * 1e6).round() / 1e6;
        json_line(out, &json!([at, code, text]))
    }

    /// With what a terminal needs at the end of a line.
    fn printed(&mut self, text: &str) -> String {
        let mut printed = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            if c == '\n' && !self.after_cr {
                printed.push('\r');
            }
            printed.push(c);
            self.after_cr = c == '\r';
        }
        printed
    }
}

impl Export for Asciicast {
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()> {
        let (Item::Event(_, line) | Item::Foreign(_, line)) = item else {
            return Ok(());
        };
        let ts = line_time(line);
        self.start = self.start.or(ts);
        let title = match &*run.name {
            "" => "runlog",
            name => name,
        };
        self.header(out, title)?;
        for step in self.steps.classify(item, run) {
            if let TransitionKind::Started(job) = step.what {
                let text = match job.attempt {
                    Some(n) if n > 1 => format!("{} (attempt {n})", job.job_id),
                    _ => job.job_id.to_string(),
                };
                self.line(out, ts, "m", &text)?;
            }
        }
        Ok(())
    }

    fn wants_output(&self) -> bool {
        true
    }

    fn output(&mut self, out: &mut dyn Write, piece: OutputChunk<'_>) -> io::Result<()> {
        let stream = self.streams.entry((piece.job.to_owned(), piece.stream));
        let text = stream.or_default().push(piece.bytes);
        if text.is_empty() {
            return Ok(());
        }
        let text = self.printed(&text);
        self.line(out, piece.ts, "o", &text)
    }

    fn end(&mut self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        self.header(out, &run.name)?;
        let mut left: Vec<_> = self.streams.values_mut().map(Utf8::rest).collect();
        left.retain(|text| !text.is_empty());
        for text in left {
            self.line(out, None, "o", &text)?;
        }
        // As long as the run: the wait at its end belongs to it.
        let closed = run.closed_ts;
        match closed {
            Some(_) => self.line(out, closed, "m", run.state.as_str()),
            None => Ok(()),
        }
    }
}
