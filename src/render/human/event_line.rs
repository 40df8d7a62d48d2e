//! One event as a line for people.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::text::{Role, Style, count, duration, escape_controls, precise_time, size};
use crate::log::command_line;

/// The line of an event, ours or another program's, from its JSON.
pub fn event_line(line: &[u8], style: Style) -> String {
    let Some(event) = parse(line) else {
        return escape_controls(&String::from_utf8_lossy(line)).into_owned();
    };
    let ts = match event.get("ts") {
        Some(Value::String(ts)) => precise_time(ts),
        _ => time_of(&event)
            .map(|at| precise_time(&at.to_string()))
            .unwrap_or_default(),
    };
    let seq = style.paint(Role::Faint, &format!("{:>5}", seq_of(&event)));
    let ts = style.paint(Role::Faint, &ts);
    let kind = kind_of(&event);
    let (name, job) = (name_of(kind, style), job_of(&event));
    let line = format!("{ts} {seq}  {name}  {job}{}", details(kind, &event, style));
    line.trim_end().to_owned()
}

/// How deep a value is looked into for what no `Value` can hold.
const DEPTH: usize = 100;

/// A stored line as a value. A log keeps numbers as they were written: what is too large for
/// a double (`1e400`) is a text here, and so is what is nested too deep.
pub(crate) fn parse(line: &[u8]) -> Option<Value> {
    let line = std::str::from_utf8(line).ok()?;
    let read = serde_json::from_str(line).ok();
    read.or_else(|| members(line, DEPTH))
}

fn members(text: &str, depth: usize) -> Option<Value> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    let held = members
        .into_iter()
        .map(|(key, raw)| (key, held(raw.get(), depth)));
    Some(Value::Object(held.collect()))
}

fn held(text: &str, depth: usize) -> Value {
    let as_text = || Value::from(text);
    match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) if depth == 0 => as_text(),
        Err(_) if text.starts_with('{') => members(text, depth - 1).unwrap_or_else(as_text),
        Err(_) => match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(all) => all.iter().map(|one| held(one.get(), depth - 1)).collect(),
            Err(_) => as_text(),
        },
    }
}

/// When a stored line was written, ours or another program's.
pub fn line_time(line: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct EventFields {
        ts: Value,
    }
    let EventFields { ts } = serde_json::from_slice(line).ok()?;
    moment(&ts)
}

/// When an event was written, ours or another program's.
pub(crate) fn time_of(event: &Value) -> Option<Timestamp> {
    moment(event.get("ts")?)
}

fn moment(ts: &Value) -> Option<Timestamp> {
    match ts {
        Value::String(ts) => ts.parse().ok(),
        Value::Number(s) => Timestamp::from_second(s.as_i64()?).ok(),
        _ => None,
    }
}

/// The number of an event; `-` where it has none.
pub(crate) fn seq_of(event: &Value) -> String {
    event
        .get("seq")
        .map_or_else(|| "-".to_owned(), Value::to_string)
}

/// The type of an event.
pub(crate) fn kind_of(event: &Value) -> &str {
    event
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What people call an event of this type, as wide as a column.
pub(crate) fn name_of(kind: &str, style: Style) -> String {
    let (name, tone) = match kind {
        "job_completed" => ("✓ completed", Role::Good),
        "job_failed" => ("✗ failed", Role::Bad),
        "job_started" => ("▶ started", Role::Busy),
        "job_submitted" => ("○ submitted", Role::Plain),
        "job_validated" => ("○ validated", Role::Plain),
        "job_sampled" => ("· sampled", Role::Faint),
        "job_rollback_started" => ("↩ rollback", Role::Doubt),
        "job_rolled_back" => ("↩ rolled back", Role::Doubt),
        "run_opened" => ("run opened", Role::Plain),
        "run_closed" => ("run closed", Role::Plain),
        "log_rotated" => ("log rotated", Role::Faint),
        "log_repaired" => ("log repaired", Role::Doubt),
        other => (other, Role::Plain),
    };
    let name = escape_controls(name);
    let padding = " ".repeat(14_usize.saturating_sub(name.chars().count()));
    format!("{}{padding}", style.paint(tone, &name))
}

/// The job of an event and a gap, or nothing.
pub(crate) fn job_of(event: &Value) -> String {
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let job = [text("job_id"), text("node_id")]
        .into_iter()
        .find(|s| !s.is_empty());
    job.map(|job| format!("{}  ", escape_controls(job)))
        .unwrap_or_default()
}

/// An exit code, which is bad unless it is 0.
pub(crate) fn exit(code: i64, style: Style) -> String {
    let tone = if code == 0 { Role::Plain } else { Role::Bad };
    style.paint(tone, &format!("exit {code}"))
}

/// What an event says, for people.
pub(crate) fn details(kind: &str, event: &Value, style: Style) -> String {
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
            parts.extend(
                number("/retry_in_ms").map(|ms| format!("tried again in {}", duration(ms))),
            );
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
        "log_repaired" => {
            parts.extend(number("/bytes").map(|n| format!("{n} bytes {}", text("/action"))));
            parts.push(text("/quarantine"));
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
            parts.extend(code.map(|code| exit(code, style)));
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
    fn a_number_that_no_double_holds_hides_nothing() {
        let line =
            br#"{"seq":1,"ts":"2026-11-21T21:49:00Z","data":{"n":[1,-1e999],"o":{"k":true}}}"#;
        let event = parse(line).unwrap();
        assert_eq!(event["seq"], 1);
        assert_eq!(event["data"], json!({"n": [1, "-1e999"], "o": {"k": true}}));
        assert_eq!(line_time(line), time_of(&event));
        assert!(line_time(line).is_some());
        let deep = format!("{{\"x\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(parse(deep.as_bytes()).unwrap().to_string().len() > 9_000);
        assert_eq!(parse(b"no"), None);
    }
}
