//! Tables for people; the only user of comfy-table.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::report::JobReport;
use super::text::{
    Style, Tone, count, duration, of_stage, of_state, safe, size, time, time_with_zone,
};
use super::{Format, RunReport};
use crate::job::RunStateKind;

/// Tables and lines for people.
#[derive(Debug, Clone, Copy)]
pub struct People(pub Style);

impl Format for People {
    fn runs(&self, out: &mut dyn Write, runs: &[RunReport]) -> io::Result<()> {
        if runs.is_empty() {
            return Ok(());
        }
        let mut header = vec!["RUN", "STATE", "JOBS", "OPENED", "DURATION", "EVENTS"];
        if runs.iter().any(|run| run.retired.is_some()) {
            header.push("RETIRED");
        }
        let mut table = self.table(&header);
        for run in runs {
            let (glyph, tone) = of_state(run.state);
            let failed = match run.jobs_failed {
                0 => String::new(),
                n => format!(" ({n} failed)"),
            };
            let mut row = vec![
                Cell::new(run.run_id.as_str()),
                toned(tone, &format!("{glyph} {}", run.state.as_str())),
                Cell::new(format!("{}{failed}", run.jobs_total)),
                Cell::new(run.opened_ts.as_deref().map(time).unwrap_or_default()),
                right(run_duration(run)),
                right(run.events.to_string()),
            ];
            row.extend(run.retired.as_ref().map(|r| Cell::new(time(&r.retired_ts))));
            table.add_row(row);
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
                right(job_duration(job, run.state)),
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
fn job_duration(job: &JobReport, run: RunStateKind) -> String {
    if let Some(ms) = job.duration_ms {
        return duration(ms);
    }
    let start = job
        .started_ts
        .as_deref()
        .and_then(|ts| ts.parse::<Timestamp>().ok());
    let live = run == RunStateKind::Running && !job.stage.is_terminal();
    match start.filter(|_| live) {
        Some(start) => {
            let ms = Timestamp::now().duration_since(start).as_millis();
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
