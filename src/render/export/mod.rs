//! A whole run in another format: one trait, one file for each format.

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

/// Part of what a job printed.
#[derive(Debug, Clone, Copy)]
pub struct OutputChunk<'a> {
    /// The job.
    pub job: &'a str,
    /// The stream, if known.
    pub stream: Option<StreamId>,
    /// When it was stored, if known.
    pub ts: Option<Timestamp>,
    /// The bytes. They may end anywhere, also within a character.
    pub bytes: &'a [u8],
}

/// Writes a run while it is read.
pub trait Export {
    /// Writes the next item of the log; `run` is the state including it.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()>;

    /// Reports whether [`Export::output`] is to be called.
    fn wants_output(&self) -> bool {
        false
    }

    /// Writes output of a job, between the events where it arrived.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn output(&mut self, _out: &mut dyn Write, _chunk: OutputChunk<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Writes the end, once everything was read.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn end(&mut self, _out: &mut dyn Write, _run: &RunRecord) -> io::Result<()> {
        Ok(())
    }
}
