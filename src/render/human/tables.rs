//! Tables for people; the only user of comfy-table.

use std::io;
use std::io::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::table::{StyledCell, columns, widths};
use super::text::{
    Role, Style, count, duration, escape_controls, size, stage_role, state_role, time,
    time_with_zone,
};
use crate::job::RunStatus;
use crate::render::json::run_diff::RunDiff;
use crate::render::json::run_record::{JobRecord, RunRecord};
use crate::render::{Format, Row};
use crate::volume::parse_ts;

/// Tables and lines for people.
#[derive(Debug, Clone, Copy)]
pub struct Human(pub Style);

impl Format for Human {
    fn row(&self, run: &RunRecord) -> io::Result<Row> {
        let (glyph, tone) = state_role(run.state);
        let jobs = match run.jobs_failed {
            0 => StyledCell::plain(run.jobs_total.to_string()),
            n => StyledCell {
                tone: Role::Bad,
                text: format!("{} ({n} failed)", run.jobs_total),
            },
        };
        let faint = |text| StyledCell {
            tone: Role::Faint,
            text,
        };
        let mut cells = vec![
            StyledCell::plain(run.run_id.as_str()),
            StyledCell {
                tone,
                text: format!("{glyph} {}", run.state.as_str()),
            },
            jobs,
            faint(run.opened_ts.as_deref().map(time).unwrap_or_default()),
            StyledCell::plain(run_duration(run)),
            StyledCell::plain(run.events.to_string()),
        ];
        cells.extend(run.retired.as_ref().map(|r| faint(time(&r.retired_ts))));
        Ok(Row { cells })
    }

