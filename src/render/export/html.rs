//! One page that shows a run and needs nothing else: no network, no other file.
//!
//! What is known of the run stands in it as JSON, and its script makes elements of it,
//! never markup: nothing that a job printed can become part of the page. Its policy lets
//! this one script and this one style be used, told by their hashes, and nothing be loaded.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::io::Write;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::downsample::{DownsampledSeries, Sample};
use super::output_tail::{OutputTail, OutputTails, Utf8};
use super::spans::{Span, Spans};
use crate::job::StreamId;
use crate::log::{Item, RunState};
use crate::render::export::{Export, OutputChunk};
use crate::render::human::event_line::{event_kind, event_time, parse_event, plain_details};
use crate::render::human::style::escape_controls;
use crate::render::json::run_record::{JobRecord, RunRecord};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// SHA-256 of both, in base64 ("Content Security Policy Level 3", hash-source).
const STYLE_HASH: &str = "8QlmH/nqVYQc+/p4qhPNFJUdeQr3aQbLwyTkMN7LSeA=";
const SCRIPT_HASH: &str = "wP59jWuP+5CaZyEgulucA/FnvIGntQa804Kjhfrb2ow=";

/// Held of what each job printed, in bytes.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// Most events that are held; samples stand in the charts.
const MAX_EVENTS: usize = 10_000;
/// Longest text of an event, in characters.
const MAX_TEXT_CHARS: usize = 2_000;

/// Writes a page.
#[derive(Debug)]
pub struct Html {
    spans: Spans,
    done: Vec<Span>,
    samples: BTreeMap<String, DownsampledSeries>,
    /// The machine when it was looked at first and last.
    host: [Option<Value>; 2],
    events: VecDeque<Event>,
    events_left_out: u64,
    damage: Vec<String>,
    kept: OutputTail,
}

#[derive(Debug, Serialize)]
struct Event {
    seq: Option<u64>,
    /// In milliseconds since 1970.
    t: Option<f64>,
    kind: String,
    job: Option<String>,
    text: String,
}

impl Default for Html {
    fn default() -> Self {
        Self {
            spans: Spans::default(),
            done: Vec::new(),
            samples: BTreeMap::new(),
            host: [None, None],
            events: VecDeque::new(),
            events_left_out: 0,
            damage: Vec::new(),
            kept: OutputTail::new(MAX_OUTPUT_BYTES),
        }
    }
}

impl Html {
    fn event(&mut self, event: Event) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
            self.events_left_out += 1;
        }
        self.events.push_back(event);
    }

    fn span(&self, span: &Span) -> Value {
        let ended = span.ended.as_ref();
        let error = ended.and_then(|e| e.error.as_ref());
        let end = span.end.or(self.spans.last).unwrap_or(span.start);
        json!({
            "job": span.job, "phase": span.phase.name(), "start": millis(span.start),
            "end": millis(end.max(span.start)), "open": span.end.is_none(),
            "failed": span.has_failed(), "message": error.map(|e| &e.message),
        })
    }
}

/// What stands in the page.
#[derive(Serialize)]
struct Data<'a> {
    run: &'a RunRecord,
    spans: Vec<Value>,
    samples: &'a BTreeMap<String, DownsampledSeries>,
    host: &'a [Option<Value>; 2],
    events: &'a VecDeque<Event>,
    events_left_out: u64,
    output: Printed<'a>,
    damage: &'a [String],
    /// In milliseconds since 1970, as all times are.
    start: f64,
    last: Option<f64>,
    runlog: &'static str,
}

/// What the jobs printed; made job by job, since all of it may be large.
struct Printed<'a> {
    kept: &'a OutputTail,
    jobs: &'a [JobRecord],
}

impl Serialize for Printed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kept = |job: &JobRecord| {
            self.kept
                .tail_of(job.job_id.as_str())
                .map(|kept| printed(kept, job))
        };
        serializer.collect_map(
            self.jobs
                .iter()
                .filter_map(|job| Some((&job.job_id, kept(job)?))),
        )
    }
}

/// What one job printed: pairs of a stream, where it is known, and a text.
fn printed(kept: &OutputTails, job: &JobRecord) -> Value {
    let mut texts = [Utf8::default(), Utf8::default(), Utf8::default()];
    let mut parts = Vec::new();
    for part in &kept.parts {
        let [out, err, other] = &mut texts;
        let text = match part.stream {
            Some(StreamId::Stdout) => out,
            Some(StreamId::Stderr) => err,
            None => other,
        };
        let stream = part.stream.map(StreamId::as_str);
        parts.push(json!([stream, text.push(&part.bytes)]));
    }
    for text in &mut texts {
        let rest = text.rest();
        if !rest.is_empty() {
            parts.push(json!([null, rest]));
        }
    }
    let truncated = job.output.as_ref().and_then(|o| o.truncated.as_deref());
    json!({"left_out": kept.left_out, "truncated": truncated, "parts": parts})
}

