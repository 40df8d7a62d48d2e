//! JSON Lines, for programs.

use std::io;
use std::io::Write;

use serde::Serialize;

use super::run_diff::RunDiff;
use super::run_printer::RunPrinter;
use super::run_record::RunRecord;

/// Writes a value as one line of JSON.
///
/// # Errors
/// `out` cannot be written.
pub fn json_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    // Serialization produces many small writes, so collect the line first.
    let mut line = Vec::with_capacity(1 << 10);
    serde_json::to_writer(&mut line, value)?;
    line.push(b'\n');
    out.write_all(&line)
}

/// A printer of runs as lines of JSON.
#[derive(Debug, Clone, Copy)]
pub struct JsonLines;

impl RunPrinter for JsonLines {
    type Row = String;

    fn row(&self, run: &RunRecord) -> io::Result<String> {
        Ok(serde_json::to_string(run)?)
    }

    fn list(&self, out: &mut dyn Write, rows: &[String]) -> io::Result<()> {
        rows.iter().try_for_each(|row| writeln!(out, "{row}"))
    }

    fn run(&self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        json_line(out, run)
    }

    fn diff(&self, out: &mut dyn Write, diff: &RunDiff) -> io::Result<()> {
        json_line(out, diff)
    }
}
