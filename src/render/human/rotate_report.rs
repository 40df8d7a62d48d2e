//! The report of `runlog rotate`, for people.

use std::io;
use std::io::Write;

use super::format::{count, size};
use super::style::Style;
use crate::log::NotRotated;
use crate::render::json::execution::Execution;
use crate::render::json::rotate_report::{RotateReport, SealedReport};

/// Whether to print a line for a run without changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unchanged {
    /// A line is printed, because the command line names the run.
    Shown,
    /// No line is printed, because the command applies to all runs.
    Hidden,
}

/// Writes a line for each change to a run.
///
/// # Errors
/// `out` cannot be written.
pub fn rotate_lines(
    out: &mut dyn Write,
    report: &RotateReport,
    unchanged: Unchanged,
    style: Style,
) -> io::Result<()> {
    let mut lines = Vec::new();
    match (&report.sealed, report.not_rotated) {
        (Some(SealedReport::Done(sealed)), _) => {
            lines.push(format!("sealed {} ({})", sealed.file, size(sealed.bytes)));
        }
        (Some(SealedReport::Would { bytes }), _) => {
            lines.push(format!("{} would be sealed", size(*bytes)));
        }
        (None, Some(why)) if unchanged == Unchanged::Shown || why == NotRotated::Foreign => {
            lines.push(format!("not rotated: {why}"));
        }
        (None, _) => {}
    }
    for segment in &report.compressed {
        let from = size(segment.bytes);
        lines.push(match segment.compressed_bytes.map(size) {
            Some(to) => format!("compressed {} ({from} to {to})", segment.file),
            None => format!("{from} would be compressed to {}", segment.file),
        });
    }
    if !report.dropped.is_empty() {
        let bytes = report.dropped.iter().map(|segment| segment.bytes).sum();
        let segments = count(report.dropped.len() as u64, "segment");
        let dropped = match report.execution {
            Execution::DryRun => "would be dropped",
            Execution::Apply => "dropped",
        };
        lines.push(format!("{segments} {dropped} ({})", size(bytes)));
    }
    let run = style.faint(report.run_id.as_str());
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{run}  {line}"))
}
