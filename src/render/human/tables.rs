//! Tables for people; the only user of comfy-table.

use std::io;
use std::io::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::table::{Toned, columns, widths};
use super::text::{
    Style, Tone, count, duration, of_stage, of_state, safe, size, time, time_with_zone,
};
use crate::job::RunStateKind;
use crate::render::json::run_diff::RunDiff;
use crate::render::json::run_report::{JobReport, RunReport};
use crate::render::{Format, Row};
use crate::volume::parse_ts;

/// Tables and lines for people.
#[derive(Debug, Clone, Copy)]
pub struct People(pub Style);

impl Format for People {
    fn row(&self, run: &RunReport) -> io::Result<Row> {
        let (glyph, tone) = of_state(run.state);
        let jobs = match run.jobs_failed {
            0 => Toned::plain(run.jobs_total.to_string()),
            n => Toned {
                tone: Tone::Bad,
                text: format!("{} ({n} failed)", run.jobs_total),
            },
        };
        let faint = |text| Toned {
            tone: Tone::Faint,
            text,
        };
        let mut cells = vec![
            Toned::plain(run.run_id.as_str()),
            Toned {
                tone,
                text: format!("{glyph} {}", run.state.as_str()),
            },
            jobs,
            faint(run.opened_ts.as_deref().map(time).unwrap_or_default()),
            Toned::plain(run_duration(run)),
            Toned::plain(run.events.to_string()),
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
            let names = header.iter().map(|name| (Tone::Strong, *name));
            columns(out, self.0, &widths, &[], names)?;
            for row in rows {
                let cells = row.cells.iter().map(|cell| (cell.tone, cell.text.as_str()));
                columns(out, self.0, &widths, &numbers, cells)?;
            }
            return Ok(());
        }
        let mut table = self.table(&header);
        for row in rows {
            let cell = |(at, cell): (usize, &Toned)| {
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

    fn run(&self, out: &mut dyn Write, run: &RunReport) -> io::Result<()> {
        self.head(out, run)?;
        if run.jobs.is_empty() {
            return Ok(());
        }
        let mut table = self.table(&[
            "JOB", "STAGE", "EXIT", "DURATION", "CPU", "PEAK RSS", "COMMAND",
        ]);
        for job in &run.jobs {
            let (glyph, tone) = of_stage(job.stage);
            table.add_row([
                Cell::new(safe(&job.job_id)),
                self.cell(tone, &format!("{glyph} {}", job.stage.as_str())),
                self.cell(exit_tone(job), &exit_of(job)),
                right(job_duration(job, run)),
                right(job.cpu_ms.map(duration).unwrap_or_default()),
                right(job.max_rss_bytes.map(size).unwrap_or_default()),
                Cell::new(safe(&job.command)),
            ]);
        }
        writeln!(out, "\n{}", trimmed(&table))?;
        for job in &run.jobs {
            if let Some(error) = &job.error {
                let id = safe(&job.job_id).into_owned();
                let text = format!("{id}: {} ({})", safe(&error.message), error.kind.as_str());
                writeln!(out, "{}", self.0.paint(Tone::Bad, &text))?;
            }
            if let Some(why) = job.output.as_ref().and_then(|o| o.truncated.as_ref()) {
                let text = format!("{}: {}", safe(&job.job_id), safe(why));
                writeln!(out, "{}", self.0.paint(Tone::Doubt, &text))?;
            }
            if let Some(rollback) = job.rollback.as_ref().filter(|r| r.started) {
                let id = safe(&job.job_id);
                let end = match (&rollback.error, rollback.ended) {
                    (Some(e), _) => format!("failed: {}", safe(&e.message)),
                    (None, true) => "done".to_owned(),
                    (None, false) => "has no end in the log".to_owned(),
                };
                writeln!(out, "{id}: rollback {end}: {}", safe(&rollback.command))?;
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
        let text = |text: &str| Some(safe(text).into_owned());
        add(
            &mut table,
            "(run)",
            "id",
            [text(a.run_id.as_str()), text(b.run_id.as_str())],
            None,
        );
        let run_states = [a, b].map(|run| {
            let (glyph, _) = of_state(run.state);
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
                let (glyph, _) = of_stage(job?.stage);
                Some(format!("{glyph} {}", job?.stage.as_str()))
            });
            let name = match sides {
                [Some(a), Some(b)] if a.job_id != b.job_id => format!("{}, {}", a.job_id, b.job_id),
                _ => job.job_id.clone(),
            };
            let differs = |what: &str| job.differs.contains(&what);
            let changed = differs("stage") || differs("missing");
            add(&mut table, &safe(&name), "stage", stages, Some(changed));
            let exits = sides.map(|job| Some(exit_of(job?)).filter(|exit| !exit.is_empty()));
            let changed = differs("exit_code") || differs("signal");
            add(&mut table, "", "exit", exits, Some(changed));
            let of = |number: fn(&JobReport) -> Option<u64>| sides.map(|job| number(job?));
            add_numbers(&mut table, "duration", of(|job| job.duration_ms), duration);
            add_numbers(&mut table, "CPU", of(|job| job.cpu_ms), duration);
            add_numbers(&mut table, "peak RSS", of(|job| job.max_rss_bytes), size);
            add_numbers(&mut table, "read", of(|job| job.read_bytes), size);
            add_numbers(&mut table, "written", of(|job| job.written_bytes), size);
        }
        writeln!(out, "{}\n", trimmed(&table))?;
        let (tone, verdict) = if diff.same {
            (Tone::Good, "the same outcome")
        } else {
            (Tone::Bad, "different outcomes")
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

impl People {
    /// What stands above the jobs of a run.
    fn head(self, out: &mut dyn Write, run: &RunReport) -> io::Result<()> {
        for (name, tone, text) in head(run) {
            let name = self.0.paint(Tone::Faint, &format!("{name:<8}"));
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
        table.set_header(header.iter().map(|name| self.cell(Tone::Strong, name)));
        table
    }

    fn cell(self, tone: Tone, text: &str) -> Cell {
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
            Some(true) => self.cell(Tone::Bad, "≠"),
            _ => Cell::new(""),
        };
        let [a, b] = sides.map(|side| Cell::new(side.unwrap_or_else(|| "-".to_owned())));
        table.add_row([Cell::new(job), Cell::new(what), a, b, change]);
    }
}

/// What is said of a run above its jobs: a name of at most eight columns, and a text.
pub(crate) fn head(run: &RunReport) -> Vec<(&'static str, Tone, String)> {
    let mut lines = Vec::new();
    let mut add = |name, tone, text| lines.push((name, tone, text));
    let plain = Tone::Plain;
    add("run", Tone::Strong, run.run_id.to_string());
    add("name", plain, safe(&run.name).into_owned());
    let (glyph, tone) = of_state(run.state);
    add("state", tone, format!("{glyph} {}", run.state.as_str()));
    if let Some(at) = &run.at {
        let event = at.seq.map(|seq| format!("event {seq}"));
        let ts = at.ts.as_deref().map(time_with_zone);
        let parts: Vec<_> = event.into_iter().chain(ts).collect();
        add("at", plain, parts.join(", "));
    }
    add("because", plain, safe(&run.because).into_owned());
    if let Some(ts) = &run.opened_ts {
        let host = run.host.as_deref().map(|h| format!(" on {}", safe(h)));
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
            add("folder", plain, safe(&folder).into_owned());
        }
        Some(gone) => {
            let ts = time_with_zone(&gone.retired_ts);
            let freed = size(gone.freed_bytes);
            let text = format!("{ts}: {}, {freed} freed", safe(&gone.why));
            add("retired", plain, text);
        }
    }
    if run.damaged > 0 {
        let places = count(run.damaged as u64, "place");
        add("damage", Tone::Bad, format!("{places} passed over"));
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

fn run_duration(run: &RunReport) -> String {
    run.duration_ms.map(duration).unwrap_or_default()
}

/// How long the job took, or for how long it has been going on.
pub(crate) fn job_duration(job: &JobReport, run: &RunReport) -> String {
    if let Some(ms) = job.duration_ms {
        return duration(ms);
    }
    let start = job.started_ts.as_deref().and_then(parse_ts);
    let live = run.state == RunStateKind::Running && !job.stage.is_terminal();
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

pub(crate) fn exit_tone(job: &JobReport) -> Tone {
    match job.exit_code {
        Some(0) if job.signal.is_none() => Tone::Plain,
        _ => Tone::Bad,
    }
}

pub(crate) fn exit_of(job: &JobReport) -> String {
    match (&job.signal, job.exit_code) {
        (Some(signal), _) => safe(signal).into_owned(),
        (None, Some(code)) => code.to_string(),
        (None, None) => job
            .error
            .as_ref()
            .map(|e| e.kind.as_str().to_owned())
            .unwrap_or_default(),
    }
}