    fn rows(&self, out: &mut dyn Write, rows: &[Row]) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut header = vec!["RUN", "STATE", "JOBS", "OPENED", "DURATION", "EVENTS"];
        if rows.iter().any(|row| row.cells.len() > header.len()) {
            header.push("RETIRED");
        }
        let numbers = [4, 5];
        let widths = widths(&header, rows.iter().map(|row| row.cells.as_slice()));
        let needed: usize = widths.iter().map(|width| width + 2).sum();
        if self
            .0
            .width
            .is_none_or(|has| needed <= usize::from(has) + 1)
        {
            let names = header.iter().map(|name| (Role::Strong, *name));
            columns(out, self.0, &widths, &[], names)?;
            for row in rows {
                let cells = row.cells.iter().map(|cell| (cell.tone, cell.text.as_str()));
                columns(out, self.0, &widths, &numbers, cells)?;
            }
            return Ok(());
        }
        let mut table = self.table(&header);
        for row in rows {
            let cell = |(at, cell): (usize, &StyledCell)| {
                let text = self.0.paint(cell.tone, &cell.text);
                if numbers.contains(&at) {
                    right(text)
                } else {
                    Cell::new(text)
                }
            };
            table.add_row(row.cells.iter().enumerate().map(cell));
        }
        writeln!(out, "{}", trimmed(&table))
    }

    fn run(&self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        self.head(out, run)?;
        if run.jobs.is_empty() {
            return Ok(());
        }
        let mut table = self.table(&[
            "JOB", "STAGE", "EXIT", "DURATION", "CPU", "PEAK RSS", "COMMAND",
        ]);
        for job in &run.jobs {
            let (glyph, tone) = stage_role(job.stage);
            table.add_row([
                Cell::new(escape_controls(&job.job_id)),
                self.cell(tone, &format!("{glyph} {}", job.stage.as_str())),
                self.cell(exit_tone(job), &exit_of(job)),
                right(job_duration(job, run)),
                right(job.cpu_ms.map(duration).unwrap_or_default()),
                right(job.max_rss_bytes.map(size).unwrap_or_default()),
                Cell::new(escape_controls(&job.command)),
            ]);
        }
        writeln!(out, "\n{}", trimmed(&table))?;
        for job in &run.jobs {
            if let Some(error) = &job.error {
                let id = escape_controls(&job.job_id).into_owned();
                let text = format!(
                    "{id}: {} ({})",
                    escape_controls(&error.message),
                    error.kind.as_str()
                );
                writeln!(out, "{}", self.0.paint(Role::Bad, &text))?;
            }
            if let Some(why) = job.output.as_ref().and_then(|o| o.truncated.as_ref()) {
                let text = format!("{}: {}", escape_controls(&job.job_id), escape_controls(why));
                writeln!(out, "{}", self.0.paint(Role::Doubt, &text))?;
            }
            if let Some(rollback) = job.rollback.as_ref().filter(|r| r.started) {
                let id = escape_controls(&job.job_id);
                let end = match (&rollback.error, rollback.ended) {
                    (Some(e), _) => format!("failed: {}", escape_controls(&e.message)),
                    (None, true) => "done".to_owned(),
                    (None, false) => "has no end in the log".to_owned(),
                };
                writeln!(
                    out,
                    "{id}: rollback {end}: {}",
                    escape_controls(&rollback.command)
                )?;
            }
        }
        Ok(())
    }

    fn diff(&self, out: &mut dyn Write, diff: &RunDiff) -> io::Result<()> {
        let mut table = self.table(&["JOB", "WHAT", "A", "B", "CHANGE"]);
        let add = |table: &mut Table, job: &str, what: &str, sides, changed| {
            self.add(table, job, what, sides, changed);
        };
        let (a, b) = (&diff.a, &diff.b);
        let text = |text: &str| Some(escape_controls(text).into_owned());
        add(
            &mut table,
            "(run)",
            "id",
            [text(a.run_id.as_str()), text(b.run_id.as_str())],
            None,
        );
        let run_states = [a, b].map(|run| {
            let (glyph, _) = state_role(run.state);
            Some(format!("{glyph} {}", run.state.as_str()))
        });
        add(
            &mut table,
            "",
            "state",
            run_states,
            Some(a.state != b.state),
        );
        let hosts = [a, b].map(|run| run.host.as_deref().and_then(text));
        add(&mut table, "", "host", hosts, Some(a.host != b.host));
        add_numbers(
            &mut table,
            "duration",
            [a, b].map(|run| run.duration_ms),
            duration,
        );
        for job in &diff.jobs {
            let sides = [job.a.as_ref(), job.b.as_ref()];
            let stages = sides.map(|job| {
                let (glyph, _) = stage_role(job?.stage);
                Some(format!("{glyph} {}", job?.stage.as_str()))
            });
            let name = match sides {
                [Some(a), Some(b)] if a.job_id != b.job_id => format!("{}, {}", a.job_id, b.job_id),
                _ => job.job_id.clone(),
            };
            let differs = |what: &str| job.differs.contains(&what);
            let changed = differs("stage") || differs("missing");
            add(
                &mut table,
                &escape_controls(&name),
                "stage",
                stages,
                Some(changed),
            );
            let exits = sides.map(|job| Some(exit_of(job?)).filter(|exit| !exit.is_empty()));
            let changed = differs("exit_code") || differs("signal");
            add(&mut table, "", "exit", exits, Some(changed));
            let of = |number: fn(&JobRecord) -> Option<u64>| sides.map(|job| number(job?));
            add_numbers(&mut table, "duration", of(|job| job.duration_ms), duration);
            add_numbers(&mut table, "CPU", of(|job| job.cpu_ms), duration);
            add_numbers(&mut table, "peak RSS", of(|job| job.max_rss_bytes), size);
            add_numbers(&mut table, "read", of(|job| job.read_bytes), size);
            add_numbers(&mut table, "written", of(|job| job.written_bytes), size);
        }
        writeln!(out, "{}\n", trimmed(&table))?;
        let (tone, verdict) = if diff.same {
            (Role::Good, "the same outcome")
        } else {
            (Role::Bad, "different outcomes")
        };
        writeln!(out, "{}", self.0.paint(tone, verdict))
    }
}

/// A row of numbers, with how much the second is above the first.
fn add_numbers(table: &mut Table, what: &str, sides: [Option<u64>; 2], shown: fn(u64) -> String) {
    if sides.iter().all(|n| n.unwrap_or(0) == 0) {
        return;
    }
    let change = match sides {
        [Some(a), Some(b)] if a > 0 && a != b => {
            let ratio = b as f64 / a as f64;
            if ratio >= 10.0 {
                format!("×{ratio:.0}")
            } else {
                format!("{:+.0}%", (ratio - 1.0) * 100.0)
            }
        }
        _ => String::new(),
    };
    let [a, b] = sides.map(|n| Cell::new(n.map_or_else(|| "-".to_owned(), shown)));
    table.add_row([Cell::new(""), Cell::new(what), a, b, right(change)]);
}

impl Human {
    /// What stands above the jobs of a run.
    fn head(self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        for (name, tone, text) in head(run) {
            let name = self.0.paint(Role::Faint, &format!("{name:<8}"));
            writeln!(out, "{name}  {}", self.0.paint(tone, &text))?;
        }
        Ok(())
    }

