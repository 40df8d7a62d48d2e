//! One run in detail: the facts about it, and its jobs.

use std::io;
use std::io::Write;

use super::format::{count, duration, size, time_with_zone};
use super::style::{Role, Style, escape_controls, stage_glyph, status_glyph};
use super::table::{Column, Fit, Layout, StyledCell};
use crate::job::{DurationVerdict, RunStatus};
use crate::render::json::run_record::{JobRecord, RunRecord};

/// The columns of the table of jobs.
pub(crate) const JOB_COLUMNS: [Column; 7] = [
    Column::text("JOB", Fit::Whole),
    Column::text("STAGE", Fit::Whole),
    Column::text("EXIT", Fit::Whole),
    Column::number("DURATION", Fit::Drop(2)),
    Column::number("CPU", Fit::Drop(0)),
    Column::number("PEAK RSS", Fit::Drop(1)),
    Column::text("COMMAND", Fit::Cut(20)),
];
/// The position of the command in [`JOB_COLUMNS`].
const COMMAND: usize = 6;
/// The maximum number of commands to repeat in full because the table truncates them.
const MAX_FULL_COMMANDS: usize = 10;

/// Writes a run.
///
/// # Errors
/// `out` cannot be written.
pub(crate) fn write_run(out: &mut dyn Write, run: &RunRecord, style: Style) -> io::Result<()> {
    for (name, role, text) in run_facts(run, style) {
        let name = style.faint(&format!("{name:<8}"));
        writeln!(out, "{name}  {}", style.paint(role, &text))?;
    }
    if run.jobs.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = run
        .jobs
        .iter()
        .map(|job| job_row(job, run, style))
        .collect();
    let rows = || rows.iter().map(<[_; 7]>::as_slice);
    let layout = Layout::new(style, &JOB_COLUMNS, &rows());
    writeln!(out)?;
    layout.write(out, rows())?;
    let is_cut = |job: &&JobRecord| layout.cuts(COMMAND, &escape_controls(&job.command));
    for job in run.jobs.iter().filter(is_cut).take(MAX_FULL_COMMANDS) {
        let (id, command) = (job.job_id.as_str(), escape_controls(&job.command));
        writeln!(out, "{id}: {}", style.faint(&command))?;
    }
    run.jobs
        .iter()
        .try_for_each(|job| write_job_notes(out, job, style))
}

/// Writes why a job failed, what is missing from its output, and what happened to its rollback.
fn write_job_notes(out: &mut dyn Write, job: &JobRecord, style: Style) -> io::Result<()> {
    let id = job.job_id.as_str();
    if let Some(error) = &job.error {
        let message = escape_controls(&error.message);
        let text = format!("{id}: {message} ({})", error.kind.as_str());
        writeln!(out, "{}", style.paint(Role::Bad, &text))?;
    }
    let bar = style.faint(style.glyphs.pick("│", "|"));
    for line in &job.last_output {
        writeln!(out, "{bar} {line}")?;
    }
    if let Some(why) = job.output.as_ref().and_then(|o| o.truncated.as_ref()) {
        let text = format!("{id}: {}", escape_controls(why));
        writeln!(out, "{}", style.paint(Role::Doubt, &text))?;
    }
    for (name, probe) in &job.probes {
        if let Some(change) = probe.change() {
            let text = format!(
                "{id}: probe {} {change} while it ran",
                escape_controls(name)
            );
            writeln!(out, "{}", style.paint(Role::Doubt, &text))?;
        }
    }
    if let Some(rollback) = job.rollback.as_ref().filter(|r| r.started) {
        let end = match (&rollback.error, rollback.ended) {
            (Some(e), _) => format!("failed: {}", escape_controls(&e.message)),
            (None, true) => "done".to_owned(),
            (None, false) => "has no end in the log".to_owned(),
        };
        let command = escape_controls(&rollback.command);
        writeln!(out, "{id}: rollback {end}: {command}")?;
    }
    Ok(())
}

