//! One run at one moment: its jobs, its progress and the end of its output.

use jiff::Timestamp;

use super::job_activity::{activity_line, millis_since, whole_seconds};
use super::progress::progress_bar;
use super::watched_run::{JobNow, MAX_SHOWN_JOBS};
use crate::job::RunStatus;
use crate::render::human::format::count;
use crate::render::human::run_detail::{JOB_COLUMNS, job_row, run_facts};
use crate::render::human::sanitize::last_text_lines;
use crate::render::human::style::{Role, Style};
use crate::render::human::styled_line::StyledLine;
use crate::render::human::table::Layout;
use crate::render::json::run_record::{JobRecord, RunRecord};

/// One run at one moment.
#[derive(Debug)]
pub struct RunFrame {
    /// The run.
    pub run: RunRecord,
    /// The moment.
    pub now: Timestamp,
    /// The unfinished jobs, in reverse order of their start.
    pub jobs: Vec<JobNow>,
    /// How long runs of this name usually take, in milliseconds.
    pub usual_ms: Option<u64>,
}

impl RunFrame {
    /// Returns the lines of a screen with this many rows and the width of the style.
    pub fn lines(&self, style: Style, rows: usize) -> Vec<String> {
        let columns = usize::from(style.width.unwrap_or(u16::MAX));
        let fit = |line: &StyledLine| line.fit(style, columns);
        let facts = run_facts(&self.run, style)
            .into_iter()
            .map(|(name, role, text)| labeled(name, StyledLine::with_role(role, text)));
        let mut lines: Vec<String> = facts
            .chain(self.progress(style))
            .map(|line| fit(&line))
            .collect();
        let room = rows.saturating_sub(lines.len() + 1);
        self.table(style, room.min(MAX_SHOWN_JOBS + 3), &mut lines);
        for job in self.jobs.iter().take(MAX_SHOWN_JOBS) {
            lines.push(fit(&activity_line(job, self.now).prefixed(" ")));
        }
        let room = rows.saturating_sub(lines.len() + 1);
        lines.extend(self.output(style, room).iter().map(fit));
        lines.truncate(rows.saturating_sub(1));
        lines.push(fit(&StyledLine::with_role(Role::Faint, "q: quit")));
        lines.truncate(rows);
        lines
    }

    fn progress(&self, style: Style) -> Option<StyledLine> {
        if self.run.state != RunStatus::Running {
            return None;
        }
        let elapsed = millis_since(self.run.opened_ts?, self.now);
        let text = format!("{}  ", whole_seconds(elapsed));
        let mut line = StyledLine::with_role(Role::Plain, text);
        if let Some(bar) = progress_bar(elapsed, self.usual_ms, style.glyphs) {
            line.append(bar);
        }
        Some(labeled("elapsed", line))
    }

    /// Adds a row for each job that fits. Unfinished and new jobs take precedence.
    fn table(&self, style: Style, room: usize, lines: &mut Vec<String>) {
        let all = &self.run.jobs;
        // All rows except an empty line, the header and the number of hidden jobs.
        let fit = room.saturating_sub(3);
        let is_live = |job: &&JobRecord| !job.stage.is_terminal();
        let unfinished = all.iter().rev().filter(is_live);
        let ended = all.iter().rev().filter(|job| !is_live(job));
        let mut shown: Vec<&str> = unfinished
            .chain(ended)
            .take(fit)
            .map(|job| job.job_id.as_str())
            .collect();
        shown.sort_unstable();
        let is_shown = |job: &&JobRecord| shown.binary_search(&job.job_id.as_str()).is_ok();
        let rows: Vec<_> = all
            .iter()
            .filter(is_shown)
            .map(|job| job_row(job, &self.run, style))
            .collect();
        if rows.is_empty() {
            return;
        }
        let slices = rows.iter().map(<[_; 7]>::as_slice);
        let layout = Layout::new(style, &JOB_COLUMNS, &slices);
        lines.push(String::new());
        lines.push(layout.header());
        lines.extend(rows.iter().map(|row| layout.row(row)));
        if all.len() > shown.len() {
            let more = count((all.len() - shown.len()) as u64, "job");
            lines.push(style.faint(&format!("{} {more} more", style.glyphs.ellipsis())));
        }
    }

    /// Returns the end of the output, in as many lines as fit. The output is that of the last
    /// started job that printed anything.
    fn output(&self, style: Style, room: usize) -> Vec<StyledLine> {
        let printed = |job: &JobNow| last_text_lines(&job.printed, room.saturating_sub(2));
        let mut printed = self.jobs.iter().map(|job| (job, printed(job)));
        let Some((job, printed)) = printed.find(|(_, printed)| !printed.is_empty()) else {
            return Vec::new();
        };
        let title = format!(" last output of {}:", job.job.job_id.as_str());
        let mut lines = vec![
            StyledLine::default(),
            StyledLine::with_role(Role::Faint, title),
        ];
        for text in printed {
            let bar = style.glyphs.pick(" │ ", " | ");
            let mut line = StyledLine::with_role(Role::Faint, bar);
            line.push(Role::Plain, text);
            lines.push(line);
        }
        lines
    }
}

fn labeled(name: &str, text: StyledLine) -> StyledLine {
    let mut line = StyledLine::with_role(Role::Faint, format!("{name:<8}  "));
    line.append(text);
    line
}
