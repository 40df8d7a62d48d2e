//! OpenTelemetry: a trace of the run and its jobs, and its events and output as logs, as
//! the collector's `otlpjsonfile` receiver reads them: each line is one request in the
//! JSON of OTLP 1 ("JSON Protobuf Encoding": ids in hex, 64-bit numbers as text).

use std::collections::HashMap;
use std::io;
use std::io::Write;

use jiff::Timestamp;
use serde_json::{Value, json};
use ulid::Ulid;

use super::output_tail::Utf8;
use super::spans::{Span, Spans};
use crate::job::{RunStatus, StreamId};
use crate::log::format::payload::JobError;
use crate::log::{EventKind, EventType, Item, RunState};
use crate::render::export::{Export, OutputChunk};
use crate::render::human::event_line::{event_kind, event_time, parse_event, plain_details};
use crate::render::json::json_lines::json_line;
use crate::render::json::run_record::{JobRecord, RunRecord};
use crate::volume::RunId;

/// Records in a request.
const BATCH_RECORDS: usize = 128;
/// Text of records in a request, about, in bytes.
const BATCH_BYTES: usize = 256 << 10;
/// Longest line of output in one record, in bytes.
const MAX_RECORD_BYTES: usize = 64 << 10;

/// `SeverityNumber`.
const DEBUG: u8 = 5;
const INFO: u8 = 9;
const WARN: u8 = 13;
const ERROR: u8 = 17;

/// A stream of a job.
type Source = (String, Option<StreamId>);

/// Writes traces and logs.
#[derive(Debug)]
pub struct Otlp {
    run: RunId,
    resource: Option<Value>,
    trace_id: String,
    spans: Spans,
    ready: Vec<Value>,
    records: Vec<Value>,
    bytes: usize,
    /// What was printed of a line that has not ended.
    lines: HashMap<Source, (Utf8, String)>,
    /// The latest time that was seen.
    at: Option<Timestamp>,
}

impl Otlp {
    /// For the run of that id.
    pub fn new(run: RunId) -> Self {
        Self {
            trace_id: format!(
                "{:016x}{:016x}",
                hash(run.as_str()),
                hash(&format!("{run}/"))
            ),
            run,
            resource: None,
            spans: Spans::default(),
            ready: Vec::new(),
            records: Vec::new(),
            bytes: 0,
            lines: HashMap::new(),
            at: None,
        }
    }

    /// Where it all comes from: told by the first event.
    fn begin(&mut self, run: &RunState) {
        if self.resource.is_some() {
            return;
        }
        // The id of the first event has the length of a trace's, and is as unique.
        if let Some(id) = run
            .first_id
            .as_deref()
            .and_then(|id| id.parse::<Ulid>().ok())
        {
            self.trace_id = format!("{:032x}", id.0);
        }
        let service = match &*run.name {
            "" => "runlog",
            name => name,
        };
        let mut attributes = vec![
            attribute("service.name", &json!(service)),
            attribute("runlog.run_id", &json!(self.run)),
        ];
        attributes.extend(run.host.as_ref().map(|h| attribute("host.name", &json!(h))));
        self.resource = Some(json!({"attributes": attributes}));
    }

    fn span_id(&self, of: &str) -> String {
        format!("{:016x}", hash(&format!("{}/{of}", self.run)).max(1))
    }

    fn root(&self) -> String {
        self.span_id("")
    }

    fn phase(&self, span: &Span) -> Value {
        let end = span.end.or(self.at).unwrap_or(span.start).max(span.start);
        let phase = span.phase.name();
        let mut attributes = vec![attribute("runlog.job_id", &json!(span.job))];
        let error = span.ended.as_ref().and_then(|e| e.error.as_ref());
        if let Some(ended) = &span.ended {
            let cost = ended.cost.as_ref();
            for (key, value) in [
                ("process.exit.code", json!(ended.exit_code)),
                ("runlog.signal", json!(ended.signal)),
                ("runlog.cpu_ms", json!(cost.map(|c| c.cpu_ms))),
                ("runlog.max_rss_bytes", json!(cost.map(|c| c.max_rss_bytes))),
            ] {
                attributes.extend((!value.is_null()).then(|| attribute(key, &value)));
            }
        }
        if span.end.is_none() {
            attributes.push(attribute("runlog.unfinished", &json!(true)));
        }
        let start = nanos(span.start);
        json!({
            "traceId": self.trace_id,
            "spanId": self.span_id(&format!("{}/{phase}/{start}", span.job)),
            "parentSpanId": self.span_id(span.job.as_str()),
            "name": phase,
            "kind": 1,
            "startTimeUnixNano": start,
            "endTimeUnixNano": nanos(end),
            "attributes": attributes,
            "status": status(span.ended.is_some(), error),
        })
    }

