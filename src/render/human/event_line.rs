//! One event as a line for people.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;

use super::format::{count, duration, precise_time, size};
use super::style::{Role, Style, escape_controls};
use crate::log::{EventHead, command_line};

/// Returns the line for an event of runlog or of another program, given its JSON.
pub fn event_line(line: &[u8], style: Style) -> String {
    let Some(event) = parse_event(line) else {
        return escape_controls(&String::from_utf8_lossy(line)).into_owned();
    };
    let ts = match (event_time(&event), event.get("ts")) {
        (Some(ts), _) => precise_time(ts),
        (None, Some(Value::String(ts))) => escape_controls(ts).into_owned(),
        (None, _) => String::new(),
    };
    let seq = style.faint(&format!("{:>5}", event_seq(&event)));
    let ts = style.faint(&ts);
    let kind = event_kind(&event);
    let (name, job) = (event_name(kind, style), job_prefix(&event));
    let details = event_details(kind, &event, style);
    let line = format!("{ts} {seq}  {name}  {job}{details}");
    line.trim_end().to_owned()
}

/// The maximum depth to search for parts that a `Value` cannot hold.
const MAX_DEPTH: usize = 100;

/// Parses a stored line.
///
/// A log keeps numbers as they were written. Here, a number too large for a double (`1e400`)
/// becomes a string, and so does a value that is nested too deep.
pub(crate) fn parse_event(line: &[u8]) -> Option<Value> {
    let line = std::str::from_utf8(line).ok()?;
    let read = serde_json::from_str(line).ok();
    read.or_else(|| parse_object(line, MAX_DEPTH))
}

fn parse_object(text: &str, depth: usize) -> Option<Value> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    let parsed = members
        .into_iter()
        .map(|(key, raw)| (key, parse_value(raw.get(), depth)));
    Some(Value::Object(parsed.collect()))
}

fn parse_value(text: &str, depth: usize) -> Value {
    let as_text = || Value::from(text);
    match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) if depth == 0 => as_text(),
        Err(_) if text.starts_with('{') => parse_object(text, depth - 1).unwrap_or_else(as_text),
        Err(_) => match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(all) => all
                .iter()
                .map(|one| parse_value(one.get(), depth - 1))
                .collect(),
            Err(_) => as_text(),
        },
    }
}

/// Returns when a stored line was written, by runlog or by another program.
pub fn line_time(line: &[u8]) -> Option<Timestamp> {
    EventHead::parse(line)?.ts
}

/// Returns when an event was written, by runlog or by another program.
pub(crate) fn event_time(event: &Value) -> Option<Timestamp> {
    parse_time(event.get("ts")?)
}

fn parse_time(ts: &Value) -> Option<Timestamp> {
    match ts {
        Value::String(ts) => ts.parse().ok(),
        Value::Number(s) => Timestamp::from_second(s.as_i64()?).ok(),
        _ => None,
    }
}

/// Returns the sequence number of an event, or `-` if it has none.
pub(crate) fn event_seq(event: &Value) -> String {
    event
        .get("seq")
        .map_or_else(|| "-".to_owned(), Value::to_string)
}

