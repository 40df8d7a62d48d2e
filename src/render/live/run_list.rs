//! The runs of a volume at one moment: those that go on first, the newest first.

use std::ops::Range;

use jiff::Timestamp;

use super::job_activity::{doing, since, whole};
use super::progress::progress;
use crate::job::RunStatus;
use crate::render::human::sanitize::last_line;
use crate::render::human::styled_line::{StyledLine, row, widen};
use crate::render::human::text::{Role, Style, count, duration, escape_controls, state_role, time};
use crate::render::live::{JobNow, WatchedRun};

/// A run of the list.
#[derive(Debug)]
pub struct RunNow<'a> {
    /// The run.
    pub run: &'a WatchedRun,
    /// Its job that started last of those that have not ended.
    pub job: Option<JobNow>,
    /// How many other jobs of it have not ended.
    pub others: usize,
    /// How long runs of its name usually take, in milliseconds.
    pub usual_ms: Option<u64>,
}

/// The runs of a volume at one moment.
#[derive(Debug)]
pub struct ListFrame<'a> {
    /// The volume.
    pub volume: String,
    /// The moment.
    pub now: Timestamp,
    /// The first ones of those that are asked for, in the order in which they are shown: at
    /// least as many as the screen has lines.
    pub runs: Vec<RunNow<'a>>,
    /// How many are asked for.
    pub total: usize,
    /// How many of them are in which state.
    pub states: Vec<(RunStatus, usize)>,
    /// How many warnings there are, which are told at the end.
    pub warnings: usize,
}

/// The columns, and the order in which they are left out where there is no room.
const HEADER: [&str; 5] = ["RUN", "STATE", "JOBS", "OPENED", "DURATION"];
const OPTIONAL_COLUMNS: [usize; 2] = [3, 2];
/// The column of numbers.
const NUMBERS: Range<usize> = 4..5;
/// Least columns of the id of a run.
const ID: usize = 12;
/// Before the lines that tell more of a run.
const INDENT: &str = "   ";

