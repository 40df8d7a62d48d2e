//! JSON Lines, for programs.

use std::io;
use std::io::Write;

use serde::Serialize;

use super::run_diff::RunDiff;
use super::run_record::RunRecord;
use crate::render::human::table::StyledCell;
use crate::render::{Format, Row};

/// Writes one line of JSON.
///
/// # Errors
/// `out` cannot be written.
pub fn json_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    // Handed over at once: it is made of very small pieces.
    let mut line = Vec::with_capacity(1 << 10);
    serde_json::to_writer(&mut line, value)?;
    line.push(b'\n');
    out.write_all(&line)
}

/// One run is one line of JSON.
#[derive(Debug, Clone, Copy)]
pub struct JsonLines;

impl Format for JsonLines {
    fn row(&self, run: &RunRecord) -> io::Result<Row> {
        Ok(Row {
            cells: vec![StyledCell::plain(serde_json::to_string(run)?)],
        })
    }

    fn rows(&self, out: &mut dyn Write, rows: &[Row]) -> io::Result<()> {
        for line in rows.iter().flat_map(|row| &row.cells) {
            out.write_all(line.text.as_bytes())?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn run(&self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        json_line(out, run)
    }

    fn diff(&self, out: &mut dyn Write, diff: &RunDiff) -> io::Result<()> {
        json_line(out, diff)
    }
}
