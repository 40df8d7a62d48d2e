//! The runs of a volume at one moment, running ones first, then the newest first.

use jiff::Timestamp;

use super::job_activity::{activity_line, millis_since, whole_seconds};
use super::progress::progress_bar;
use super::watched_run::{JobNow, WatchedRun};
use crate::job::RunStatus;
use crate::render::human::format::{count, duration, local_time};
use crate::render::human::run_table::jobs_cell;
use crate::render::human::sanitize::last_line;
use crate::render::human::style::{Role, Style, escape_controls, status_glyph};
use crate::render::human::styled_line::StyledLine;
use crate::render::human::table::{Column, Fit, Layout, StyledCell};

/// A run in the list.
#[derive(Debug)]
pub struct RunNow<'a> {
    /// The run.
    pub run: &'a WatchedRun,
    /// The unfinished job that started last.
    pub job: Option<JobNow>,
    /// The number of other unfinished jobs.
    pub others: usize,
    /// How long runs of this name usually take, in milliseconds.
    pub usual_ms: Option<u64>,
}

/// The runs of a volume at one moment.
#[derive(Debug)]
pub struct ListFrame<'a> {
    /// The volume.
    pub volume: String,
    /// The moment.
    pub now: Timestamp,
    /// The first of the selected runs, in display order: at least as many as the screen has
    /// lines.
    pub runs: Vec<RunNow<'a>>,
    /// The number of selected runs.
    pub total: usize,
    /// The number of selected runs in each state.
    pub states: Vec<(RunStatus, usize)>,
    /// The number of warnings, which are printed when the view ends.
    pub warnings: usize,
}

const COLUMNS: [Column; 5] = [
    Column::text("RUN", Fit::CutLast(12)),
    Column::text("STATE", Fit::Whole),
    Column::text("JOBS", Fit::Drop(0)),
    Column::text("OPENED", Fit::Drop(1)),
    Column::number("DURATION", Fit::Drop(2)),
];
/// The indentation of lines that belong to the run above them.
const INDENT: &str = "   ";

impl ListFrame<'_> {
    /// Returns the lines of a screen with this many rows and the width of the style.
    pub fn lines(&self, style: Style, rows: usize) -> Vec<String> {
        let columns = usize::from(style.width.unwrap_or(u16::MAX));
        let mut lines = vec![self.title(style).fit(style, columns)];
        let mut add = |role, text: String| {
            lines.push(StyledLine::with_role(role, text).fit(style, columns));
        };
        if self.warnings > 0 {
            let warnings = count(self.warnings as u64, "warning");
            add(Role::Bad, format!("! {warnings}, shown at the end"));
        }
        if self.runs.is_empty() {
            add(Role::Faint, "no run to show yet".to_owned());
        } else {
            // All rows except the lines above, the header and the last line.
            let room = rows.saturating_sub(lines.len() + 2).max(1);
            self.table(style, room, &mut lines);
        }
        lines.truncate(rows);
        lines
    }

    fn title(&self, style: Style) -> StyledLine {
        let at = local_time(self.now);
        // Omit the date, because the rows have it.
        let at = at.split(' ').next_back().unwrap_or_default().to_owned();
        let mut line = StyledLine::with_role(Role::Faint, at);
        line.push(Role::Plain, "  ");
        line.push(Role::Strong, escape_controls(&self.volume));
        let mut gap = "  ";
        for (state, n) in self.states.iter().filter(|(_, n)| *n > 0) {
            let (_, role) = status_glyph(*state, style.glyphs);
            line.push(Role::Plain, std::mem::replace(&mut gap, ", "));
            line.push(role, format!("{n} {}", state.as_str()));
        }
        line
    }

    /// Adds as many runs as fit. The runs themselves come first, then their activity, then their
    /// last output.
    fn table(&self, style: Style, room: usize, lines: &mut Vec<String>) {
        let columns = usize::from(style.width.unwrap_or(u16::MAX));
        let running = |run: &&RunNow<'_>| run.run.state == RunStatus::Running;
        let running = self.runs.iter().filter(running).count();
        // Keep some of the other runs visible.
        let others = self.runs.len().saturating_sub(running).min(room / 3);
        let room_each = (room - others).checked_div(running).unwrap_or(room);
        let rows: Vec<(&RunNow<'_>, [StyledCell; COLUMNS.len()])> = self
            .runs
            .iter()
            .take(room)
            .map(|run| (run, self.cells(run, style)))
            .collect();
        let cells = rows.iter().map(|(_, cells)| cells.as_slice());
        let layout = Layout::new(style, &COLUMNS, &cells);
        lines.push(layout.header());
        let mut shown = 0;
        let mut left = room;
        for (run, cells) in &rows {
            if left == 0 {
                break;
            }
            let more = room_each.min(left).saturating_sub(1);
            let more = self.activity(run, style).into_iter().take(more);
            let before = lines.len();
            lines.push(layout.row(cells));
            lines.extend(more.map(|line| line.prefixed(INDENT).fit(style, columns)));
            left -= lines.len() - before;
            shown += 1;
        }
        let quit = "q: quit";
        let text = match self.total.saturating_sub(shown) {
            0 => quit.to_owned(),
            more => format!("{} {more} more   {quit}", style.glyphs.ellipsis()),
        };
        lines.push(StyledLine::with_role(Role::Faint, text).fit(style, columns));
    }

    fn cells(&self, run: &RunNow<'_>, style: Style) -> [StyledCell; COLUMNS.len()] {
        let run = run.run;
        let (glyph, role) = status_glyph(run.state, style.glyphs);
        let took = match (run.duration_ms, self.elapsed(run)) {
            (Some(ms), _) => duration(ms),
            (None, Some(ms)) => format!("{}{}", whole_seconds(ms), style.glyphs.ellipsis()),
            (None, None) => String::new(),
        };
        let id_role = if run.is_live() {
            Role::Strong
        } else {
            Role::Plain
        };
        let opened = run.opened_ts.map(local_time);
        [
            StyledCell::new(id_role, run.run_id.as_str()),
            StyledCell::new(role, format!("{glyph} {}", run.state.as_str())),
            jobs_cell(run.jobs_total, run.jobs_failed),
            StyledCell::new(Role::Faint, opened.unwrap_or_default()),
            StyledCell::plain(took),
        ]
    }

    /// Returns how long a live run has been running, in milliseconds.
    fn elapsed(&self, run: &WatchedRun) -> Option<u64> {
        let opened = run.opened_ts.filter(|_| run.is_live())?;
        Some(millis_since(opened, self.now))
    }

    /// Returns the lines below the row of a running run: its progress, its job and the last line
    /// of output.
    fn activity(&self, run: &RunNow<'_>, style: Style) -> Vec<StyledLine> {
        if run.run.state != RunStatus::Running {
            return Vec::new();
        }
        let mut lines = Vec::new();
        let elapsed = self.elapsed(run.run);
        lines.extend(elapsed.and_then(|ms| progress_bar(ms, run.usual_ms, style.glyphs)));
        let Some(job) = &run.job else {
            return lines;
        };
        let mut line = activity_line(job, self.now);
        if run.others > 0 {
            line.push(Role::Faint, format!("  and {} more", run.others));
        }
        lines.push(line);
        if let Some(text) = last_line(&job.printed) {
            let bar = style.glyphs.pick("│ ", "| ");
            let mut line = StyledLine::with_role(Role::Faint, bar);
            line.push(Role::Plain, text);
            lines.push(line);
        }
        lines
    }
}
