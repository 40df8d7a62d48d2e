//! The timeline of a run: its events with the time since its start, and a summary.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

use super::event_line::{
    damage_name, event_details, event_kind, event_name, event_seq, event_time, exit_code_text,
    gap_name, job_prefix, parse_event,
};
use super::format::{count, duration, elapsed, size, time_with_zone};
use super::style::{Role, Style, escape_controls, status_glyph};
use crate::job::RunVerdict;
use crate::log::format::payload::ErrorKind;
use crate::log::{Damage, EventType, Gap, RunState, SteadyTime};
use crate::volume::RunId;

/// A printer of a run, line by line.
#[derive(Debug)]
pub struct Timeline {
    style: Style,
    time: SteadyTime,
    /// When the run started.
    start: Option<Timestamp>,
    events: u64,
    rotations: u64,
    repairs: u64,
    damaged: u64,
    /// The number of bytes that each job has printed so far.
    printed: HashMap<String, u64>,
}

impl Timeline {
    /// Creates the timeline of a run before any event is read.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            time: SteadyTime::default(),
            start: None,
            events: 0,
            rotations: 0,
            repairs: 0,
            damaged: 0,
            printed: HashMap::new(),
        }
    }

    /// Returns the first line, given the state after the first event.
    pub fn title(&mut self, run: &RunId, state: &RunState) -> String {
        self.start = state.opened_ts;
        let opened = state.opened_ts.map(time_with_zone);
        let opened = opened.map(|at| format!("  started {at}"));
        let host = state.host.as_deref();
        let host = host.map(|host| format!(" on {}", escape_controls(host)));
        let about = format!("{}{}", opened.unwrap_or_default(), host.unwrap_or_default());
        let run = self.style.paint(Role::Strong, run.as_str());
        format!("{run}{}", self.style.faint(&about))
    }

    /// Returns the line for an event of runlog or of another program.
    pub fn event(&mut self, line: &[u8]) -> String {
        self.events += 1;
        let Some(event) = parse_event(line) else {
            return escape_controls(&String::from_utf8_lossy(line)).into_owned();
        };
        let ts = self.time.event(line).or_else(|| event_time(&event));
        self.start = self.start.or(ts);
        let since = match (self.start, ts) {
            (Some(start), Some(ts)) => elapsed(ts.duration_since(start)),
            _ => String::new(),
        };
        let kind = event_kind(&event);
        let details = match EventType::parse(kind) {
            Some(EventType::JobCompleted | EventType::JobFailed | EventType::JobRolledBack)
                if event.get("v").is_some() =>
            {
                self.job_end(&event)
            }
            Some(EventType::LogRotated) => {
                self.rotations += 1;
                let sealed = event.pointer("/sealed/bytes").and_then(Value::as_u64);
                let bytes = sealed.map(|n| format!("  {}", size(n))).unwrap_or_default();
                format!("{}{bytes}", event_details(kind, &event, self.style))
            }
            Some(EventType::LogRepaired) => {
                self.repairs += 1;
                event_details(kind, &event, self.style)
            }
            _ => event_details(kind, &event, self.style),
        };
        let text = format!("{}{details}", job_prefix(&event));
        let name = event_name(kind, self.style);
        self.line(&since, &event_seq(&event), &name, &text)
    }

    /// Returns the line for a damaged place.
    pub fn damage(&mut self, damage: &Damage) -> String {
        self.damaged += 1;
        let file = damage.file.file_name().unwrap_or_default();
        let text = format!(
            "{}:{}:{}: {}",
            escape_controls(&file.to_string_lossy()),
            damage.line,
            damage.offset,
            damage.reason
        );
        self.line("", "", &damage_name(self.style), &text)
    }

    /// Returns the line for events that were dropped.
    pub fn gap(&self, gap: &Gap) -> String {
        self.line("", "", &gap_name(self.style), &gap.to_string())
    }

    /// Returns whether there was a damaged place.
    pub fn has_damage(&self) -> bool {
        self.damaged > 0
    }

    fn line(&self, since: &str, seq: &str, name: &str, text: &str) -> String {
        let since = self.style.faint(&format!("{since:>11}"));
        let seq = self.style.faint(&format!("{seq:>5}"));
        format!("{since} {seq}  {name}  {text}")
            .trim_end()
            .to_owned()
    }

    /// Returns how a job ended, and its resource usage.
    fn job_end(&mut self, event: &Value) -> String {
        let number = |at: &str| event.pointer(at).and_then(Value::as_u64);
        let text = |at: &str| event.pointer(at).and_then(Value::as_str);
        let exit_code = event.get("exit_code").and_then(Value::as_i64);
        let mut parts: Vec<String> = Vec::new();
        match (text("/signal"), exit_code) {
            (Some(signal), _) => parts.push(self.style.paint(Role::Bad, &escape_controls(signal))),
            (None, Some(code)) => parts.push(exit_code_text(code, self.style)),
            (None, None) => {}
        }
        // The exit code and the signal are already in the line.
        let known = [ErrorKind::Exit, ErrorKind::Signal].map(ErrorKind::as_str);
        if let Some(error) = text("/error/kind").filter(|error| !known.contains(error)) {
            let message = text("/error/message").unwrap_or_default();
            let text = format!("{}: {}", escape_controls(error), escape_controls(message));
            parts.push(self.style.paint(Role::Bad, &text));
        }
        let attempt = number("/attempt").filter(|n| *n > 1);
        parts.extend(attempt.map(|n| format!("attempt {n}")));
        parts.extend(number("/duration_ms").map(duration));
        parts.extend(number("/cost/cpu_ms").map(|ms| format!("{} CPU", duration(ms))));
        parts.extend(number("/cost/max_rss_bytes").map(|n| format!("{} peak RSS", size(n))));
        for (at, verb) in [
            ("/cost/read_bytes", "read"),
            ("/cost/written_bytes", "written"),
        ] {
            let bytes = number(at).filter(|n| *n > 0);
            parts.extend(bytes.map(|n| format!("{} {verb}", size(n))));
        }
        if let Some(printed) = self.newly_printed(event).filter(|n| *n > 0) {
            parts.push(format!("{} printed", size(printed)));
        }
        parts.extend(text("/output/truncated").map(|why| escape_controls(why).into_owned()));
        parts.extend(number("/retry_in_ms").map(|ms| format!("retrying in {}", duration(ms))));
        parts.join("  ")
    }

    /// Returns how much a job has printed since its previous event with a count. The log counts
    /// from the start of the job.
    fn newly_printed(&mut self, event: &Value) -> Option<u64> {
        let job = event.get("job_id").and_then(Value::as_str)?;
        let output = event.get("output")?;
        let of = |stream: &str| output.get(stream).and_then(Value::as_u64).unwrap_or(0);
        let streams = ["stdout_bytes", "stderr_bytes", "both_bytes"];
        let now = streams.into_iter().map(of).fold(0, u64::saturating_add);
        let before = self.printed.insert(job.to_owned(), now).unwrap_or(0);
        Some(now.saturating_sub(before))
    }

    /// Returns the last lines: the state of the run, and the totals.
    pub fn summary(&self, state: &RunState, verdict: &RunVerdict) -> String {
        let (glyph, role) = status_glyph(verdict.state, self.style.glyphs);
        let word = format!("{glyph} {}", verdict.state.as_str());
        let word = self.style.paint(role, &word);
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
        for (n, noun) in [(self.rotations, "rotation"), (self.repairs, "repair")] {
            if n > 0 {
                parts.push(count(n, noun));
            }
        }
        if self.damaged > 0 {
            let text = format!("{} skipped", count(self.damaged, "damaged place"));
            parts.push(self.style.paint(Role::Bad, &text));
        }
        format!(
            "{word}{after}: {}\n{}",
            escape_controls(&verdict.because),
            parts.join(", ")
        )
    }
}
