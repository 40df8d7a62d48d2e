//! The trace event format of Chrome, which Perfetto and `about:tracing` open: a track for
//! each job with what it did when, and counters for CPU, memory and I/O.
//!
//! "Trace Event Format", the JSON object format: `ph` X is something that lasted, i a
//! moment, C a counter, M a name; times are in microseconds.

use std::collections::HashMap;
use std::io;
use std::io::Write;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::spans::{Phase, Span, Spans};
use crate::log::{Item, RunState};
use crate::render::export::Export;
use crate::render::human::event_line::{event_kind, event_time, parse_event};
use crate::render::json::run_record::RunRecord;
use crate::volume::{RunId, format_ts};

/// Writes a trace.
#[derive(Debug)]
pub struct ChromeTrace {
    /// The process that stands for the run, and its first thread, which a process has the
    /// number of: what concerns no job.
    pid: u64,
    spans: Spans,
    begun: bool,
    /// The tracks of the jobs, behind that of the run.
    tracks: HashMap<String, u64>,
    /// The last host that was told: snapshots stand in several events.
    host: Option<String>,
    opened: Option<Timestamp>,
}

impl ChromeTrace {
    /// For the run of that id, which another run in the same trace must not be taken for.
    pub fn new(run: &RunId) -> Self {
        Self {
            // Numbers of processes and threads have 31 bits; there is one for each job, too.
            pid: u64::from(crc32c::crc32c(run.as_str().as_bytes()) >> 2).max(1),
            spans: Spans::default(),
            begun: false,
            tracks: HashMap::new(),
            host: None,
            opened: None,
        }
    }

    fn write(&mut self, out: &mut dyn Write, event: &Value) -> io::Result<()> {
        if self.begun {
            out.write_all(b",\n")?;
        } else {
            out.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n")?;
            self.begun = true;
        }
        serde_json::to_writer(out, event)?;
        Ok(())
    }

    /// The track of a job, named where it is new.
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
        let end = span.end.or(self.spans.last).unwrap_or(span.start);
        let mut args = json!({"job_id": span.job});
        let mut put = |key: &str, value: Value| {
            if let (Some(args), false) = (args.as_object_mut(), value.is_null()) {
                args.insert(key.to_owned(), value);
            }
        };
        if let Phase::Attempt(_) = span.phase {
            put(
                "command",
                json!(run.job(span.job.as_str()).map(|job| &job.command)),
            );
        }
        if let Some(ended) = &span.ended {
            put("exit_code", json!(ended.exit_code));
            put("signal", json!(ended.signal));
            put(
                "error",
                json!(ended.error.as_ref().map(|e| e.kind.as_str())),
            );
            put("message", json!(ended.error.as_ref().map(|e| &e.message)));
            let cost = ended.cost.as_ref();
            put("cpu_ms", json!(cost.map(|c| c.cpu_ms)));
            put("max_rss_bytes", json!(cost.map(|c| c.max_rss_bytes)));
            put("read_bytes", json!(cost.map(|c| c.read_bytes)));
            put("written_bytes", json!(cost.map(|c| c.written_bytes)));
        }
        if span.end.is_none() {
            put("unfinished", json!(true));
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
            "dur": end.max(span.start).as_microsecond() - span.start.as_microsecond(),
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

    /// What the machine was like, where it is not told yet.
    fn host(&mut self, out: &mut dyn Write, host: &Value) -> io::Result<()> {
        let taken = host.get("taken_ts").and_then(Value::as_str);
        let Some((text, ts)) = taken.and_then(|text| Some((text, text.parse().ok()?))) else {
            return Ok(());
        };
        if self.host.as_deref() == Some(text) {
            return Ok(());
        }
        self.host = Some(text.to_owned());
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
        let Some(ts) = event_time(&event) else {
            return Ok(());
        };
        self.opened.get_or_insert(ts);
        for key in ["telemetry_before", "telemetry_after"] {
            if let Some(host) = event.get(key) {
                self.host(out, host)?;
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
                let moment = json!({
                    "ph": "i", "name": name, "cat": "note", "pid": self.pid, "tid": track,
                    "ts": ts.as_microsecond(), "s": if track == self.pid { "p" } else { "t" },
                    "args": {"data": event.get("data")},
                });
                self.write(out, &moment)
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
            let end = self.spans.last.unwrap_or(start).max(start);
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
