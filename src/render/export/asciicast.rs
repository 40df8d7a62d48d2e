//! asciicast v2 for `asciinema play`: the jobs' output at its original pace, with a marker at
//! the start of each job.
//!
//! "asciicast v2": a header, then a line for each event, `[seconds, "o", text]`. Jobs write to
//! pipes, but a terminal needs `\r\n`.

use std::collections::HashMap;
use std::io;
use std::io::Write;

use jiff::Timestamp;
use serde_json::json;

use super::utf8_decoder::Utf8Decoder;
use crate::log::{Item, RunState, SteadyTime, StreamId};
use crate::render::export::spans::run_end;
use crate::render::export::transitions::{TransitionKind, Transitions};
use crate::render::export::{Export, OutputChunk};
use crate::render::human::event_line::line_time;
use crate::render::json::json_lines::json_line;
use crate::render::json::run_record::RunRecord;

/// The size of the recorded terminal. Jobs that write to pipes have no terminal, so the size is
/// arbitrary.
const TERMINAL_SIZE: (u32, u32) = (100, 30);

/// A stream of a job.
type Source = (String, Option<StreamId>);

/// A writer of a recording.
#[derive(Debug, Default)]
pub struct Asciicast {
    transitions: Transitions,
    time: SteadyTime,
    /// When the run started.
    start: Option<Timestamp>,
    /// The wall-clock time of the last line.
    last: Option<Timestamp>,
    /// The playback time of the last line in seconds, which never decreases.
    at: f64,
    has_header: bool,
    streams: HashMap<Source, Utf8Decoder>,
    /// Whether the last character was a `\r`.
    after_cr: bool,
}

impl Asciicast {
    fn header(&mut self, out: &mut dyn Write, title: &str) -> io::Result<()> {
        if std::mem::replace(&mut self.has_header, true) {
            return Ok(());
        }
        let (width, height) = TERMINAL_SIZE;
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
        if let Some(ts) = ts {
            // Add up the pauses, so that pauses after the clock was set back still count.
            let pause = self
                .last
                .map_or(0.0, |last| ts.duration_since(last).as_secs_f64());
            self.at += pause.max(0.0);
            self.last = Some(ts);
        }
        // Round to microseconds, the precision of the log.
        let at = (self.at * 1e6).round() / 1e6;
        json_line(out, &json!([at, code, text]))
    }

    /// Returns the text with a `\r` before each `\n`.
    fn with_carriage_returns(&mut self, text: &str) -> String {
        let mut lines = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            if c == '\n' && !self.after_cr {
                lines.push('\r');
            }
            lines.push(c);
            self.after_cr = c == '\r';
        }
        lines
    }
}

impl Export for Asciicast {
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()> {
        let (Item::Event(_, line) | Item::Foreign(_, line)) = item else {
            return Ok(());
        };
        let ts = self.time.event(line).or_else(|| line_time(line));
        self.start = self.start.or(ts);
        self.last = self.last.or(ts);
        let title = match &*run.name {
            "" => "runlog",
            name => name,
        };
        self.header(out, title)?;
        for transition in self.transitions.classify(item, run) {
            if let TransitionKind::Started(job) = transition.what {
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

    fn output(&mut self, out: &mut dyn Write, chunk: OutputChunk<'_>) -> io::Result<()> {
        let stream = self.streams.entry((chunk.job.to_owned(), chunk.stream));
        let text = stream.or_default().push(chunk.bytes);
        if text.is_empty() {
            return Ok(());
        }
        let text = self.with_carriage_returns(&text);
        self.line(out, chunk.ts, "o", &text)
    }

    fn end(&mut self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        self.header(out, &run.name)?;
        let mut left: Vec<_> = self.streams.values_mut().map(Utf8Decoder::finish).collect();
        left.retain(|text| !text.is_empty());
        for text in left {
            self.line(out, None, "o", &text)?;
        }
        // Make the recording as long as the run, including the wait at its end.
        let closed = self.start.and_then(|start| run_end(run, start));
        match closed {
            Some(_) => self.line(out, closed, "m", run.state.as_str()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::parse_ts;

    #[test]
    fn pauses_survive_clock_set_back() {
        let mut cast = Asciicast::default();
        let mut out = Vec::new();
        for ts in ["10:00:00.0", "10:00:01.0", "08:00:01.5", "08:00:03.5"] {
            let ts = parse_ts(&format!("2026-11-21T{ts}00000Z"));
            cast.line(&mut out, ts, "o", "x").unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        let times: Vec<_> = text
            .lines()
            .filter_map(|line| line.split(',').next())
            .collect();
        assert_eq!(times, ["[0.0", "[1.0", "[1.0", "[3.0"]);
    }
}
