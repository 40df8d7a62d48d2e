//! OpenTelemetry: a trace of the run and its jobs, and its events and output as logs. Each line
//! is one request, the format of the collector's `otlpjsonfile` receiver.

mod model;
mod trace;

use std::collections::HashMap;
use std::io;
use std::io::Write;

use jiff::Timestamp;
use serde_json::Value;

use self::model::{
    KeyValue, LogRecord, LogsRequest, OtlpSpan, ResourceLogs, ResourceSpans, Scope, ScopeLogs,
    ScopeSpans, Severity, TraceRequest, UnixNano,
};
use self::trace::Trace;
use super::spans::Spans;
use super::utf8_decoder::Utf8Decoder;
use crate::log::{EventKind, EventType, Item, RunState, StreamId};
use crate::render::export::{Export, OutputChunk};
use crate::render::human::event_line::{event_kind, event_time, parse_event, plain_details};
use crate::render::json::json_lines::json_line;
use crate::render::json::run_record::RunRecord;
use crate::volume::RunId;

/// The number of records or spans in a request.
const BATCH_RECORDS: usize = 128;
/// The approximate size of the text of all records in a request, in bytes.
const BATCH_BYTES: usize = 256 << 10;
/// The maximum length of a line of output in one record, in bytes.
const MAX_RECORD_BYTES: usize = 64 << 10;

/// A stream of a job.
type Source = (String, Option<StreamId>);

/// Which records to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flush {
    /// Only full requests.
    FullBatches,
    /// All of them.
    All,
}

/// A writer of traces and logs.
#[derive(Debug)]
pub struct Otlp {
    trace: Trace,
    phases: Spans,
    spans: Vec<OtlpSpan>,
    records: Vec<LogRecord>,
    record_bytes: usize,
    /// The unfinished line of each stream.
    lines: HashMap<Source, (Utf8Decoder, String)>,
}

impl Otlp {
    /// Creates an export of the run with this id.
    pub fn new(run: RunId) -> Self {
        Self {
            trace: Trace::new(run),
            phases: Spans::default(),
            spans: Vec::new(),
            records: Vec::new(),
            record_bytes: 0,
            lines: HashMap::new(),
        }
    }

    /// Returns a record of the job, or of the run if no job is given.
    fn record(
        &mut self,
        ts: Option<Timestamp>,
        severity: Severity,
        job: Option<&str>,
        body: &str,
    ) -> LogRecord {
        self.record_bytes += body.len();
        let time = ts.map_or_else(UnixNano::unknown, UnixNano::new);
        let [trace_id, span_id] = self.trace.ids(job);
        LogRecord {
            time_unix_nano: time.clone(),
            observed_time_unix_nano: time,
            severity_number: severity.number(),
            severity_text: severity.text(),
            body: body.into(),
            attributes: Vec::new(),
            trace_id,
            span_id,
            event_name: None,
        }
    }

    fn output_line(&mut self, source: &Source, ts: Option<Timestamp>, line: &str) {
        let (job, stream) = source;
        let line = line.strip_suffix('\n').unwrap_or(line);
        self.phases.last = self.phases.last.max(ts);
        let ts = ts.or(self.phases.last);
        let mut record = self.record(ts, Severity::Info, Some(job), line);
        let attributes = &mut record.attributes;
        attributes.push(KeyValue::new("runlog.job_id", job.as_str()));
        attributes.extend(stream.map(|stream| KeyValue::new("log.iostream", stream.as_str())));
        self.records.push(record);
    }

    fn flush(&mut self, out: &mut dyn Write, flush: Flush) -> io::Result<()> {
        let is_due = |n: usize| n > 0 && (flush == Flush::All || n >= BATCH_RECORDS);
        let resource = self.trace.resource();
        if is_due(self.records.len()) || self.record_bytes >= BATCH_BYTES {
            self.record_bytes = 0;
            let scope_logs = ScopeLogs {
                scope: Scope::default(),
                log_records: std::mem::take(&mut self.records),
            };
            let resource_logs = ResourceLogs {
                resource,
                scope_logs: [scope_logs],
            };
            let resource_logs = [resource_logs];
            json_line(out, &LogsRequest { resource_logs })?;
        }
        if is_due(self.spans.len()) {
            let scope_spans = ScopeSpans {
                scope: Scope::default(),
                spans: std::mem::take(&mut self.spans),
            };
            let resource_spans = ResourceSpans {
                resource,
                scope_spans: [scope_spans],
            };
            let resource_spans = [resource_spans];
            json_line(out, &TraceRequest { resource_spans })?;
        }
        Ok(())
    }
}

