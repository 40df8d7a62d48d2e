//! JSON Lines, for programs.

use std::io::{self, Write};

use super::{Format, RunDiff, RunReport};

/// One run is one line of JSON.
#[derive(Debug, Clone, Copy)]
pub struct JsonLines;

impl Format for JsonLines {
    fn runs(&self, out: &mut dyn Write, runs: &[RunReport]) -> io::Result<()> {
        runs.iter().try_for_each(|run| self.run(out, run))
    }

    fn run(&self, out: &mut dyn Write, run: &RunReport) -> io::Result<()> {
        serde_json::to_writer(&mut *out, run)?;
        out.write_all(b"\n")
    }

    fn diff(&self, out: &mut dyn Write, diff: &RunDiff) -> io::Result<()> {
        serde_json::to_writer(&mut *out, diff)?;
        out.write_all(b"\n")
    }
}
