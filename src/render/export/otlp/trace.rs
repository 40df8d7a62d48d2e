//! The trace of a run: a root span, a span for each job in it, and one for each phase of a job
//! in that.

use jiff::Timestamp;
use ulid::Ulid;

use super::model::{KeyValue, OtlpSpan, Resource, SPAN_KIND_INTERNAL, Status, UnixNano};
use crate::job::RunStatus;
use crate::log::RunState;
use crate::log::format::payload::JobError;
use crate::render::export::spans::{Span, run_end};
use crate::render::json::run_record::{JobRecord, RunRecord};
use crate::volume::RunId;

/// The ids of the trace, which are the same each time that the run is exported.
#[derive(Debug)]
pub(crate) struct Trace {
    run: RunId,
    id: String,
    /// Empty until the first event.
    resource: Resource,
}

impl Trace {
    pub(crate) fn new(run: RunId) -> Self {
        let id = (fnv1a(run.as_str()), fnv1a(&format!("{run}/")));
        Self {
            id: format!("{:016x}{:016x}", id.0, id.1),
            run,
            resource: Resource::default(),
        }
    }

    /// Sets what the first event says of the whole run.
    pub(crate) fn set_run(&mut self, run: &RunState) {
        if !self.resource.attributes.is_empty() {
            return;
        }
        // The id of the first event is as long as that of a trace, and as unique.
        let first = run.first_id.as_deref();
        if let Some(id) = first.and_then(|id| id.parse::<Ulid>().ok()) {
            self.id = format!("{:032x}", id.0);
        }
        let service = match &*run.name {
            "" => "runlog",
            name => name,
        };
        let attributes = &mut self.resource.attributes;
        attributes.push(KeyValue::new("service.name", service));
        attributes.push(KeyValue::new("runlog.run_id", self.run.as_str()));
        let host = run.host.as_deref();
        attributes.extend(host.map(|host| KeyValue::new("host.name", host)));
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn resource(&self) -> &Resource {
        &self.resource
    }

    /// Returns the id of the span with this path: empty for the run, or a job's id.
    pub(crate) fn span_id(&self, path: &str) -> String {
        format!("{:016x}", fnv1a(&format!("{}/{path}", self.run)).max(1))
    }

    /// Returns the span of a phase of a job; `latest` ends one that has no end.
    pub(crate) fn phase_span(&self, span: &Span, latest: Option<Timestamp>) -> OtlpSpan {
        let end = span.end.or(latest).unwrap_or(span.start).max(span.start);
        let phase = span.phase.name();
        let mut attributes = vec![KeyValue::new("runlog.job_id", span.job.as_str())];
        if let Some(ended) = &span.ended {
            let exit_code = ended.exit_code.map(i64::from);
            attributes.extend(exit_code.map(|n| KeyValue::new("process.exit.code", n)));
            let signal = ended.signal.as_deref();
            attributes.extend(signal.map(|name| KeyValue::new("runlog.signal", name)));
            if let Some(cost) = &ended.cost {
                attributes.push(KeyValue::new("runlog.cpu_ms", cost.cpu_ms));
                attributes.push(KeyValue::new("runlog.max_rss_bytes", cost.max_rss_bytes));
            }
        }
        if span.end.is_none() {
            attributes.push(KeyValue::new("runlog.unfinished", true));
        }
        let start = UnixNano::new(span.start);
        let error = span.ended.as_ref().and_then(|e| e.error.as_ref());
        OtlpSpan {
            trace_id: self.id.clone(),
            span_id: self.span_id(&format!("{}/{phase}/{}", span.job, start.as_str())),
            parent_span_id: Some(self.span_id(span.job.as_str())),
            name: phase,
            kind: SPAN_KIND_INTERNAL,
            start_time_unix_nano: start,
            end_time_unix_nano: UnixNano::new(end),
            attributes,
            status: status(span.ended.as_ref().map(|_| error.map_or(Ok(()), Err))),
        }
    }

    /// Returns the span of a job, unless nothing is known of its times.
    pub(crate) fn job_span(&self, job: &JobRecord, latest: Option<Timestamp>) -> Option<OtlpSpan> {
        let ended = job.ended_ts;
        // In a damaged log, the end may be all that is known.
        let start = job.submitted_ts.or(job.started_ts).or(ended)?;
        let end = ended.or(latest).unwrap_or(start).max(start);
        let mut attributes = vec![
            KeyValue::new("runlog.job_id", job.job_id.as_str()),
            KeyValue::new("runlog.stage", job.stage.as_str()),
            KeyValue::new("process.command_line", &*job.command),
        ];
        for (key, value) in &job.labels {
            attributes.push(KeyValue::new(format!("runlog.label.{key}"), &**value));
        }
        Some(OtlpSpan {
            trace_id: self.id.clone(),
            span_id: self.span_id(job.job_id.as_str()),
            parent_span_id: Some(self.span_id("")),
            name: job.job_id.to_string(),
            kind: SPAN_KIND_INTERNAL,
            start_time_unix_nano: UnixNano::new(start),
            end_time_unix_nano: UnixNano::new(end),
            attributes,
            status: match (&job.error, ended) {
                (Some(error), _) => status(Some(Err(error))),
                (None, ended) => status(ended.map(|_| Ok(()))),
            },
        })
    }

    /// Returns the span of the run, unless its start is not known.
    pub(crate) fn run_span(&self, run: &RunRecord, latest: Option<Timestamp>) -> Option<OtlpSpan> {
        let start = run.opened_ts?;
        let end = run_end(run, start).or(latest).unwrap_or(start).max(start);
        let status = match run.state {
            RunStatus::Completed => Status::ok(),
            RunStatus::Failed | RunStatus::Lost => Status::error(&run.because),
            RunStatus::Pending | RunStatus::Running | RunStatus::Open | RunStatus::Unknown => {
                Status::default()
            }
        };
        Some(OtlpSpan {
            trace_id: self.id.clone(),
            span_id: self.span_id(""),
            parent_span_id: None,
            name: run.title().to_owned(),
            kind: SPAN_KIND_INTERNAL,
            start_time_unix_nano: UnixNano::new(start),
            end_time_unix_nano: UnixNano::new(end),
            attributes: vec![KeyValue::new("runlog.state", run.state.as_str())],
            status,
        })
    }
}

/// Returns the status of what has ended with or without an error, or has not ended.
fn status(ended: Option<Result<(), &JobError>>) -> Status {
    match ended {
        Some(Err(error)) => Status::error(&error.message),
        Some(Ok(())) => Status::ok(),
        None => Status::default(),
    }
}

/// Returns the 64-bit FNV-1a hash of a text.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_matches_published_vectors() {
        // "The FNV Non-Cryptographic Hash Algorithm", appendix of test vectors.
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }
}
