//! The line that reports missing events, in output for people.

use super::format::precise_time;
use super::style::{Role, Style};
use crate::render::json::gap_report::GapReport;

/// Returns the line for a gap, aligned with the lines of events.
pub fn gap_line(report: &GapReport<'_>, style: Style) -> String {
    let glyph = style.glyphs.pick("✗", "x");
    let gap = style.paint(Role::Bad, &format!("{:14}", format!("{glyph} gap")));
    let ts = style.faint(&precise_time(report.ts));
    let seq = style.faint("    -");
    format!("{ts} {seq}  {gap}  {}", report.message)
}
