//! A whole run in another format: one trait, and one file for each format.

pub(crate) mod asciicast;
pub(crate) mod chrome_trace;
pub(crate) mod csv;
pub(crate) mod downsample;
pub(crate) mod github;
pub(crate) mod html;
pub(crate) mod junit;
pub(crate) mod markdown;
pub(crate) mod otlp;
pub(crate) mod output_tail;
pub(crate) mod page;
pub(crate) mod prometheus;
pub(crate) mod runs_page;
pub(crate) mod spans;
pub(crate) mod transitions;
pub(crate) mod utf8_decoder;

use std::io;
use std::io::Write;

use jiff::Timestamp;

use crate::log::{Item, RunState, StreamId};
use crate::render::json::run_record::RunRecord;

pub use crate::render::export::markdown::markdown;
pub use crate::render::export::prometheus::prometheus;
pub use crate::render::export::runs_page::{RunsPage, write_runs_page};

/// A part of a job's output.
#[derive(Debug, Clone, Copy)]
pub struct OutputChunk<'a> {
    /// The job.
    pub job: &'a str,
    /// The stream, if known.
    pub stream: Option<StreamId>,
    /// When it was stored, if known.
    pub ts: Option<Timestamp>,
    /// The bytes, which may end anywhere, even within a character.
    pub bytes: &'a [u8],
}

/// A format that is written while a run is read.
pub trait Export {
    /// Writes the next item of the log; `run` is the state including it.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()>;

    /// Returns whether the caller must call [`Export::output`].
    fn wants_output(&self) -> bool {
        false
    }

    /// Writes output of a job, between the events around its arrival.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn output(&mut self, _out: &mut dyn Write, _chunk: OutputChunk<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Writes the end, after everything was read.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn end(&mut self, _out: &mut dyn Write, _run: &RunRecord) -> io::Result<()> {
        Ok(())
    }
}