/// Writes JSON into a script element, in which only `<` can begin something ("HTML",
/// 13.2.5.4); in JSON it stands only in texts.
struct InScript<'a>(&'a mut dyn Write);

impl Write for InScript<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut parts = bytes.split(|byte| *byte == b'<');
        self.0.write_all(parts.next().unwrap_or_default())?;
        for part in parts {
            self.0.write_all(b"\\u003c")?;
            self.0.write_all(part)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Export for Html {
    fn item(&mut self, _: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()> {
        let done = self.spans.apply(item, run);
        self.done.extend(done);
        let line = match item {
            Item::Event(_, line) | Item::Foreign(_, line) => line,
            Item::Damage(damage) => {
                let text = damage.to_string();
                self.event(Event {
                    seq: None,
                    t: None,
                    kind: "damage".to_owned(),
                    job: None,
                    text: text.clone(),
                });
                self.damage.push(text);
                return Ok(());
            }
        };
        let Some(event) = parse_event(line) else {
            return Ok(());
        };
        let t = event_time(&event).map(millis);
        let text = |key: &str| event.get(key).and_then(Value::as_str).map(str::to_owned);
        for key in ["telemetry_before", "telemetry_after"] {
            if let Some(host) = event.get(key) {
                let [first, last] = &mut self.host;
                first.get_or_insert_with(|| host.clone());
                *last = Some(host.clone());
            }
        }
        let kind = event_kind(&event);
        let job = text("job_id").or(text("node_id"));
        if kind == "job_sampled"
            && let (Some(job), Some(t), Some(used)) = (&job, t, event.get("job"))
        {
            let series = self.samples.entry(job.clone()).or_default();
            series.push(Sample::new(t, used));
            return Ok(());
        }
        let told = plain_details(kind, &event);
        self.event(Event {
            seq: event.get("seq").and_then(Value::as_u64),
            t,
            kind: kind.to_owned(),
            job,
            text: told.chars().take(MAX_TEXT_CHARS).collect(),
        });
        Ok(())
    }

    fn wants_output(&self) -> bool {
        true
    }

    fn output(&mut self, _: &mut dyn Write, piece: OutputChunk<'_>) -> io::Result<()> {
        self.kept.record(piece);
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        let rest = self.spans.rest(run);
        self.done.extend(rest);
        let spans: Vec<_> = self.done.iter().map(|span| self.span(span)).collect();
        let opened = run.opened_ts.map(millis);
        let first = self
            .done
            .iter()
            .map(|span| millis(span.start))
            .reduce(f64::min);
        let data = Data {
            run,
            spans,
            samples: &self.samples,
            host: &self.host,
            events: &self.events,
            events_left_out: self.events_left_out,
            output: Printed {
                kept: &self.kept,
                jobs: &run.jobs,
            },
            damage: &self.damage,
            start: opened.or(first).unwrap_or(0.0),
            last: self.spans.last.map(millis),
            runlog: env!("CARGO_PKG_VERSION"),
        };
        let title = format!("{}: {}", run.title(), run.state.as_str());
        writeln!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             script-src 'sha256-{SCRIPT_HASH}'; style-src 'sha256-{STYLE_HASH}'; \
             base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"generator\" content=\"runlog\">\n<title>{}</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n<main id=\"page\"></main>\n\
             <noscript>This page shows the run with a script of its own, which is turned off \
             here.</noscript>",
            markup(&escape_controls(&title))
        )?;
        out.write_all(b"<script type=\"application/json\" id=\"data\">")?;
        serde_json::to_writer(InScript(out), &data)?;
        writeln!(
            out,
            "</script>\n<script>{SCRIPT}</script>\n</body>\n</html>"
        )
    }
}

fn millis(ts: jiff::Timestamp) -> f64 {
    ts.as_microsecond() as f64 / 1e3
}

fn markup(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// With `sha256sum` of coreutils.
    fn hash(text: &str) -> String {
        let mut sum = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = sum.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        let told = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
        let digits: Vec<u8> = (0..32)
            .map(|n| u8::from_str_radix(&told[2 * n..2 * n + 2], 16).unwrap())
            .collect();
        STANDARD.encode(digits)
    }

    #[test]
    fn the_policy_lets_the_script_and_the_style_be_used() {
        assert_eq!(
            (hash(STYLE), hash(SCRIPT)),
            (STYLE_HASH.into(), SCRIPT_HASH.into())
        );
    }
}
