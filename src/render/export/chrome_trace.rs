//! The trace event format of Chrome, for Perfetto and `about:tracing`: a track with the phases of
//! each job, and counters for CPU, memory and I/O.
//!
//! "Trace Event Format", the JSON object format: `ph` is X for a duration, i for an instant,
//! C for a counter, M for metadata; times are in microseconds.

use std::collections::HashMap;
use std::io;
use std::io::Write;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::spans::{Phase, Span, Spans};
use crate::log::{Item, RunState};
use crate::render::export::Export;
use crate::render::human::event_line::{event_kind, event_time, parse_event};
use crate::render::json::run_record::RunRecord;
use crate::volume::{RunId, format_ts, parse_ts};

/// A writer of a trace.
#[derive(Debug)]
pub struct ChromeTrace {
    /// The process that represents the run. Its first thread has the same number and contains
    /// everything that belongs to no job.
    pid: u64,
    spans: Spans,
    has_header: bool,
    /// The tracks of the jobs, which come after the track of the run.
    tracks: HashMap<String, u64>,
    /// The time of the last written snapshot. Several events can carry the same one.
    snapshot_ts: Option<Timestamp>,
    opened: Option<Timestamp>,
}

impl ChromeTrace {
    /// Creates an export of the run with this id.
    ///
    /// The process id is derived from the run's id, so that several runs can be merged into one
    /// trace.
    pub fn new(run: &RunId) -> Self {
        Self {
            // Process and thread ids have 31 bits, and each job needs an id too.
            pid: u64::from(crc32c::crc32c(run.as_str().as_bytes()) >> 2).max(1),
            spans: Spans::default(),
            has_header: false,
            tracks: HashMap::new(),
            snapshot_ts: None,
            opened: None,
        }
    }

    fn write(&mut self, out: &mut dyn Write, event: &Value) -> io::Result<()> {
        if self.has_header {
            out.write_all(b",\n")?;
        } else {
            out.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n")?;
            self.has_header = true;
        }
        serde_json::to_writer(out, event)?;
        Ok(())
    }

    /// Returns the track of a job, and writes its name if it is new.
    fn track(&mut self, out: &mut dyn Write, job: &str) -> io::Result<u64> {
        if let Some(track) = self.tracks.get(job) {
            return Ok(*track);
        }
        let track = self.tracks.len() as u64 + self.pid + 1;
        self.tracks.insert(job.to_owned(), track);
        let name = json!({
            "ph": "M", "name": "thread_name", "pid": self.pid, "tid": track, "args": {"name": job},
        });
        self.write(out, &name)?;
        let order = json!({
            "ph": "M", "name": "thread_sort_index", "pid": self.pid, "tid": track,
            "args": {"sort_index": track - self.pid},
        });
        self.write(out, &order)?;
        Ok(track)
    }

    fn span(&mut self, out: &mut dyn Write, span: &Span, run: &RunState) -> io::Result<()> {
        let track = self.track(out, span.job.as_str())?;
        let end = span.end_or(self.spans.last);
        let mut args = json!({"job_id": span.job});
        let mut insert = |key: &str, value: Value| {
            if let (Some(args), false) = (args.as_object_mut(), value.is_null()) {
                args.insert(key.to_owned(), value);
            }
        };
        if let Phase::Attempt(_) = span.phase {
            insert(
                "command",
                json!(run.job(span.job.as_str()).map(|job| &job.command)),
            );
        }
        if let Some(ended) = &span.ended {
            insert("exit_code", json!(ended.exit_code));
            insert("signal", json!(ended.signal));
            insert(
                "error",
                json!(ended.error.as_ref().map(|e| e.kind.as_str())),
            );
            insert("message", json!(ended.error.as_ref().map(|e| &e.message)));
            let cost = ended.cost.as_ref();
            insert("cpu_ms", json!(cost.map(|c| c.cpu_ms)));
            insert("max_rss_bytes", json!(cost.map(|c| c.max_rss_bytes)));
            insert("read_bytes", json!(cost.map(|c| c.read_bytes)));
            insert("written_bytes", json!(cost.map(|c| c.written_bytes)));
        }
        if span.end.is_none() {
            insert("unfinished", json!(true));
        }
        let category = match span.phase {
            _ if span.has_failed() => "failed",
            Phase::Attempt(_) => "attempt",
            Phase::Waiting | Phase::Backoff => "waiting",
            Phase::Rollback => "rollback",
        };
        let name = match span.phase {
            Phase::Attempt(1) => span.job.to_string(),
            Phase::Attempt(n) => format!("{} (attempt {n})", span.job),
            phase => phase.name(),
        };
        let event = json!({
            "ph": "X", "name": name, "cat": category, "pid": self.pid, "tid": track,
            "ts": span.start.as_microsecond(),
            "dur": end.as_microsecond() - span.start.as_microsecond(),
            "args": args,
        });
        self.write(out, &event)
    }

