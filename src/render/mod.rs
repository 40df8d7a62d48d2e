//! What the commands print: one trait, one file for each format. Tables are for people;
//! JSON Lines have the same shape in every mode.

pub mod export;
pub(crate) mod human;
pub(crate) mod interop;
pub(crate) mod json;
pub(crate) mod live;

use std::io;
use std::io::Write;

pub use crate::render::human::event_line::{event_line, line_time};
pub use crate::render::human::sanitize::Sanitizer;
pub use crate::render::human::tables::Human;
pub use crate::render::human::text::{Style, escape_controls, set_time_zone};
pub use crate::render::human::timeline::Timeline;
pub use crate::render::interop::as_omne::AsOmne;
pub use crate::render::interop::as_runtimo::AsRuntimo;
pub use crate::render::json::gap_report::GapReport;
pub use crate::render::json::gc_report::{GcAction, GcReport, GcTotal};
pub use crate::render::json::json_lines::{JsonLines, json_line};
pub use crate::render::json::recover_report::{RecoveryReport, UndoReport};
pub use crate::render::json::rotate_report::{RotateReport, SealedReport};
pub use crate::render::json::run_diff::{JobDiff, RunDiff};
pub use crate::render::json::run_record::{JobRecord, Removal, ReportedAt, RunRecord};
pub use crate::render::live::run_list::{ListFrame, RunNow};
pub use crate::render::live::run_view::RunFrame;
pub use crate::render::live::{JOBS_SHOWN, JobNow, OUTPUT_SHOWN, WatchedRun};

/// One of several runs, as it is shown. It is made where the run is looked at, so that
/// nothing else is kept of ten thousand of them.
#[derive(Debug)]
pub struct Row {
    cells: Vec<human::table::StyledCell>,
}

/// A way to show runs.
pub trait Format: Sync {
    /// What is shown of one of several runs.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    fn row(&self, run: &RunRecord) -> io::Result<Row>;

    /// Several runs, oldest first.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn rows(&self, out: &mut dyn Write, rows: &[Row]) -> io::Result<()>;

    /// One run in detail.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn run(&self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()>;

    /// Two runs compared.
    ///
    /// # Errors
    /// `out` cannot be written.
    fn diff(&self, out: &mut dyn Write, diff: &RunDiff) -> io::Result<()>;
}
