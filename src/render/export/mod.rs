//! A whole run, written for another program: one trait, one file for each format.

mod asciicast;
mod chrome_trace;
mod csv;
mod github;
mod html;
mod junit;
mod kept;
mod markdown;
mod otlp;
mod prometheus;
mod series;
mod spans;

use std::io::{self, Write};

use jiff::Timestamp;

use super::report::RunReport;
use crate::job::StreamId;
use crate::log::{Item, RunState};

pub use asciicast::Asciicast;
pub use chrome_trace::ChromeTrace;
pub use csv::{CsvEvents, csv_jobs};
pub use github::Github;
pub use html::Html;
pub use junit::Junit;
pub use markdown::{Markdown, markdown};
pub use otlp::Otlp;
pub use prometheus::{Prometheus, prometheus};

/// Part of what a job printed.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// The job.
    pub job: &'a str,
    /// The stream, where it is known.
    pub stream: Option<StreamId>,
    /// When it was stored, where that is known.
    pub ts: Option<Timestamp>,
    /// The bytes: they may end anywhere, also inside of a character.
    pub bytes: &'a [u8],
}

/// Writes a run while it is read.
pub trait Export {
    /// Takes what comes next in the log; `run` is the state with it.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()>;

    /// Whether [`Export::output`] is to be called.
    fn wants_output(&self) -> bool {
        false
    }

    /// Takes what a job printed, between the events where it came.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn output(&mut self, _out: &mut dyn Write, _piece: Piece<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Everything was read; `run` is what became of it.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn end(&mut self, _out: &mut dyn Write, _run: &RunReport) -> io::Result<()> {
        Ok(())
    }
}
