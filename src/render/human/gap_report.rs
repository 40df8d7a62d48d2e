//! The line that reports missing events, in output for people.

use super::event_line::gap_name;
use super::format::precise_time;
use super::style::Style;
use crate::render::json::gap_report::GapReport;

/// Returns the line for a gap, aligned with the lines of events.
pub fn gap_line(report: &GapReport<'_>, style: Style) -> String {
    let gap = gap_name(style);
    let ts = style.faint(&precise_time(report.ts));
    let seq = style.faint("    -");
    format!("{ts} {seq}  {gap}  {}", report.message)
}
