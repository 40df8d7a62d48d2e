//! A self-contained page that shows a run. It needs no network and no other file.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::io::Write;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::downsample::{DownsampledSeries, Sample};
use super::output_tail::{OutputTail, OutputTails};
use super::page::{RUN_SCRIPT, write_page};
use super::spans::{Span, Spans};
use super::utf8_decoder::Utf8Decoder;
use crate::log::{DamageList, Item, RunState, StreamId};
use crate::render::export::{Export, OutputChunk};
use crate::render::human::event_line::{event_kind, event_time, parse_event, plain_details};
use crate::render::json::run_record::{JobRecord, RunRecord};

/// How much of each job's output to keep, in bytes.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// The maximum number of events to keep. Samples are in the charts instead.
const MAX_EVENTS: usize = 10_000;
/// The maximum length of the text of an event, in characters.
const MAX_TEXT_CHARS: usize = 2_000;

/// A writer of a page.
#[derive(Debug)]
pub struct Html {
    spans: Spans,
    done: Vec<Span>,
    samples: BTreeMap<String, DownsampledSeries>,
    /// The first and the last snapshot of the host.
    host: [Option<Value>; 2],
    events: VecDeque<PageEvent>,
    events_left_out: u64,
    damage: DamageList,
    output: OutputTails,
}

#[derive(Debug, Serialize)]
struct PageEvent {
    seq: Option<u64>,
    /// The time in milliseconds since 1970.
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
            damage: DamageList::default(),
            output: OutputTails::new(MAX_OUTPUT_BYTES),
        }
    }
}

impl Html {
    fn push_event(&mut self, event: PageEvent) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
            self.events_left_out += 1;
        }
        self.events.push_back(event);
    }

    fn span_json(&self, span: &Span) -> Value {
        let ended = span.ended.as_ref();
        let error = ended.and_then(|e| e.error.as_ref());
        json!({
            "job": span.job, "phase": span.phase.name(), "start": millis(span.start),
            "end": millis(span.end_or(self.spans.last)), "open": span.end.is_none(),
            "failed": span.has_failed(), "message": error.map(|e| &e.message),
        })
    }
}

/// The data of the page.
#[derive(Serialize)]
struct PageData<'a> {
    run: &'a RunRecord,
    spans: Vec<Value>,
    samples: &'a BTreeMap<String, DownsampledSeries>,
    host: &'a [Option<Value>; 2],
    events: &'a VecDeque<PageEvent>,
    events_left_out: u64,
    output: JobOutputs<'a>,
    /// The first damaged places, and the number of further ones.
    damage: Vec<String>,
    /// The start in milliseconds since 1970, like all times.
    start: f64,
    end: f64,
    runlog: &'static str,
}

/// The output of all jobs, serialized one job at a time because the total may be large.
struct JobOutputs<'a> {
    tails: &'a OutputTails,
    jobs: &'a [JobRecord],
}

impl Serialize for JobOutputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let output = |job: &JobRecord| Some(output_json(self.tails.get(job.job_id.as_str())?, job));
        serializer.collect_map(
            self.jobs
                .iter()
                .filter_map(|job| Some((&job.job_id, output(job)?))),
        )
    }
}

/// Returns the output of one job: each text with its stream and time, if known.
fn output_json(tail: &OutputTail, job: &JobRecord) -> Value {
    let mut texts = [(); 4].map(|()| Utf8Decoder::default());
    let mut parts = Vec::new();
    for part in &tail.parts {
        let [out, err, both, other] = &mut texts;
        let text = match part.stream {
            Some(StreamId::Stdout) => out,
            Some(StreamId::Stderr) => err,
            Some(StreamId::Both) => both,
            None => other,
        };
        let stream = part.stream.map(StreamId::as_str);
        let stored = part.ts.map(Timestamp::as_millisecond);
        parts.push(json!([stream, text.push(&part.bytes), stored]));
    }
    for text in &mut texts {
        let rest = text.finish();
        if !rest.is_empty() {
            parts.push(json!([null, rest, null]));
        }
    }
    let truncated = job.output.as_ref().and_then(|o| o.truncated.as_deref());
    json!({"left_out": tail.omitted, "truncated": truncated, "parts": parts})
}

impl Export for Html {
    fn item(&mut self, _: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()> {
        let done = self.spans.apply(item, run);
        self.done.extend(done);
        let line = match item {
            Item::Event(_, line) | Item::Foreign(_, line) => line,
            Item::Damage(damage) => {
                self.damage.push(damage.clone());
                // Damage that is not listed must not displace events.
                if self.damage.omitted() == 0 {
                    self.push_event(PageEvent {
                        seq: None,
                        t: None,
                        kind: "damage".to_owned(),
                        job: None,
                        text: damage.to_string(),
                    });
                }
                return Ok(());
            }
            Item::Dropped(_) => return Ok(()),
        };
        let Some(event) = parse_event(line) else {
            return Ok(());
        };
        let t = self.spans.now.or_else(|| event_time(&event)).map(millis);
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
        let details = plain_details(kind, &event);
        self.push_event(PageEvent {
            seq: event.get("seq").and_then(Value::as_u64),
            t,
            kind: kind.to_owned(),
            job,
            text: details.chars().take(MAX_TEXT_CHARS).collect(),
        });
        Ok(())
    }

    fn wants_output(&self) -> bool {
        true
    }

    fn output(&mut self, _: &mut dyn Write, chunk: OutputChunk<'_>) -> io::Result<()> {
        self.output.record(chunk);
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write, run: &RunRecord) -> io::Result<()> {
        let rest = self.spans.rest(run);
        self.done.extend(rest);
        let spans: Vec<_> = self.done.iter().map(|span| self.span_json(span)).collect();
        let first = self.done.iter().map(|span| span.start).min();
        let start = run.opened_ts.or(first).unwrap_or(Timestamp::UNIX_EPOCH);
        let data = PageData {
            run,
            spans,
            samples: &self.samples,
            host: &self.host,
            events: &self.events,
            events_left_out: self.events_left_out,
            output: JobOutputs {
                tails: &self.output,
                jobs: &run.jobs,
            },
            damage: listed_damage(&self.damage),
            start: millis(start),
            end: millis(self.spans.end_of_run(run, start)),
            runlog: env!("CARGO_PKG_VERSION"),
        };
        let title = format!("{}: {}", run.title(), run.state.as_str());
        write_page(out, &title, RUN_SCRIPT, &data)
    }
}

fn listed_damage(damage: &DamageList) -> Vec<String> {
    let mut listed: Vec<_> = damage.first().iter().map(ToString::to_string).collect();
    listed.extend(damage.omission());
    listed
}

fn millis(ts: Timestamp) -> f64 {
    ts.as_microsecond() as f64 / 1e3
}
