//! The story of a run: its events with the time since its start, and a sum.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

use super::event_line::{details, exit, job_of, kind_of, name_of, parse, seq_of, time_of};
use super::text::{
    Role, Style, count, duration, elapsed, escape_controls, size, state_role, time_with_zone,
};
use crate::job::RunVerdict;
use crate::log::format::payload::ErrorKind;
use crate::log::{Damage, EventType, RunState};
use crate::volume::{RunId, parse_ts};

/// Tells a run line by line.
#[derive(Debug)]
pub struct Timeline {
    style: Style,
    /// When the run began.
    start: Option<Timestamp>,
    events: u64,
    rotations: u64,
    repairs: u64,
    damaged: u64,
    /// What each job has printed so far, in bytes.
    printed: HashMap<String, u64>,
}

impl Timeline {
    /// A story that was not begun yet.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            start: None,
            events: 0,
            rotations: 0,
            repairs: 0,
            damaged: 0,
            printed: HashMap::new(),
        }
    }

    /// The line that the story begins with; `state` is what the first event tells.
    pub fn title(&mut self, run: &RunId, state: &RunState) -> String {
        self.start = state.opened_ts.as_deref().and_then(parse_ts);
        let opened = state.opened_ts.as_deref().map(time_with_zone);
        let opened = opened.map(|at| format!("  began {at}")).unwrap_or_default();
        let host = state
            .host
            .as_deref()
            .map(|h| format!(" on {}", escape_controls(h)));
        let about = format!("{opened}{}", host.unwrap_or_default());
        let run = self.style.paint(Role::Strong, run.as_str());
        format!("{run}{}", self.style.paint(Role::Faint, &about))
    }

    /// The line of an event, ours or another program's.
    pub fn event(&mut self, line: &[u8]) -> String {
        self.events += 1;
        let Some(event) = parse(line) else {
            return escape_controls(&String::from_utf8_lossy(line)).into_owned();
        };
        let ts = time_of(&event);
        self.start = self.start.or(ts);
        let since = match (self.start, ts) {
            (Some(start), Some(ts)) => elapsed(ts.duration_since(start)),
            _ => String::new(),
        };
        let kind = kind_of(&event);
        let told = match EventType::parse(kind) {
            Some(EventType::JobCompleted | EventType::JobFailed | EventType::JobRolledBack)
                if event.get("v").is_some() =>
            {
                self.ended(&event)
            }
            Some(EventType::LogRotated) => {
                self.rotations += 1;
                let sealed = event.pointer("/sealed/bytes").and_then(Value::as_u64);
                let bytes = sealed.map(|n| format!("  {}", size(n))).unwrap_or_default();
                format!("{}{bytes}", details(kind, &event, self.style))
            }
            Some(EventType::LogRepaired) => {
                self.repairs += 1;
                details(kind, &event, self.style)
            }
            _ => details(kind, &event, self.style),
        };
        let told = format!("{}{told}", job_of(&event));
        self.line(&since, &seq_of(&event), &name_of(kind, self.style), &told)
    }

    /// The line of a damaged place.
    pub fn damage(&mut self, damage: &Damage) -> String {
        self.damaged += 1;
        let name = format!("{:14}", "! damaged");
        let file = damage.file.file_name().unwrap_or_default();
        let told = format!(
            "{}:{}:{}: {}",
            escape_controls(&file.to_string_lossy()),
            damage.line,
            damage.offset,
            damage.reason
        );
        self.line("", "", &self.style.paint(Role::Bad, &name), &told)
    }

    fn line(&self, since: &str, seq: &str, name: &str, told: &str) -> String {
        let since = self.style.paint(Role::Faint, &format!("{since:>11}"));
        let seq = self.style.paint(Role::Faint, &format!("{seq:>5}"));
        format!("{since} {seq}  {name}  {told}")
            .trim_end()
            .to_owned()
    }

    /// How a job ended, and what it cost.
    fn ended(&mut self, event: &Value) -> String {
        let number = |at: &str| event.pointer(at).and_then(Value::as_u64);
        let text = |at: &str| event.pointer(at).and_then(Value::as_str);
        let mut parts: Vec<String> = Vec::new();
        match (
            text("/signal"),
            event.get("exit_code").and_then(Value::as_i64),
        ) {
            (Some(signal), _) => parts.push(self.style.paint(Role::Bad, &escape_controls(signal))),
            (None, Some(code)) => parts.push(exit(code, self.style)),
            (None, None) => {}
        }
        // The exit code and the signal are told already.
        let known = [ErrorKind::Exit, ErrorKind::Signal].map(ErrorKind::as_str);
        if let Some(error) = text("/error/kind").filter(|error| !known.contains(error)) {
            let message = text("/error/message").unwrap_or_default();
            let text = format!("{}: {}", escape_controls(error), escape_controls(message));
            parts.push(self.style.paint(Role::Bad, &text));
        }
        parts.extend(
            number("/attempt")
                .filter(|n| *n > 1)
                .map(|n| format!("attempt {n}")),
        );
        parts.extend(number("/duration_ms").map(duration));
        parts.extend(number("/cost/cpu_ms").map(|ms| format!("{} CPU", duration(ms))));
        parts.extend(number("/cost/max_rss_bytes").map(|n| format!("{} peak RSS", size(n))));
        for (at, verb) in [
            ("/cost/read_bytes", "read"),
            ("/cost/written_bytes", "written"),
        ] {
            parts.extend(
                number(at)
                    .filter(|n| *n > 0)
                    .map(|n| format!("{} {verb}", size(n))),
            );
        }
        if let Some(printed) = self.newly_printed(event).filter(|n| *n > 0) {
            parts.push(format!("{} printed", size(printed)));
        }
        parts.extend(text("/output/truncated").map(|why| escape_controls(why).into_owned()));
        parts.extend(number("/retry_in_ms").map(|ms| format!("tried again in {}", duration(ms))));
        parts.join("  ")
    }

    /// What a job printed since its last event that tells; the log counts from its start.
    fn newly_printed(&mut self, event: &Value) -> Option<u64> {
        let job = event.get("job_id").and_then(Value::as_str)?;
        let output = event.get("output")?;
        let of = |stream: &str| output.get(stream).and_then(Value::as_u64).unwrap_or(0);
        let now = of("stdout_bytes").saturating_add(of("stderr_bytes"));
        let before = self.printed.insert(job.to_owned(), now).unwrap_or(0);
        Some(now.saturating_sub(before))
    }

    /// The sum at the end.
    pub fn sum(&self, state: &RunState, inspected: &RunVerdict) -> String {
        let (glyph, tone) = state_role(inspected.state);
        let word = self
            .style
            .paint(tone, &format!("{glyph} {}", inspected.state.as_str()));
        let after = state.duration_ms().map(duration);
        let after = after.map(|d| format!(" after {d}")).unwrap_or_default();
        let mut parts = vec![
            count(self.events, "event"),
            count(state.jobs_total as u64, "job"),
        ];
        if state.jobs_failed > 0 {
            let text = format!("{} failed", state.jobs_failed);
            parts.push(self.style.paint(Role::Bad, &text));
        }
        let printed = self
            .printed
            .values()
            .fold(0, |sum: u64, n| sum.saturating_add(*n));
        if printed > 0 {
            parts.push(format!("{} printed", size(printed)));
        }
        for (n, thing) in [(self.rotations, "rotation"), (self.repairs, "repair")] {
            if n > 0 {
                parts.push(count(n, thing));
            }
        }
        if self.damaged > 0 {
            let text = format!("{} passed over", count(self.damaged, "damaged place"));
            parts.push(self.style.paint(Role::Bad, &text));
        }
        format!(
            "{word}{after}: {}\n{}",
            escape_controls(&inspected.because),
            parts.join(", ")
        )
    }
}