impl Export for Otlp {
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()> {
        if let Item::Damage(damage) = item {
            let text = damage.to_string();
            let record = self.record(self.phases.last, Severity::Warn, None, &text);
            self.records.push(record);
            return Ok(());
        }
        self.trace.set_run(run);
        for phase in self.phases.apply(item, run) {
            self.spans
                .push(self.trace.phase_span(&phase, self.phases.last));
        }
        let (Item::Event(_, line) | Item::Foreign(_, line)) = item else {
            return Ok(());
        };
        let Some(event) = parse_event(line) else {
            return Ok(());
        };
        let kind = event_kind(&event);
        let severity = match kind {
            "job_failed" | "node.failed" | "pipe.aborted" => Severity::Error,
            "job_rollback_started" | "job_rolled_back" | "log_repaired" => Severity::Warn,
            "job_sampled" => Severity::Debug,
            _ => Severity::Info,
        };
        let text = |key: &str| event.get(key).and_then(Value::as_str);
        // A note may name a job that does not exist.
        let job = text("job_id").or(text("node_id"));
        let state = job.and_then(|job| run.job(job));
        let job = state.and(job);
        if let Some(state) = state.filter(|_| kind == "job_submitted") {
            self.trace.set_job(state);
        }
        let body = format!("{kind} {}", plain_details(kind, &event));
        let ts = self.phases.now.or_else(|| event_time(&event));
        let mut record = self.record(ts, severity, job, body.trim_end());
        record.event_name = Some(format!("runlog.{kind}"));
        record.attributes = event_attributes(kind, &event);
        self.records.push(record);
        self.record_bytes += line.len();
        self.flush(out, Flush::FullBatches)
    }

    fn wants_output(&self) -> bool {
        true
    }

    fn output(&mut self, out: &mut dyn Write, chunk: OutputChunk<'_>) -> io::Result<()> {
        let source = (chunk.job.to_owned(), chunk.stream);
        let (mut utf8, mut line) = self.lines.remove(&source).unwrap_or_default();
        line.push_str(&utf8.push(chunk.bytes));
        let mut rest = &*line;
        while let Some(end) = line_end(rest) {
            let (whole, behind) = rest.split_at(end);
            self.output_line(&source, chunk.ts, whole);
            self.flush(out, Flush::FullBatches)?;
            rest = behind;
        }
        let rest = rest.to_owned();
        self.lines.insert(source, (utf8, rest));
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        let mut left: Vec<_> = std::mem::take(&mut self.lines).into_iter().collect();
        left.sort_by(|(a, _), (b, _)| a.0.cmp(&b.0));
        for (source, (mut utf8, mut line)) in left {
            line.push_str(&utf8.finish());
            if !line.is_empty() {
                self.output_line(&source, None, &line);
            }
        }
        for phase in self.phases.rest(run) {
            self.spans
                .push(self.trace.phase_span(&phase, self.phases.last));
        }
        for job in &run.jobs {
            let extent = self.phases.job(&job.job_id);
            self.spans
                .extend(extent.map(|extent| self.trace.job_span(job, extent)));
            self.flush(out, Flush::FullBatches)?;
        }
        if let Some(start) = run.opened_ts {
            let end = self.phases.end_of_run(run, start);
            self.spans.push(self.trace.run_span(run, (start, end)));
        }
        self.flush(out, Flush::All)
    }
}

/// Returns the fields of an event as attributes, without those that are elsewhere in its record
/// or belong to its envelope, and without the state in a checkpoint, which repeats all earlier
/// events.
fn event_attributes(kind: &str, event: &Value) -> Vec<KeyValue> {
    let is_checkpoint = EventKind::new(kind) == EventType::LogRotated;
    let is_left_out = |key: &str| {
        ["v", "ts", "type", "run_id", "crc"].contains(&key) || key == "state" && is_checkpoint
    };
    let fields = event.as_object().into_iter().flatten();
    fields
        .filter(|(key, _)| !is_left_out(key))
        .map(|(key, value)| KeyValue::new(format!("runlog.{key}"), value))
        .collect()
}

/// Returns the end of the first line, including its `\n`, or the point where it is too long for
/// one record.
fn line_end(text: &str) -> Option<usize> {
    let end = memchr::memchr(b'\n', text.as_bytes()).map(|at| at + 1);
    match end {
        Some(end) if end <= MAX_RECORD_BYTES => Some(end),
        _ if text.len() > MAX_RECORD_BYTES => (0..=MAX_RECORD_BYTES)
            .rev()
            .find(|at| text.is_char_boundary(*at)),
        end => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_split_between_characters() {
        assert_eq!(line_end("ab\ncd"), Some(3));
        assert_eq!(line_end("ab"), None);
        let long = "é".repeat(MAX_RECORD_BYTES);
        assert_eq!(line_end(&long), Some(MAX_RECORD_BYTES));
        assert_eq!(line_end(&format!("a{long}")), Some(MAX_RECORD_BYTES - 1));
    }
}
