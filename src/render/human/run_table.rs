//! A list of runs as a table.

use std::io;
use std::io::Write;

use super::format::{duration, local_time};
use super::style::{Role, Style, status_glyph};
use super::table::{Column, Fit, Layout, StyledCell};
use crate::job::RunStatus;
use crate::render::json::run_record::RunRecord;

const COLUMNS: [Column; 7] = [
    Column::text("RUN", Fit::Whole),
    Column::text("STATE", Fit::Whole),
    Column::text("JOBS", Fit::Drop(1)),
    Column::text("OPENED", Fit::Drop(2)),
    Column::number("DURATION", Fit::Drop(3)),
    Column::number("EVENTS", Fit::Drop(0)),
    Column::text("RETIRED", Fit::Drop(4)),
];

/// Returns the cells of a run.
pub(crate) fn run_row(run: &RunRecord, style: Style) -> Vec<StyledCell> {
    let (glyph, role) = status_glyph(run.state, style.glyphs);
    let faint = |text| StyledCell::new(Role::Faint, text);
    let mut cells = vec![
        StyledCell::plain(run.run_id.as_str()),
        StyledCell::new(role, format!("{glyph} {}", run.state.as_str())),
        jobs_cell(run.jobs_total, run.jobs_failed),
        faint(run.opened_ts.map(local_time).unwrap_or_default()),
        StyledCell::plain(run_duration(run, style)),
        StyledCell::plain(run.events.to_string()),
    ];
    let retired = run.retired.as_ref().map(|r| local_time(r.retired_ts));
    cells.extend(retired.map(faint));
    cells
}

fn run_duration(run: &RunRecord, style: Style) -> String {
    let mark = match run.state {
        RunStatus::Running => style.glyphs.ellipsis(),
        _ => "",
    };
    let text = run.duration_ms.map(|ms| format!("{}{mark}", duration(ms)));
    text.unwrap_or_default()
}

/// Returns the cell with the numbers of all jobs and of failed jobs.
pub(crate) fn jobs_cell(total: usize, failed: usize) -> StyledCell {
    match failed {
        0 => StyledCell::plain(total.to_string()),
        n => StyledCell::new(Role::Bad, format!("{total} ({n} failed)")),
    }
}

/// Writes the table.
///
/// # Errors
/// `out` cannot be written.
pub(crate) fn write_runs(
    out: &mut dyn Write,
    rows: &[Vec<StyledCell>],
    style: Style,
) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    // Only removed runs have the last column.
    let columns = rows.iter().map(Vec::len).max().unwrap_or(COLUMNS.len());
    let columns = COLUMNS.get(..columns).unwrap_or(&COLUMNS);
    let rows = || rows.iter().map(Vec::as_slice);
    Layout::new(style, columns, &rows()).write(out, rows())
}
