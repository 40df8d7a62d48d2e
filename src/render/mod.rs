//! What the commands print: one trait, one file for each format. Tables are for people;
//! JSON Lines have the same shape in every mode.

mod as_omne;
mod as_runtimo;
mod collection;
mod columns;
mod diff;
mod event_line;
pub mod export;
mod gap;
mod json_lines;
mod line;
mod live;
mod people;
mod printed;
mod recovery;
mod report;
mod rotation;
mod steps;
mod story;
mod text;
pub mod verdict;

use std::io::{self, Write};

pub use as_omne::AsOmne;
pub use as_runtimo::AsRuntimo;
pub use collection::{GcAction, GcReport, GcTotal};
pub use diff::{JobDiff, RunDiff};
pub use event_line::{event_line, line_time};
pub use gap::GapReport;
pub use json_lines::{JsonLines, json_line};
pub use live::{JOBS_SHOWN, JobNow, ListFrame, OUTPUT_SHOWN, RunFrame, RunNow, WatchedRun};
pub use people::People;
pub use printed::Printed;
pub use recovery::{RecoveryReport, UndoReport};
pub use report::{At, JobReport, Retirement, RunReport};
pub use rotation::{RotateReport, SealedReport};
pub use story::Story;
pub use text::{Style, safe, show_times_in};

/// One of several runs, as it is shown. It is made where the run is looked at, so that
/// nothing else is kept of ten thousand of them.
#[derive(Debug)]
pub struct Row {
    cells: Vec<columns::Toned>,
}

/// A way to show runs.
pub trait Format: Sync {
    /// What is shown of one of several runs.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    fn row(&self, run: &RunReport) -> io::Result<Row>;

    /// Several runs, oldest first.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn rows(&self, out: &mut dyn Write, rows: &[Row]) -> io::Result<()>;

    /// One run in detail.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn run(&self, out: &mut dyn Write, run: &RunReport) -> io::Result<()>;

    /// Two runs compared.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn diff(&self, out: &mut dyn Write, diff: &RunDiff) -> io::Result<()>;
}