    fn counter(
        &mut self,
        out: &mut dyn Write,
        name: &str,
        ts: Timestamp,
        value: Option<&Value>,
    ) -> io::Result<()> {
        let Some(value) = value.filter(|value| value.is_number()) else {
            return Ok(());
        };
        let event = json!({
            "ph": "C", "name": name, "pid": self.pid, "tid": self.pid, "ts": ts.as_microsecond(),
            "args": {"value": value},
        });
        self.write(out, &event)
    }

    /// Writes counters for a snapshot of the host, unless it was already written.
    /// `shift` corrects its time.
    fn host(&mut self, out: &mut dyn Write, host: &Value, shift: SignedDuration) -> io::Result<()> {
        let taken = host.get("taken_ts").and_then(Value::as_str);
        let Some(taken) = taken.and_then(parse_ts) else {
            return Ok(());
        };
        if self.snapshot_ts.replace(taken) == Some(taken) {
            return Ok(());
        }
        let ts = taken.checked_add(shift).unwrap_or(taken);
        for (name, key) in [
            ("host load (1 min)", "load_1m"),
            ("host memory used (bytes)", "mem_used_bytes"),
        ] {
            self.counter(out, name, ts, host.get(key))?;
        }
        Ok(())
    }
}

impl Export for ChromeTrace {
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()> {
        for span in self.spans.apply(item, run) {
            self.span(out, &span, run)?;
        }
        let (Item::Event(_, line) | Item::Foreign(_, line)) = item else {
            return Ok(());
        };
        let Some(event) = parse_event(line) else {
            return Ok(());
        };
        let written = event_time(&event);
        let Some(ts) = self.spans.now.or(written) else {
            return Ok(());
        };
        let shift = ts.duration_since(written.unwrap_or(ts));
        self.opened.get_or_insert(ts);
        for key in ["telemetry_before", "telemetry_after"] {
            if let Some(host) = event.get(key) {
                self.host(out, host, shift)?;
            }
        }
        let job = event.get("job_id").and_then(Value::as_str);
        match (event_kind(&event), job) {
            ("job_sampled", Some(job)) => {
                for (what, at) in [
                    ("CPU (percent)", "/job/cpu_percent"),
                    ("RSS (bytes)", "/job/rss_bytes"),
                    ("read (bytes)", "/job/read_bytes"),
                    ("written (bytes)", "/job/written_bytes"),
                    ("processes", "/job/processes"),
                ] {
                    self.counter(out, &format!("{job} {what}"), ts, event.pointer(at))?;
                }
                Ok(())
            }
            ("note", job) => {
                let track = match job {
                    Some(job) => self.track(out, job)?,
                    None => self.pid,
                };
                let name = event.get("name").and_then(Value::as_str).unwrap_or("note");
                let instant = json!({
                    "ph": "i", "name": name, "cat": "note", "pid": self.pid, "tid": track,
                    "ts": ts.as_microsecond(), "s": if track == self.pid { "p" } else { "t" },
                    "args": {"data": event.get("data")},
                });
                self.write(out, &instant)
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        let name = json!({
            "ph": "M", "name": "process_name", "pid": self.pid, "tid": self.pid,
            "args": {"name": run.run_id},
        });
        self.write(out, &name)?;
        let name = json!({
            "ph": "M", "name": "thread_name", "pid": self.pid, "tid": self.pid, "args": {"name": "run"},
        });
        self.write(out, &name)?;
        let rest = self.spans.rest(run);
        let state = RunState::default();
        for span in rest {
            self.span(out, &span, &state)?;
        }
        if let Some(start) = self.opened {
            let end = self.spans.end_of_run(run, start);
            let whole = json!({
                "ph": "X", "name": run.run_id, "cat": "run", "pid": self.pid, "tid": self.pid,
                "ts": start.as_microsecond(),
                "dur": end.as_microsecond() - start.as_microsecond(),
                "args": {"state": run.state.as_str(), "because": run.because},
            });
            self.write(out, &whole)?;
        }
        let other = json!({
            "run_id": run.run_id, "name": run.name, "host": run.host,
            "state": run.state.as_str(), "because": run.because,
            "opened_ts": run.opened_ts.map(format_ts), "closed_ts": run.closed_ts.map(format_ts),
        });
        write!(out, "\n],\"otherData\":")?;
        serde_json::to_writer(&mut *out, &other)?;
        out.write_all(b"}\n")
    }
}
