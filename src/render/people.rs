//! Tables for people; the only user of comfy-table.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::columns::columns;
use super::report::JobReport;
use super::text::{
    Style, Tone, count, duration, of_stage, of_state, safe, size, time, time_with_zone,
};
use super::{Format, Row, RunDiff, RunReport};
use crate::job::RunStateKind;
use crate::volume::parse_ts;

/// Tables and lines for people.
#[derive(Debug, Clone, Copy)]
pub struct People(pub Style);

impl Format for People {
    fn row(&self, run: &RunReport) -> io::Result<Row> {
        let (glyph, _) = of_state(run.state);
        let failed = match run.jobs_failed {
            0 => String::new(),
            n => format!(" ({n} failed)"),
        };
        let mut cells = vec![
            run.run_id.to_string(),
            format!("{glyph} {}", run.state.as_str()),
            format!("{}{failed}", run.jobs_total),
            run.opened_ts.as_deref().map(time).unwrap_or_default(),
            run_duration(run),
            run.events.to_string(),
        ];
        cells.extend(run.retired.as_ref().map(|r| time(&r.retired_ts)));
        let state = run.state;
        Ok(Row { state, cells })
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
        if !self.0.color && self.0.width.is_none() {
            let rows = rows.iter().map(|row| row.cells.as_slice());
            return columns(out, &header, &numbers, rows);
        }
        let mut table = self.table(&header);
        for row in rows {
            let cell = |(at, text): (usize, &String)| match at {
                1 => toned(of_state(row.state).1, text),
                at if numbers.contains(&at) => right(text.clone()),
                _ => Cell::new(text),
            };
            table.add_row(row.cells.iter().enumerate().map(cell));
        }
        writeln!(out, "{}", trimmed(&table))
    }

    fn run(&self, out: &mut dyn Write, run: &RunReport) -> io::Result<()> {
        let (glyph, tone) = of_state(run.state);
        writeln!(out, "run       {}", run.run_id)?;
        writeln!(out, "name      {}", safe(&run.name))?;
        writeln!(
            out,
            "state     {}",
            self.0
                .paint(tone, &format!("{glyph} {}", run.state.as_str()))
        )?;
        if let Some(at) = &run.at {
            let event = at.seq.map(|seq| format!("event {seq}"));
            let ts = at.ts.as_deref().map(time_with_zone);
            let parts: Vec<_> = event.into_iter().chain(ts).collect();
            writeln!(out, "at        {}", parts.join(", "))?;
        }
        writeln!(out, "because   {}", safe(&run.because))?;
        if let Some(ts) = &run.opened_ts {
            let host = run
                .host
                .as_deref()
                .map(|h| format!(" on {}", safe(h)))
                .unwrap_or_default();
            writeln!(out, "opened    {}{host}", time_with_zone(ts))?;
        }
        if let Some(ts) = &run.closed_ts {
            writeln!(
                out,
                "closed    {} (after {})",
                time_with_zone(ts),
                run_duration(run)
            )?;
        }
        writeln!(
            out,
            "log       {}, {}",
            count(run.events, "event"),
            size(run.bytes)
        )?;
        match &run.retired {
            None => writeln!(out, "folder    {}", safe(&run.folder.to_string_lossy()))?,
            Some(gone) => writeln!(
                out,
                "retired   {}: {}, {} freed",
                time_with_zone(&gone.retired_ts),
                safe(&gone.why),
                size(gone.freed_bytes)
            )?,
        }
        if run.damaged > 0 {
            let text = format!("{} passed over", count(run.damaged as u64, "place"));
            writeln!(out, "damage    {}", self.0.paint(Tone::Bad, &text))?;
        }
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
                toned(tone, &format!("{glyph} {}", job.stage.as_str())),
                Cell::new(exit_of(job)),
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

/// A row of a comparison; one that both sides lack is left out.
fn add(
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
        Some(true) => toned(Tone::Bad, "≠"),
        _ => Cell::new(""),
    };
    let [a, b] = sides.map(|side| Cell::new(side.unwrap_or_else(|| "-".to_owned())));
    table.add_row([Cell::new(job), Cell::new(what), a, b, change]);
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
    fn table(self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        if self.0.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if let Some(width) = self.0.width {
            table
                .set_width(width)
                .set_content_arrangement(ContentArrangement::Dynamic);
        }
        table.set_header(header);
        table
    }
}

fn toned(tone: Tone, text: &str) -> Cell {
    let cell = Cell::new(text);
    match tone {
        Tone::Good => cell.fg(Color::Green),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Busy => cell.fg(Color::Cyan),
        Tone::Doubt => cell.fg(Color::Yellow),
        Tone::Faint | Tone::Plain => cell,
    }
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
fn job_duration(job: &JobReport, run: &RunReport) -> String {
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

fn exit_of(job: &JobReport) -> String {
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
