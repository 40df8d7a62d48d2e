//! One run at one moment: its jobs, how far it is, and what was printed last.

use std::ops::Range;

use jiff::Timestamp;

use super::job_activity::{doing, since, whole};
use super::progress::progress;
use crate::job::RunStatus;
use crate::render::human::sanitize::last_lines;
use crate::render::human::styled_line::{StyledLine, row, widen};
use crate::render::human::tables::{exit_of, exit_tone, head, job_duration};
use crate::render::human::text::{Role, Style, count, duration, escape_controls, size, stage_role};
use crate::render::json::run_record::{JobRecord, RunRecord};
use crate::render::live::{JOBS_SHOWN, JobNow};

/// The columns of numbers.
const NUMBERS: Range<usize> = 3..6;

/// One run at one moment.
#[derive(Debug)]
pub struct RunFrame {
    /// The run.
    pub run: RunRecord,
    /// The moment.
    pub now: Timestamp,
    /// Its jobs that have not ended, the one that started last first.
    pub jobs: Vec<JobNow>,
    /// How long runs of its name usually take, in milliseconds.
    pub usual_ms: Option<u64>,
}

impl RunFrame {
    /// The lines of a screen of that size.
    pub fn lines(&self, style: Style, columns: usize, rows: usize) -> Vec<String> {
        let mut lines: Vec<StyledLine> = head(&self.run)
            .into_iter()
            .map(|(name, tone, text)| labelled(name, StyledLine::with_role(tone, text)))
            .collect();
        lines.extend(self.progress());
        let room = rows.saturating_sub(lines.len() + 1);
        self.table(room.min(JOBS_SHOWN + 3), &mut lines);
        for job in self.jobs.iter().take(JOBS_SHOWN) {
            lines.push(doing(job, self.now).behind(" "));
        }
        self.printed(rows.saturating_sub(lines.len() + 1), &mut lines);
        lines.truncate(rows.saturating_sub(1));
        lines.push(StyledLine::with_role(Role::Faint, "q: end"));
        lines.truncate(rows);
        lines.iter().map(|line| line.fit(style, columns)).collect()
    }

    fn progress(&self) -> Option<StyledLine> {
        if self.run.state != RunStatus::Running {
            return None;
        }
        let elapsed = since(self.run.opened_ts.as_deref()?, self.now)?;
        let mut line = StyledLine::with_role(Role::Plain, format!("{}  ", whole(elapsed)));
        if let Some(bar) = progress(elapsed, self.usual_ms) {
            line.append(bar);
        }
        Some(labelled("elapsed", line))
    }

    /// A row for each job, those that go on and the newest first to be kept.
    fn table(&self, room: usize, lines: &mut Vec<StyledLine>) {
        let all = &self.run.jobs;
        // An empty line, the header, and what tells how many are left out.
        let fit = room.saturating_sub(3);
        let is_live = |job: &&JobRecord| !job.stage.is_terminal();
        let going_on = all.iter().rev().filter(is_live);
        let ended = all.iter().rev().filter(|job| !is_live(job));
        let mut kept: Vec<&str> = going_on
            .chain(ended)
            .take(fit)
            .map(|j| j.job_id.as_str())
            .collect();
        kept.sort_unstable();
        let is_kept = |job: &&JobRecord| kept.binary_search(&job.job_id.as_str()).is_ok();
        let rows: Vec<[StyledLine; 7]> = all
            .iter()
            .filter(is_kept)
            .map(|job| self.cells(job))
            .collect();
        if rows.is_empty() {
            return;
        }
        let header = [
            "JOB", "STAGE", "EXIT", "DURATION", "CPU", "PEAK RSS", "COMMAND",
        ];
        let header = header.map(|name| StyledLine::with_role(Role::Strong, name));
        let mut widths = [0; 7];
        widen(&mut widths, rows.iter().chain([&header]));
        lines.push(StyledLine::default());
        for cells in [header].iter().chain(&rows) {
            lines.push(row(cells, &widths, &NUMBERS));
        }
        if all.len() > kept.len() {
            let more = count((all.len() - kept.len()) as u64, "job");
            lines.push(StyledLine::with_role(
                Role::Faint,
                format!(" … {more} more"),
            ));
        }
    }

    fn cells(&self, job: &JobRecord) -> [StyledLine; 7] {
        let (glyph, tone) = stage_role(job.stage);
        let plain = |text: String| StyledLine::with_role(Role::Plain, text);
        [
            plain(escape_controls(&job.job_id).into_owned()),
            StyledLine::with_role(tone, format!("{glyph} {}", job.stage.as_str())),
            StyledLine::with_role(exit_tone(job), exit_of(job)),
            plain(job_duration(job, &self.run)),
            plain(job.cpu_ms.map(duration).unwrap_or_default()),
            plain(job.max_rss_bytes.map(size).unwrap_or_default()),
            plain(escape_controls(&job.command).into_owned()),
        ]
    }

    /// What was printed last, in the lines that are left: by the job that started last of
    /// those that printed anything.
    fn printed(&self, room: usize, lines: &mut Vec<StyledLine>) {
        let printed = |job: &JobNow| last_lines(&job.printed, room.saturating_sub(2));
        let mut printed = self.jobs.iter().map(|job| (job, printed(job)));
        let Some((job, printed)) = printed.find(|(_, printed)| !printed.is_empty()) else {
            return;
        };
        let name = escape_controls(&job.job.job_id);
        lines.push(StyledLine::default());
        lines.push(StyledLine::with_role(
            Role::Faint,
            format!(" {name} printed last:"),
        ));
        for text in printed {
            let mut line = StyledLine::with_role(Role::Faint, " │ ");
            line.add(Role::Plain, text);
            lines.push(line);
        }
    }
}

fn labelled(name: &str, text: StyledLine) -> StyledLine {
    let mut line = StyledLine::with_role(Role::Faint, format!("{name:<8}  "));
    line.append(text);
    line
}