impl ListFrame<'_> {
    /// The lines of a screen of that size.
    pub fn lines(&self, style: Style, columns: usize, rows: usize) -> Vec<String> {
        let mut lines = vec![self.title()];
        if self.warnings > 0 {
            let text = format!(
                "! {}, told at the end",
                count(self.warnings as u64, "warning")
            );
            lines.push(StyledLine::with_role(Role::Bad, text));
        }
        if self.runs.is_empty() {
            lines.push(StyledLine::with_role(Role::Faint, "no run to show yet"));
        } else {
            // The title, what is above, the header, and the last line.
            let room = rows.saturating_sub(lines.len() + 2).max(1);
            self.table(columns, room, &mut lines);
        }
        lines.truncate(rows);
        lines.iter().map(|line| line.fit(style, columns)).collect()
    }

    fn title(&self) -> StyledLine {
        let at = time(&self.now.to_string());
        // The date stands with the runs.
        let at = at.split(' ').next_back().unwrap_or_default().to_owned();
        let mut line = StyledLine::with_role(Role::Faint, at);
        line.add(Role::Plain, "  ");
        line.add(Role::Strong, escape_controls(&self.volume));
        let mut gap = "  ";
        for (state, n) in self.states.iter().filter(|(_, n)| *n > 0) {
            let (_, tone) = state_role(*state);
            line.add(Role::Plain, std::mem::replace(&mut gap, ", "));
            line.add(tone, format!("{n} {}", state.as_str()));
        }
        line
    }

    /// As many runs as there is room for, each with what can be told of it: the runs
    /// themselves come first, then what they do, then what they printed last.
    fn table(&self, columns: usize, room: usize, lines: &mut Vec<StyledLine>) {
        let running = |run: &&RunNow<'_>| run.run.state == RunStatus::Running;
        let running = self.runs.iter().filter(running).count();
        // Some of the others stay in sight too.
        let others = self.runs.len().saturating_sub(running).min(room / 3);
        let room_each = (room - others).checked_div(running).unwrap_or(room);
        let rows: Vec<(&RunNow<'_>, [StyledLine; HEADER.len()])> = self
            .runs
            .iter()
            .take(room)
            .map(|run| (run, self.cells(run)))
            .collect();
        let table = Columns::of(rows.iter().map(|(_, cells)| cells), columns);
        lines.push(table.header());
        let mut shown = 0;
        let mut left = room;
        for (run, cells) in &rows {
            if left == 0 {
                break;
            }
            let more = room_each.min(left).saturating_sub(1);
            let more = self.more(run).into_iter().take(more);
            let before = lines.len();
            lines.push(table.row(cells));
            lines.extend(more);
            left -= lines.len() - before;
            shown += 1;
        }
        let more = self.total.saturating_sub(shown);
        let text = if more > 0 {
            format!("… {more} more   q: end")
        } else {
            "q: end".to_owned()
        };
        lines.push(StyledLine::with_role(Role::Faint, text));
    }

    fn cells(&self, run: &RunNow<'_>) -> [StyledLine; HEADER.len()] {
        let run = run.run;
        let (glyph, tone) = state_role(run.state);
        let jobs = match run.jobs_failed {
            0 => StyledLine::with_role(Role::Plain, run.jobs_total.to_string()),
            n => StyledLine::with_role(Role::Bad, format!("{} ({n} failed)", run.jobs_total)),
        };
        let took = match run.duration_ms {
            Some(ms) => duration(ms),
            None => self
                .elapsed(run)
                .map(|ms| format!("{}…", whole(ms)))
                .unwrap_or_default(),
        };
        [
            StyledLine::with_role(
                if run.is_live() {
                    Role::Strong
                } else {
                    Role::Plain
                },
                run.run_id.as_str(),
            ),
            StyledLine::with_role(tone, format!("{glyph} {}", run.state.as_str())),
            jobs,
            StyledLine::with_role(
                Role::Faint,
                run.opened_ts.as_deref().map(time).unwrap_or_default(),
            ),
            StyledLine::with_role(Role::Plain, took),
        ]
    }

    /// For how long it has been going on, in milliseconds, if it does.
    fn elapsed(&self, run: &WatchedRun) -> Option<u64> {
        let opened = run.opened_ts.as_deref().filter(|_| run.is_live())?;
        since(opened, self.now)
    }

    /// What is told of a run that goes on, beside its row.
    fn more(&self, run: &RunNow<'_>) -> Vec<StyledLine> {
        if run.run.state != RunStatus::Running {
            return Vec::new();
        }
        let mut lines = Vec::new();
        let elapsed = self.elapsed(run.run);
        if let Some(bar) = elapsed.and_then(|ms| progress(ms, run.usual_ms)) {
            lines.push(bar.behind(INDENT));
        }
        let Some(job) = &run.job else {
            return lines;
        };
        let mut line = doing(job, self.now);
        if run.others > 0 {
            line.add(Role::Faint, format!("  and {} more", run.others));
        }
        lines.push(line.behind(INDENT));
        if let Some(text) = last_line(&job.printed) {
            let mut line = StyledLine::with_role(Role::Faint, "│ ");
            line.add(Role::Plain, text);
            lines.push(line.behind(INDENT));
        }
        lines
    }
}

/// How wide the columns are; 0 for one that is left out.
struct Columns([usize; HEADER.len()]);

impl Columns {
    fn of<'a>(rows: impl Iterator<Item = &'a [StyledLine; HEADER.len()]>, columns: usize) -> Self {
        let mut widths = HEADER.map(str::len);
        widen(&mut widths, rows);
        let needed = |widths: &[usize]| -> usize {
            widths
                .iter()
                .filter(|width| **width > 0)
                .map(|width| width + 2)
                .sum()
        };
        for at in OPTIONAL_COLUMNS {
            if needed(&widths) > columns + 1
                && let Some(width) = widths.get_mut(at)
            {
                *width = 0;
            }
        }
        // What is still too much is taken from the id.
        let over = needed(&widths).saturating_sub(columns + 1);
        let [id, ..] = &mut widths;
        *id = (*id).saturating_sub(over).max(ID.min(*id));
        Self(widths)
    }

    fn header(&self) -> StyledLine {
        self.row(&HEADER.map(|name| StyledLine::with_role(Role::Strong, name)))
    }

    fn row(&self, cells: &[StyledLine; HEADER.len()]) -> StyledLine {
        row(cells, &self.0, &NUMBERS)
    }
}
