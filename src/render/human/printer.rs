//! Runs as tables, for people.

use std::io;
use std::io::Write;

use super::diff_table::write_diff;
use super::run_detail::write_run;
use super::run_table::{run_row, write_runs};
use super::style::Style;
use super::table::StyledCell;
use crate::render::json::run_diff::RunDiff;
use crate::render::json::run_printer::RunPrinter;
use crate::render::json::run_record::RunRecord;

/// A printer of runs as tables.
#[derive(Debug, Clone, Copy)]
pub struct Human(pub Style);

impl RunPrinter for Human {
    type Row = Vec<StyledCell>;

    fn row(&self, run: &RunRecord) -> io::Result<Vec<StyledCell>> {
        Ok(run_row(run, self.0))
    }

    fn list(&self, out: &mut dyn Write, rows: &[Vec<StyledCell>]) -> io::Result<()> {
        write_runs(out, rows, self.0)
    }

    fn run(&self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        write_run(out, run, self.0)
    }

    fn diff(&self, out: &mut dyn Write, diff: &RunDiff) -> io::Result<()> {
        write_diff(out, diff, self.0)
    }
}
