//! A line that a search found, with its matches highlighted.

use std::borrow::Cow;
use std::io;
use std::io::Write;
use std::ops::Range;

use super::event_line::{event_details, event_kind, event_name, parse_event};
use super::format::precise_time;
use super::sanitize::sanitize;
use super::style::{Role, Style, escape_controls};
use crate::job::{FoundLine, LineKind, LinePattern};
use crate::volume::RunId;

/// How many bytes around a match to show if the event's text for people does not contain it.
const EXCERPT_BYTES: usize = 40;

/// The treatment of a job's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputBytes {
    /// Output is made safe for a terminal.
    Sanitized,
    /// Output is not changed.
    Raw,
}

/// A writer of lines that a search found.
#[derive(Debug, Clone, Copy)]
pub struct FoundLines<'a> {
    /// The pattern of the search.
    pub pattern: &'a LinePattern,
    /// The style of text.
    pub style: Style,
    /// The treatment of output.
    pub output: OutputBytes,
}

impl FoundLines<'_> {
    /// Writes a line of a run's output: `run job time line`.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write_output(
        &self,
        out: &mut dyn Write,
        run: &RunId,
        found: &FoundLine<'_>,
    ) -> io::Result<()> {
        let line: Cow<'_, [u8]> = match self.output {
            OutputBytes::Raw => found.bytes.into(),
            OutputBytes::Sanitized => shown_line(found, self.pattern).into_bytes().into(),
        };
        self.write_origin(out, run, found)?;
        self.write_highlighted(out, &line)?;
        out.write_all(b"\n")
    }

    /// Writes an event of a run: `run job time event`.
    ///
    /// The search matches the stored line. If the text for people does not contain the match, an
    /// excerpt of that line is shown.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write_event(
        &self,
        out: &mut dyn Write,
        run: &RunId,
        found: &FoundLine<'_>,
    ) -> io::Result<()> {
        let text = event_text(found.bytes, self.style);
        self.write_origin(out, run, found)?;
        self.write_highlighted(out, text.as_bytes())?;
        if found.kind == LineKind::Match
            && self.pattern.matches(text.as_bytes()).is_empty()
            && let Some(at) = self.pattern.matches(found.bytes).first()
        {
            let excerpt = excerpt(found.bytes, at, self.style);
            out.write_all(b"  ")?;
            self.write_highlighted(out, excerpt.as_bytes())?;
        }
        out.write_all(b"\n")
    }

    fn write_origin(
        &self,
        out: &mut dyn Write,
        run: &RunId,
        found: &FoundLine<'_>,
    ) -> io::Result<()> {
        let job = found.origin.job.as_ref();
        let job = job.map_or("-", |job| job.as_str());
        let ts = found.origin.ts.map_or("-".to_owned(), precise_time);
        let origin = self.style.faint(&format!("{run} {job} {ts}"));
        write!(out, "{origin} ")
    }

    fn write_highlighted(&self, out: &mut dyn Write, line: &[u8]) -> io::Result<()> {
        let mut done = 0;
        if self.style.color {
            for at in self.pattern.matches(line) {
                let matched = String::from_utf8_lossy(line.get(at.clone()).unwrap_or_default());
                out.write_all(line.get(done..at.start).unwrap_or_default())?;
                out.write_all(self.style.paint(Role::Match, &matched).as_bytes())?;
                done = at.end;
            }
        }
        out.write_all(line.get(done..).unwrap_or_default())
    }
}

/// Returns a line as a terminal would show it. If that overwrites the match, the control
/// characters that overwrite it are escaped instead.
fn shown_line(found: &FoundLine<'_>, pattern: &LinePattern) -> String {
    let shown = sanitize(found.bytes);
    if found.kind == LineKind::Match && pattern.matches(shown.as_bytes()).is_empty() {
        return escape_controls(&String::from_utf8_lossy(found.bytes)).into_owned();
    }
    shown
}

fn event_text(line: &[u8], style: Style) -> String {
    let Some(event) = parse_event(line) else {
        return escape_controls(&String::from_utf8_lossy(line)).into_owned();
    };
    let kind = event_kind(&event);
    let plain = Style {
        color: false,
        ..style
    };
    let text = format!(
        "{}  {}",
        event_name(kind, plain).trim_end(),
        event_details(kind, &event, plain)
    );
    text.trim_end().to_owned()
}

/// Returns the match with some of the text around it.
fn excerpt(line: &[u8], at: &Range<usize>, style: Style) -> String {
    let start = at.start.saturating_sub(EXCERPT_BYTES);
    let end = line.len().min(at.end.saturating_add(EXCERPT_BYTES));
    let ellipsis = |cut| if cut { style.glyphs.ellipsis() } else { "" };
    let part = String::from_utf8_lossy(line.get(start..end).unwrap_or_default());
    // Drop characters that were cut.
    let part = part.trim_matches('\u{fffd}');
    let (before, after) = (ellipsis(start > 0), ellipsis(end < line.len()));
    format!("{before}{}{after}", escape_controls(part))
}