    fn table(self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        if let Some(width) = self.0.width {
            table
                .set_width(width)
                .set_content_arrangement(ContentArrangement::Dynamic);
        }
        table.set_header(header.iter().map(|name| self.cell(Role::Strong, name)));
        table
    }

    fn cell(self, tone: Role, text: &str) -> Cell {
        Cell::new(self.0.paint(tone, text))
    }

    /// A row of a comparison; one that both sides lack is left out.
    fn add(
        self,
        table: &mut Table,
        job: &str,
        what: &str,
        sides: [Option<String>; 2],
        changed: Option<bool>,
    ) {
        if sides.iter().all(Option::is_none) {
            return;
        }
        let change = match changed {
            Some(true) => self.cell(Role::Bad, "≠"),
            _ => Cell::new(""),
        };
        let [a, b] = sides.map(|side| Cell::new(side.unwrap_or_else(|| "-".to_owned())));
        table.add_row([Cell::new(job), Cell::new(what), a, b, change]);
    }
}

/// What is said of a run above its jobs: a name of at most eight columns, and a text.
pub(crate) fn head(run: &RunRecord) -> Vec<(&'static str, Role, String)> {
    let mut lines = Vec::new();
    let mut add = |name, tone, text| lines.push((name, tone, text));
    let plain = Role::Plain;
    add("run", Role::Strong, run.run_id.to_string());
    add("name", plain, escape_controls(&run.name).into_owned());
    let (glyph, tone) = state_role(run.state);
    add("state", tone, format!("{glyph} {}", run.state.as_str()));
    if let Some(at) = &run.at {
        let event = at.seq.map(|seq| format!("event {seq}"));
        let ts = at.ts.as_deref().map(time_with_zone);
        let parts: Vec<_> = event.into_iter().chain(ts).collect();
        add("at", plain, parts.join(", "));
    }
    add("because", plain, escape_controls(&run.because).into_owned());
    if let Some(ts) = &run.opened_ts {
        let host = run
            .host
            .as_deref()
            .map(|h| format!(" on {}", escape_controls(h)));
        let host = host.unwrap_or_default();
        add("opened", plain, format!("{}{host}", time_with_zone(ts)));
    }
    if let Some(ts) = &run.closed_ts {
        let text = format!("{} (after {})", time_with_zone(ts), run_duration(run));
        add("closed", plain, text);
    }
    let text = format!("{}, {}", count(run.events, "event"), size(run.bytes));
    add("log", plain, text);
    match &run.retired {
        None => {
            let folder = run.folder.to_string_lossy();
            add("folder", plain, escape_controls(&folder).into_owned());
        }
        Some(gone) => {
            let ts = time_with_zone(&gone.retired_ts);
            let freed = size(gone.freed_bytes);
            let text = format!("{ts}: {}, {freed} freed", escape_controls(&gone.why));
            add("retired", plain, text);
        }
    }
    if run.damaged > 0 {
        let places = count(run.damaged as u64, "place");
        add("damage", Role::Bad, format!("{places} passed over"));
    }
    lines
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn trimmed(table: &Table) -> String {
    table
        .trim_fmt()
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

fn run_duration(run: &RunRecord) -> String {
    run.duration_ms.map(duration).unwrap_or_default()
}

/// How long the job took, or for how long it has been going on.
pub(crate) fn job_duration(job: &JobRecord, run: &RunRecord) -> String {
    if let Some(ms) = job.duration_ms {
        return duration(ms);
    }
    let start = job.started_ts.as_deref().and_then(parse_ts);
    let live = run.state == RunStatus::Running && !job.stage.is_terminal();
    match start.filter(|_| live) {
        Some(start) => {
            let end = match &run.at {
                Some(at) => at.ts.as_deref().and_then(parse_ts).unwrap_or(start),
                None => Timestamp::now(),
            };
            let ms = end.duration_since(start).as_millis();
            format!("{}…", duration(u64::try_from(ms).unwrap_or(0)))
        }
        None => String::new(),
    }
}

pub(crate) fn exit_tone(job: &JobRecord) -> Role {
    match job.exit_code {
        Some(0) if job.signal.is_none() => Role::Plain,
        _ => Role::Bad,
    }
}

pub(crate) fn exit_of(job: &JobRecord) -> String {
    match (&job.signal, job.exit_code) {
        (Some(signal), _) => escape_controls(signal).into_owned(),
        (None, Some(code)) => code.to_string(),
        (None, None) => job
            .error
            .as_ref()
            .map(|e| e.kind.as_str().to_owned())
            .unwrap_or_default(),
    }
}
