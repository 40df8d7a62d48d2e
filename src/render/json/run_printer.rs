//! Printing of runs, independent of the format.

use std::io;
use std::io::Write;

use super::run_diff::RunDiff;
use super::run_record::RunRecord;

/// A printer of runs in one format.
pub trait RunPrinter: Sync {
    /// A line of a list.
    ///
    /// It is created as soon as a run has been examined, so that nothing else of ten thousand
    /// runs stays in memory.
    type Row: Send;

    /// Returns the line for one of several runs.
    ///
    /// # Errors
    /// The run cannot be serialized.
    fn row(&self, run: &RunRecord) -> io::Result<Self::Row>;

    /// Writes a list of runs, oldest first.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn list(&self, out: &mut dyn Write, rows: &[Self::Row]) -> io::Result<()>;

    /// Writes one run in detail.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn run(&self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()>;

    /// Writes a comparison of two runs.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn diff(&self, out: &mut dyn Write, diff: &RunDiff) -> io::Result<()>;
}