    fn job(&self, job: &JobRecord) -> Option<Value> {
        let ended = job.ended_ts;
        // Where the log is damaged, its end may be all that is known.
        let start = job.submitted_ts.or(job.started_ts).or(ended)?;
        let end = ended.or(self.at).unwrap_or(start).max(start);
        let mut attributes = vec![
            attribute("runlog.job_id", &json!(job.job_id)),
            attribute("runlog.stage", &json!(job.stage.as_str())),
            attribute("process.command_line", &json!(job.command)),
        ];
        for (key, value) in &job.labels {
            attributes.push(attribute(&format!("runlog.label.{key}"), &json!(value)));
        }
        Some(json!({
            "traceId": self.trace_id,
            "spanId": self.span_id(job.job_id.as_str()),
            "parentSpanId": self.root(),
            "name": job.job_id,
            "kind": 1,
            "startTimeUnixNano": nanos(start),
            "endTimeUnixNano": nanos(end),
            "attributes": attributes,
            "status": status(ended.is_some(), job.error.as_ref()),
        }))
    }

    fn whole(&self, run: &RunRecord) -> Option<Value> {
        let start = run.opened_ts?;
        let closed = run.closed_ts;
        let end = closed.or(self.at).unwrap_or(start).max(start);
        let code = match run.state {
            RunStatus::Completed => json!({"code": 1}),
            RunStatus::Failed | RunStatus::Lost => {
                json!({"code": 2, "message": run.because})
            }
            RunStatus::Running | RunStatus::Open | RunStatus::Unknown => json!({}),
        };
        Some(json!({
            "traceId": self.trace_id,
            "spanId": self.root(),
            "name": run.title(),
            "kind": 1,
            "startTimeUnixNano": nanos(start),
            "endTimeUnixNano": nanos(end),
            "attributes": [attribute("runlog.state", &json!(run.state.as_str()))],
            "status": code,
        }))
    }

    /// A record of the log; `job` is whose it is.
    fn record(
        &mut self,
        ts: Option<Timestamp>,
        severity: u8,
        job: Option<&str>,
        body: &str,
        attributes: &[Value],
    ) -> Value {
        self.at = self.at.max(ts);
        let nanos = ts.map_or_else(|| "0".to_owned(), nanos);
        self.bytes += body.len();
        json!({
            "timeUnixNano": nanos,
            "observedTimeUnixNano": nanos,
            "severityNumber": severity,
            "severityText": match severity {
                DEBUG => "DEBUG",
                WARN => "WARN",
                ERROR => "ERROR",
                _ => "INFO",
            },
            "body": {"stringValue": body},
            "attributes": attributes,
            "traceId": self.trace_id,
            "spanId": job.map_or_else(|| self.root(), |job| self.span_id(job)),
        })
    }

    fn printed(&mut self, source: &Source, ts: Option<Timestamp>, line: &str) {
        let (job, stream) = source;
        let mut attributes = vec![attribute("runlog.job_id", &json!(job))];
        if let Some(stream) = stream {
            attributes.push(attribute("log.iostream", &json!(stream.as_str())));
        }
        let line = line.strip_suffix('\n').unwrap_or(line);
        let record = self.record(ts.or(self.at), INFO, Some(job), line, &attributes);
        self.records.push(record);
    }

    /// Writes what is ready, where that is enough for a request.
    fn flush(&mut self, out: &mut dyn Write, all: bool) -> io::Result<()> {
        let resource = self.resource.clone().unwrap_or_else(|| json!({}));
        let scope = json!({"name": "runlog", "version": env!("CARGO_PKG_VERSION")});
        let enough = |n: usize| n > 0 && (all || n >= BATCH_RECORDS);
        if enough(self.records.len()) || self.bytes >= BATCH_BYTES {
            let records = std::mem::take(&mut self.records);
            self.bytes = 0;
            let scoped = json!([{"scope": scope, "logRecords": records}]);
            let request = json!({"resourceLogs": [{"resource": resource, "scopeLogs": scoped}]});
            json_line(out, &request)?;
        }
        if enough(self.ready.len()) {
            let spans = std::mem::take(&mut self.ready);
            let scoped = json!([{"scope": scope, "spans": spans}]);
            let request = json!({"resourceSpans": [{"resource": resource, "scopeSpans": scoped}]});
            json_line(out, &request)?;
        }
        Ok(())
    }
}