/// Returns the type of an event.
pub(crate) fn event_kind(event: &Value) -> &str {
    event
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The width of the column with the names of event types.
const NAME_WIDTH: usize = 14;

/// Returns the name of an event type for people, padded to the width of the column.
pub(crate) fn event_name(kind: &str, style: Style) -> String {
    let pick = |unicode, ascii| style.glyphs.pick(unicode, ascii);
    let (name, role) = match kind {
        "job_completed" => (pick("✓ completed", "+ completed"), Role::Good),
        "job_failed" => (pick("✗ failed", "x failed"), Role::Bad),
        "job_started" => (pick("▶ started", "> started"), Role::Busy),
        "job_submitted" => (pick("○ submitted", "o submitted"), Role::Plain),
        "job_validated" => (pick("○ validated", "o validated"), Role::Plain),
        "job_sampled" => (pick("· sampled", ". sampled"), Role::Faint),
        "job_rollback_started" => (pick("↩ rollback", "< rollback"), Role::Doubt),
        "job_rolled_back" => (pick("↩ rolled back", "< rolled back"), Role::Doubt),
        "run_opened" => ("run opened", Role::Plain),
        "run_closed" => ("run closed", Role::Plain),
        "hook_ended" => ("hook ended", Role::Plain),
        "job_rerun" => (pick("↻ run again", "@ run again"), Role::Plain),
        "log_rotated" => ("log rotated", Role::Faint),
        "log_repaired" => ("log repaired", Role::Doubt),
        other => (other, Role::Plain),
    };
    padded_name(&escape_controls(name), role, style)
}

/// Returns the name of damage in the column of event types.
pub(crate) fn damage_name(style: Style) -> String {
    padded_name("! damaged", Role::Bad, style)
}

/// Returns the name of a gap in the column of event types.
pub(crate) fn gap_name(style: Style) -> String {
    let glyph = style.glyphs.pick("✗", "x");
    padded_name(&format!("{glyph} gap"), Role::Bad, style)
}

fn padded_name(name: &str, role: Role, style: Style) -> String {
    let padding = " ".repeat(NAME_WIDTH.saturating_sub(name.chars().count()));
    format!("{}{padding}", style.paint(role, name))
}

/// Returns the job of an event followed by a gap, or nothing.
pub(crate) fn job_prefix(event: &Value) -> String {
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let job = [text("job_id"), text("node_id")]
        .into_iter()
        .find(|s| !s.is_empty());
    job.map(|job| format!("{}  ", escape_controls(job)))
        .unwrap_or_default()
}

/// Returns the text of an exit code. Every code except 0 is bad.
pub(crate) fn exit_code_text(code: i64, style: Style) -> String {
    let role = if code == 0 { Role::Plain } else { Role::Bad };
    style.paint(role, &format!("exit {code}"))
}

/// Returns the details of an event without colors, for other programs.
pub(crate) fn plain_details(kind: &str, event: &Value) -> String {
    event_details(kind, event, Style::default())
}

/// Returns the details of an event, for people.
pub(crate) fn event_details(kind: &str, event: &Value, style: Style) -> String {
    let bad = |text: &str| style.paint(Role::Bad, &escape_controls(text));
    let text = |at: &str| {
        escape_controls(event.pointer(at).and_then(Value::as_str).unwrap_or("")).into_owned()
    };
    let number = |at: &str| event.pointer(at).and_then(Value::as_u64);
    let mut parts: Vec<String> = Vec::new();
    match kind {
        "run_opened" => parts.push(text("/name")),
        "job_submitted" => {
            let argv = event.get("argv").and_then(Value::as_array);
            let words = argv.into_iter().flatten().filter_map(Value::as_str);
            let argv: Vec<String> = words.map(str::to_owned).collect();
            parts.push(escape_controls(&command_line(&argv)).into_owned());
        }
        "job_validated" => parts.push(text("/program")),
        "job_started" => {
            parts.extend(number("/pid").map(|pid| format!("pid {pid}")));
            parts.push(text("/capability"));
            parts.extend(
                number("/attempt")
                    .filter(|n| *n > 1)
                    .map(|n| format!("attempt {n}")),
            );
        }
        "job_completed" | "job_failed" | "job_rolled_back" => {
            parts.extend(
                event
                    .pointer("/error/message")
                    .and_then(Value::as_str)
                    .map(bad),
            );
            parts.extend(event.get("error").and_then(Value::as_str).map(bad));
            parts.extend(number("/duration_ms").map(duration));
            parts.extend(number("/cost/cpu_ms").map(|ms| format!("{} CPU", duration(ms))));
            parts.extend(number("/cost/max_rss_bytes").map(|b| format!("{} peak RSS", size(b))));
            parts.extend(number("/retry_in_ms").map(|ms| format!("retrying in {}", duration(ms))));
        }
        "job_sampled" => {
            parts.extend(number("/job/processes").map(|n| format!("{n} running")));
            parts.extend(
                event
                    .pointer("/job/cpu_percent")
                    .map(|p| format!("{p}% CPU")),
            );
            parts.extend(number("/job/rss_bytes").map(|b| format!("{} RSS", size(b))));
            return style.paint(Role::Faint, &parts.join("  "));
        }
        "job_rollback_started" => parts.push(text("/command")),
        "job_rerun" => parts.push(format!(
            "as {} of {}",
            text("/rerun_by_job"),
            text("/rerun_by")
        )),
        "hook_ended" => {
            parts.push(text("/hook"));
            let error = event.pointer("/error/message").and_then(Value::as_str);
            parts.extend(error.map(bad));
            parts.extend(number("/duration_ms").map(duration));
        }
        "run_closed" => {
            parts.extend(number("/summary/jobs_total").map(|n| count(n, "job")));
            parts.extend(number("/summary/jobs_failed").map(|n| match n {
                0 => "0 failed".to_owned(),
                n => bad(&format!("{n} failed")),
            }));
            parts.extend(number("/duration_ms").map(duration));
        }
        "note" => {
            parts.push(text("/name"));
            parts.extend(
                event
                    .get("data")
                    .map(|data| escape_controls(&data.to_string()).into_owned()),
            );
        }
        "log_rotated" => parts.push(text("/sealed/file")),
        "log_repaired" if text("/action") == "missing" => {
            parts.push("the active segment was removed".to_owned());
        }
        "log_repaired" if text("/action") == "hidden" => {
            parts.push(format!("damage in {} hides events", text("/file")));
        }
        "log_repaired" => {
            if let (Some(first), Some(last)) = (number("/lost_first_seq"), number("/lost_last_seq"))
            {
                parts.push(format!("events {first} to {last} were lost"));
            } else {
                parts.extend(number("/bytes").map(|n| format!("{n} bytes {}", text("/action"))));
                parts.push(text("/quarantine"));
            }
        }
        _ => {
            for at in [
                "/pipe",
                "/kind",
                "/message",
                "/reason",
                "/capability",
                "/cmd",
                "/error/kind",
            ] {
                parts.push(text(at));
            }
            let code = event.get("cmd_exit_code").and_then(Value::as_i64);
            parts.extend(code.map(|code| exit_code_text(code, style)));
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn number_too_large_for_double_is_kept_as_text() {
        let line =
            br#"{"type":"x","seq":1,"ts":"2026-11-21T21:49:00Z","data":{"n":[1,-1e999],"o":{"k":true}}}"#;
        let event = parse_event(line).unwrap();
        assert_eq!(event["seq"], 1);
        assert_eq!(event["data"], json!({"n": [1, "-1e999"], "o": {"k": true}}));
        assert_eq!(line_time(line), event_time(&event));
        assert!(line_time(line).is_some());
        let deep = format!("{{\"x\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(parse_event(deep.as_bytes()).unwrap().to_string().len() > 9_000);
        assert_eq!(parse_event(b"no"), None);
    }
}
