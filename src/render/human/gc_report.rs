//! The report of `runlog gc`, for people.

use std::io;
use std::io::Write;

use super::format::{count, size};
use super::style::escape_controls;
use crate::render::json::execution::Execution;
use crate::render::json::gc_report::{GcAction, GcReport};

/// Writes the line for a removal.
///
/// # Errors
/// `out` cannot be written.
pub fn gc_line(out: &mut dyn Write, report: &GcReport) -> io::Result<()> {
    let what = match (&report.file, report.state) {
        (Some(file), _) => format!("{} of run {}", escape_controls(file), report.run_id),
        (None, Some(state)) => format!("run {}, {}", report.run_id, state.as_str()),
        (None, None) => format!("run {}", report.run_id),
    };
    let verb = match report.execution {
        Execution::DryRun => "would remove",
        Execution::Apply => "removed",
    };
    let (size, why) = (size(report.bytes), escape_controls(&report.why));
    writeln!(out, "{verb} {what}, {size}: {why}")
}

/// The number of removals by kind.
#[derive(Debug, Default)]
pub struct GcTotal {
    runs: u64,
    segments: u64,
    leftovers: u64,
    bytes: u64,
}

impl GcTotal {
    /// Counts the action in a report if it is a removal.
    pub fn add(&mut self, report: &GcReport) {
        match report.action {
            GcAction::Remove => self.runs += 1,
            GcAction::Drop => self.segments += 1,
            GcAction::Finish => self.leftovers += 1,
            GcAction::Keep | GcAction::Skip | GcAction::Fail => return,
        }
        self.bytes += report.bytes;
    }

    /// Writes the last line.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write(&self, out: &mut dyn Write, execution: Execution) -> io::Result<()> {
        let counts = [
            (self.runs, "run"),
            (self.segments, "segment"),
            (self.leftovers, "leftover"),
        ];
        let some = counts.iter().filter(|(n, _)| *n > 0);
        let what: Vec<_> = some.map(|(n, noun)| count(*n, noun)).collect();
        if what.is_empty() {
            return writeln!(out, "nothing to remove");
        }
        let removed = match execution {
            Execution::DryRun => "would be removed",
            Execution::Apply => "removed",
        };
        writeln!(out, "{} {removed}, {}", what.join(", "), size(self.bytes))
    }
}