/// Returns the facts above the jobs of a run: a name of at most eight columns, and a text.
pub(crate) fn run_facts(run: &RunRecord, style: Style) -> Vec<(&'static str, Role, String)> {
    let mut facts = Vec::new();
    let mut add = |name, role, text| facts.push((name, role, text));
    let plain = Role::Plain;
    add("run", Role::Strong, run.run_id.to_string());
    add("name", plain, escape_controls(&run.name).into_owned());
    let (glyph, role) = status_glyph(run.state, style.glyphs);
    add("state", role, format!("{glyph} {}", run.state.as_str()));
    if let Some(at) = &run.at {
        let event = at.seq.map(|seq| format!("event {seq}"));
        let ts = at.ts.map(time_with_zone);
        let parts: Vec<_> = event.into_iter().chain(ts).collect();
        add("at", plain, parts.join(", "));
    }
    add("because", plain, escape_controls(&run.because).into_owned());
    if let Some(parent) = &run.parent {
        let text = format!("job {} of run {}", parent.job_id, parent.run_id);
        add("parent", plain, text);
    }
    if let Some(of) = &run.rerun_of {
        add("rerun of", plain, of.to_string());
    }
    if let Some(by) = &run.rerun_by {
        add("rerun by", plain, by.to_string());
    }
    if let Some(id) = &run.trace_id {
        add("trace", plain, id.clone());
    }
    if let Some(ts) = run.opened_ts {
        let host = run.host.as_deref();
        let host = host.map(|host| format!(" on {}", escape_controls(host)));
        let host = host.unwrap_or_default();
        add("opened", plain, format!("{}{host}", time_with_zone(ts)));
    }
    if let Some(ts) = run.closed_ts {
        let after = run
            .duration_ms
            .map(|ms| format!(" (after {})", duration(ms)));
        let text = format!("{}{}", time_with_zone(ts), after.unwrap_or_default());
        add("closed", plain, text);
    }
    if let Some(text) = unusual_text(run) {
        add("unusual", Role::Doubt, text);
    }
    let text = format!("{}, {}", count(run.events, "event"), size(run.bytes));
    add("log", plain, text);
    match &run.retired {
        None => {
            let path = run.dir.to_string_lossy();
            add("path", plain, escape_controls(&path).into_owned());
        }
        Some(removal) => {
            let ts = time_with_zone(removal.retired_ts);
            let freed = size(removal.freed_bytes);
            let text = format!("{ts}: {}, {freed} freed", escape_controls(&removal.why));
            add("retired", plain, text);
        }
    }
    if run.damaged > 0 {
        let places = count(run.damaged, "damaged place");
        add("damage", Role::Bad, format!("{places} skipped"));
    }
    facts
}

/// Returns what is unusual about the duration of a run, if anything.
pub fn unusual_text(run: &RunRecord) -> Option<String> {
    let usual = run.usual.as_ref()?;
    let than = match usual.verdict {
        DurationVerdict::Longer => "longer",
        DurationVerdict::Shorter => "shorter",
        DurationVerdict::Usual => return None,
    };
    let ms = duration(run.duration_ms?);
    let took = match run.state {
        RunStatus::Running => format!("has run for {ms}"),
        _ => format!("took {ms}"),
    };
    let (runs, middle) = (usual.usual.runs, duration(usual.usual.duration_p50_ms));
    Some(format!(
        "it {took}, far {than} than usual ({middle}, the median of {runs} runs)"
    ))
}

/// Returns the cells of a job.
pub(crate) fn job_row(job: &JobRecord, run: &RunRecord, style: Style) -> [StyledCell; 7] {
    let (glyph, role) = stage_glyph(job.stage, style.glyphs);
    let exit_role = match job.exit_code {
        Some(0) if job.signal.is_none() => Role::Plain,
        _ => Role::Bad,
    };
    let plain = |text: String| StyledCell::plain(text);
    [
        plain(job.job_id.to_string()),
        StyledCell::new(role, format!("{glyph} {}", job.stage.as_str())),
        StyledCell::new(exit_role, exit_text(job)),
        plain(job_duration(job, run, style)),
        plain(job.cpu_ms.map(duration).unwrap_or_default()),
        plain(job.max_rss_bytes.map(size).unwrap_or_default()),
        plain(escape_controls(&job.command).into_owned()),
    ]
}

/// Returns how long the job took, or how long it has been running so far.
fn job_duration(job: &JobRecord, run: &RunRecord, style: Style) -> String {
    let is_live = run.state == RunStatus::Running && !job.stage.is_terminal();
    let mark = if is_live { style.glyphs.ellipsis() } else { "" };
    let text = job.duration_ms.map(|ms| format!("{}{mark}", duration(ms)));
    text.unwrap_or_default()
}

/// Returns how the job ended: its signal, its exit code or its error kind.
pub(crate) fn exit_text(job: &JobRecord) -> String {
    match (&job.signal, job.exit_code, &job.error) {
        (Some(signal), _, _) => escape_controls(signal).into_owned(),
        (None, Some(code), _) => code.to_string(),
        (None, None, Some(error)) => error.kind.as_str().to_owned(),
        (None, None, None) => String::new(),
    }
}