impl Export for Otlp {
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()> {
        if let Item::Damage(damage) = item {
            let text = damage.to_string();
            let record = self.record(self.at, WARN, None, &text, &[]);
            self.records.push(record);
            return Ok(());
        }
        self.begin(run);
        for span in self.spans.apply(item, run) {
            let span = self.phase(&span);
            self.ready.push(span);
        }
        let (Item::Event(_, line) | Item::Foreign(_, line)) = item else {
            return Ok(());
        };
        let Some(event) = parse_event(line) else {
            return Ok(());
        };
        let kind = event_kind(&event);
        let severity = match kind {
            "job_failed" | "node.failed" | "pipe.aborted" => ERROR,
            "job_rollback_started" | "job_rolled_back" | "log_repaired" => WARN,
            "job_sampled" => DEBUG,
            _ => INFO,
        };
        let text = |key: &str| event.get(key).and_then(Value::as_str);
        // A note may name a job that is none.
        let job = text("job_id").or(text("node_id"));
        let job = job.filter(|job| run.job(job).is_some());
        // What only checks the line, or stands elsewhere in the record; and the checkpoint,
        // which says again what all events before it said.
        let frame = ["v", "ts", "type", "run_id", "crc"];
        let elsewhere = |key: &str| {
            frame.contains(&key) || key == "state" && EventKind::new(kind) == EventType::LogRotated
        };
        let told = event.as_object().into_iter().flatten();
        let attributes = told
            .filter(|(key, _)| !elsewhere(key))
            .map(|(key, value)| attribute(&format!("runlog.{key}"), value));
        let attributes: Vec<_> = attributes.collect();
        let told = plain_details(kind, &event);
        let body = format!("{kind} {told}");
        let mut record = self.record(
            event_time(&event),
            severity,
            job,
            body.trim_end(),
            &attributes,
        );
        if let Some(record) = record.as_object_mut() {
            record.insert("eventName".to_owned(), json!(format!("runlog.{kind}")));
        }
        self.records.push(record);
        self.bytes += line.len();
        self.flush(out, false)
    }

    fn wants_output(&self) -> bool {
        true
    }

    fn output(&mut self, out: &mut dyn Write, piece: OutputChunk<'_>) -> io::Result<()> {
        let source = (piece.job.to_owned(), piece.stream);
        let (mut utf8, mut line) = self.lines.remove(&source).unwrap_or_default();
        line.push_str(&utf8.push(piece.bytes));
        let mut rest = &*line;
        while let Some(end) = end_of_line(rest) {
            let (whole, behind) = rest.split_at(end);
            self.printed(&source, piece.ts, whole);
            self.flush(out, false)?;
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
            line.push_str(&utf8.rest());
            if !line.is_empty() {
                self.printed(&source, None, &line);
            }
        }
        let rest = self.spans.rest(run);
        self.at = self.at.max(self.spans.last);
        for span in rest {
            let span = self.phase(&span);
            self.ready.push(span);
        }
        for job in &run.jobs {
            let span = self.job(job);
            self.ready.extend(span);
            self.flush(out, false)?;
        }
        let whole = self.whole(run);
        self.ready.extend(whole);
        self.flush(out, true)
    }
}

/// Where the first line ends, with its `\n`, or is too long.
fn end_of_line(text: &str) -> Option<usize> {
    let end = memchr::memchr(b'\n', text.as_bytes()).map(|at| at + 1);
    match end {
        Some(end) if end <= MAX_RECORD_BYTES => Some(end),
        _ if text.len() > MAX_RECORD_BYTES => (0..=MAX_RECORD_BYTES)
            .rev()
            .find(|at| text.is_char_boundary(*at)),
        end => end,
    }
}

fn status(ended: bool, error: Option<&JobError>) -> Value {
    match error {
        Some(error) => json!({"code": 2, "message": error.message}),
        None if ended => json!({"code": 1}),
        None => json!({}),
    }
}

/// `fixed64`: nanoseconds since 1970, and no time before.
fn nanos(ts: Timestamp) -> String {
    let nanos = ts.as_nanosecond().clamp(0, i128::from(u64::MAX));
    nanos.to_string()
}

fn attribute(key: &str, value: &Value) -> Value {
    json!({"key": key, "value": any(value)})
}

/// `AnyValue`.
fn any(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(is) => json!({"boolValue": is}),
        Value::Number(n) => match n.as_i64() {
            Some(n) => json!({"intValue": n.to_string()}),
            None => json!({"doubleValue": n.as_f64()}),
        },
        Value::String(text) => json!({"stringValue": text}),
        Value::Array(values) => {
            json!({"arrayValue": {"values": values.iter().map(any).collect::<Vec<_>>()}})
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| attribute(key, value));
            json!({"kvlistValue": {"values": fields.collect::<Vec<_>>()}})
        }
    }
}

/// FNV-1a of 64 bits: the same ids whenever a run is exported.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_answers_of_fnv() {
        // "The FNV Non-Cryptographic Hash Algorithm", appendix of test vectors.
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(end_of_line("ab\ncd"), Some(3));
        assert_eq!(end_of_line("ab"), None);
        let long = "é".repeat(MAX_RECORD_BYTES);
        assert_eq!(end_of_line(&long), Some(MAX_RECORD_BYTES));
        assert_eq!(end_of_line(&format!("a{long}")), Some(MAX_RECORD_BYTES - 1));
    }
}
