//! CSV (RFC 4180) for spreadsheets and data frames: a row for each event of a run, or for each
//! job of several runs.
//!
//! Values are not changed, even if a spreadsheet would interpret them as a formula: programs
//! need the original.

use std::io;
use std::io::Write;

use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::log::payload::{Note, parse_payload};
use crate::log::{Item, RunState};
use crate::render::export::Export;
use crate::render::human::event_line::{event_kind, event_time, parse_event, plain_details};
use crate::render::json::run_record::RunRecord;
use crate::volume::format_ts;

/// The columns of an event, each with the path of its value.
const EVENT: [(&str, &str); 25] = [
    ("seq", "/seq"),
    ("ts", ""),
    ("type", "/type"),
    ("run_id", "/run_id"),
    ("job_id", ""),
    ("attempt", "/attempt"),
    ("pid", "/pid"),
    ("exit_code", "/exit_code"),
    ("signal", "/signal"),
    ("error_kind", "/error/kind"),
    ("error_message", "/error/message"),
    ("retry_in_ms", "/retry_in_ms"),
    ("duration_ms", "/duration_ms"),
    ("cpu_ms", ""),
    ("max_rss_bytes", "/cost/max_rss_bytes"),
    ("cpu_percent", "/job/cpu_percent"),
    ("rss_bytes", "/job/rss_bytes"),
    ("read_bytes", ""),
    ("written_bytes", ""),
    ("processes", "/job/processes"),
    ("stdout_bytes", "/output/stdout_bytes"),
    ("stderr_bytes", "/output/stderr_bytes"),
    ("name", "/name"),
    ("details", ""),
    ("both_bytes", "/output/both_bytes"),
];

/// A writer of the events of a run.
#[derive(Debug, Default)]
pub struct CsvEvents {
    has_header: bool,
}

impl CsvEvents {
    fn header(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.has_header, true) {
            return Ok(());
        }
        row(out, EVENT.iter().map(|(name, _)| (*name).to_owned()))
    }
}

impl Export for CsvEvents {
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, _: &RunState) -> io::Result<()> {
        self.header(out)?;
        let (Item::Event(_, line) | Item::Foreign(_, line)) = item else {
            return Ok(());
        };
        let Some(event) = parse_event(line) else {
            return Ok(());
        };
        let first = |at: &[&str]| at.iter().find_map(|at| event.pointer(at)).map(text);
        row(
            out,
            EVENT.iter().map(|(name, at)| {
                match *name {
                    "ts" => event_time(&event).map(|ts| format!("{ts:.6}")),
                    "job_id" => first(&["/job_id", "/node_id"]),
                    "cpu_ms" => first(&["/cost/cpu_ms", "/job/cpu_ms"]),
                    "read_bytes" => first(&["/cost/read_bytes", "/job/read_bytes"]),
                    "written_bytes" => first(&["/cost/written_bytes", "/job/written_bytes"]),
                    "details" => {
                        let details = || plain_details(event_kind(&event), &event);
                        Some(note_data(line).map_or_else(details, str::to_owned))
                    }
                    _ => event.pointer(at).map(text),
                }
                .unwrap_or_default()
            }),
        )
    }

    fn end(&mut self, out: &mut dyn Write, _: &RunRecord) -> io::Result<()> {
        self.header(out)
    }
}

/// Returns the data of a note as the log has it.
fn note_data(line: &[u8]) -> Option<&str> {
    parse_payload::<Note<'_>>(line)?.data.map(RawValue::get)
}

/// The columns of a job.
const JOB: [&str; 23] = [
    "run_id",
    "name",
    "state",
    "host",
    "opened_ts",
    "closed_ts",
    "job_id",
    "stage",
    "command",
    "attempt",
    "exit_code",
    "signal",
    "error_kind",
    "error_message",
    "submitted_ts",
    "started_ts",
    "ended_ts",
    "duration_ms",
    "cpu_ms",
    "max_rss_bytes",
    "read_bytes",
    "written_bytes",
    "labels",
];

/// Writes a row for each job of the runs.
///
/// # Errors
/// `out` cannot be written.
pub fn csv_jobs(out: &mut dyn Write, runs: &[RunRecord]) -> io::Result<()> {
    row(out, JOB.iter().map(|name| (*name).to_owned()))?;
    for run in runs {
        for job in &run.jobs {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let time = |ts: Option<Timestamp>| ts.map(format_ts).unwrap_or_default();
            let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
            let error = job.error.as_ref();
            let labels = if job.labels.is_empty() {
                String::new()
            } else {
                serde_json::to_string(&job.labels)?
            };
            row(
                out,
                [
                    run.run_id.to_string(),
                    run.name.clone(),
                    run.state.as_str().to_owned(),
                    text(&run.host),
                    time(run.opened_ts),
                    time(run.closed_ts),
                    job.job_id.to_string(),
                    job.stage.as_str().to_owned(),
                    job.command.clone(),
                    number(job.attempt.map(u64::from)),
                    job.exit_code.map(|n| n.to_string()).unwrap_or_default(),
                    text(&job.signal),
                    error
                        .map(|e| e.kind.as_str().to_owned())
                        .unwrap_or_default(),
                    error.map(|e| e.message.clone()).unwrap_or_default(),
                    time(job.submitted_ts),
                    time(job.started_ts),
                    time(job.ended_ts),
                    number(job.duration_ms),
                    number(job.cpu_ms),
                    number(job.max_rss_bytes),
                    number(job.read_bytes),
                    number(job.written_bytes),
                    labels,
                ],
            )?;
        }
    }
    Ok(())
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn row(out: &mut dyn Write, fields: impl IntoIterator<Item = String>) -> io::Result<()> {
    let fields: Vec<_> = fields.into_iter().map(quoted).collect();
    write!(out, "{}\r\n", fields.join(","))
}

/// Quotes a field where RFC 4180 (2.5 to 2.7) requires it.
fn quoted(field: String) -> String {
    if field.contains(['"', ',', '\r', '\n']) || field.starts_with(' ') || field.ends_with(' ') {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_if_necessary() {
        let quoted = |field: &str| quoted(field.to_owned());
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("=1+1"), "=1+1");
        assert_eq!(quoted("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
    }
}
