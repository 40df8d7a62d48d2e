//! The trace of a run: a root span, with a child span for each job, which has one for each
//! phase.

use std::collections::HashMap;

use jiff::Timestamp;

use super::model::{
    KeyValue, OtlpSpan, Resource, SPAN_KIND_INTERNAL, SPAN_KIND_SERVER, Status, UnixNano,
};
use crate::job::RunStatus;
use crate::log::format::payload::{ErrorKind, JobError};
use crate::log::{JobState, RunState, TraceContext};
use crate::render::export::spans::Span;
use crate::render::json::run_record::{JobRecord, RunRecord};
use crate::volume::RunId;

/// The ids of the trace, which are the same in each export of the run.
#[derive(Debug)]
pub(crate) struct Trace {
    run: RunId,
    /// The id of the trace that the run belongs to.
    id: String,
    /// The run's span in the trace of its caller.
    context: Option<TraceContext>,
    /// The jobs' spans in the traces of their callers.
    jobs: HashMap<String, TraceContext>,
    /// The resource; empty until the first event.
    resource: Resource,
}

impl Trace {
    pub(crate) fn new(run: RunId) -> Self {
        let id = (fnv1a(run.as_str()), fnv1a(&format!("{run}/")));
        Self {
            id: format!("{:016x}{:016x}", id.0, id.1),
            run,
            context: None,
            jobs: HashMap::new(),
            resource: Resource::default(),
        }
    }

    /// Sets the facts about the whole run from its first event.
    pub(crate) fn set_run(&mut self, run: &RunState) {
        if !self.resource.attributes.is_empty() {
            return;
        }
        // The id of the first event is as long as a trace id, and as unique.
        if let Some(id) = run.first_id {
            self.id = format!("{:032x}", id.0);
        }
        if let Some(context) = &run.trace {
            self.id.clone_from(&context.trace_id);
            self.context = Some(context.clone());
        }
        run.jobs.iter().for_each(|job| self.set_job(job));
        let service = match &*run.name {
            "" => "runlog",
            name => name,
        };
        let attributes = &mut self.resource.attributes;
        attributes.push(KeyValue::new("service.name", service));
        attributes.push(KeyValue::new("runlog.run_id", self.run.as_str()));
        attributes.push(KeyValue::new("cicd.pipeline.name", service));
        attributes.push(KeyValue::new("cicd.pipeline.run.id", self.run.as_str()));
        let host = run.host.as_deref();
        attributes.extend(host.map(|host| KeyValue::new("host.name", host)));
    }

    /// Sets the span of a job from its submission.
    pub(crate) fn set_job(&mut self, job: &JobState) {
        if let Some(context) = &job.trace {
            self.jobs.insert(job.job_id.to_string(), context.clone());
        }
    }

    /// Returns the ids of the trace and the span of a job, or of the run if no job is given.
    pub(crate) fn ids(&self, job: Option<&str>) -> [String; 2] {
        let context = match job {
            None => self.context.as_ref(),
            Some(job) => self.jobs.get(job),
        };
        match context {
            Some(context) => [context.trace_id.clone(), context.span_id.clone()],
            None => [self.id.clone(), self.span_id(job.unwrap_or_default())],
        }
    }

    /// Returns the parent of a job's span: the run's span, if it belongs to the same trace.
    fn parent_of(&self, job: &str) -> Option<String> {
        match self.jobs.get(job) {
            Some(context) if context.trace_id != self.id => context.parent_span_id.clone(),
            _ => {
                let [_, run] = self.ids(None);
                Some(run)
            }
        }
    }

    fn state_of(context: Option<&TraceContext>) -> String {
        let state = context.and_then(|it| it.tracestate.clone());
        state.unwrap_or_default()
    }

    pub(crate) fn resource(&self) -> &Resource {
        &self.resource
    }

    /// Returns the id of the span with this path, which is empty for the run and starts with a
    /// job's id otherwise.
    fn span_id(&self, path: &str) -> String {
        format!("{:016x}", fnv1a(&format!("{}/{path}", self.run)).max(1))
    }

    /// Returns the span of a phase of a job. A phase without an end lasts until `latest`.
    pub(crate) fn phase_span(&self, span: &Span, latest: Option<Timestamp>) -> OtlpSpan {
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
        let [trace_id, parent] = self.ids(Some(span.job.as_str()));
        let error = span.ended.as_ref().and_then(|e| e.error.as_ref());
        OtlpSpan {
            trace_id,
            trace_state: Self::state_of(self.jobs.get(span.job.as_str())),
            span_id: self.span_id(&format!("{}/{phase}/{}", span.job, start.as_str())),
            parent_span_id: Some(parent),
            name: phase,
            kind: SPAN_KIND_INTERNAL,
            start_time_unix_nano: start,
            end_time_unix_nano: UnixNano::new(span.end_or(latest)),
            attributes,
            status: status(span.ended.as_ref().map(|_| error.map_or(Ok(()), Err))),
        }
    }

    /// Returns the span of a job, which has this start and end.
    pub(crate) fn job_span(
        &self,
        job: &JobRecord,
        (start, end): (Timestamp, Timestamp),
    ) -> OtlpSpan {
        let mut attributes = vec![
            KeyValue::new("runlog.job_id", job.job_id.as_str()),
            KeyValue::new("runlog.stage", job.stage.as_str()),
            KeyValue::new("process.command_line", &*job.command),
            KeyValue::new("cicd.pipeline.task.name", job.job_id.as_str()),
            KeyValue::new("cicd.pipeline.task.run.id", job.job_id.as_str()),
        ];
        if job.stage.is_terminal() {
            let result = PipelineResult::new(job.error.as_ref());
            result.add(&mut attributes, "cicd.pipeline.task.run.result");
        }
        for (key, value) in &job.labels {
            attributes.push(KeyValue::new(format!("runlog.label.{key}"), &**value));
        }
        let [trace_id, span_id] = self.ids(Some(job.job_id.as_str()));
        OtlpSpan {
            trace_id,
            trace_state: Self::state_of(self.jobs.get(job.job_id.as_str())),
            span_id,
            parent_span_id: self.parent_of(job.job_id.as_str()),
            name: job.job_id.to_string(),
            kind: SPAN_KIND_INTERNAL,
            start_time_unix_nano: UnixNano::new(start),
            end_time_unix_nano: UnixNano::new(end),
            attributes,
            status: match (&job.error, job.ended_ts) {
                (Some(error), _) => status(Some(Err(error))),
                (None, ended) => status(ended.map(|_| Ok(()))),
            },
        }
    }

    /// Returns the span of the run, which has this start and end.
    pub(crate) fn run_span(
        &self,
        run: &RunRecord,
        (start, end): (Timestamp, Timestamp),
    ) -> OtlpSpan {
        let status = match run.state {
            RunStatus::Completed => Status::ok(),
            RunStatus::Failed | RunStatus::Lost => Status::error(&run.because),
            RunStatus::Pending | RunStatus::Running | RunStatus::Open | RunStatus::Unknown => {
                Status::default()
            }
        };
        let mut attributes = vec![
            KeyValue::new("runlog.state", run.state.as_str()),
            KeyValue::new("cicd.pipeline.action.name", ACTION),
        ];
        if let Some(result) = PipelineResult::of_run(run) {
            result.add(&mut attributes, "cicd.pipeline.result");
        }
        let [trace_id, span_id] = self.ids(None);
        let context = self.context.as_ref();
        OtlpSpan {
            trace_id,
            trace_state: Self::state_of(context),
            span_id,
            parent_span_id: context.and_then(|it| it.parent_span_id.clone()),
            name: format!("{ACTION} {}", run.title()),
            kind: SPAN_KIND_SERVER,
            start_time_unix_nano: UnixNano::new(start),
            end_time_unix_nano: UnixNano::new(end),
            attributes,
            status,
        }
    }
}

/// The action of a run, for `cicd.pipeline.action.name`.
const ACTION: &str = "RUN";

/// The result of a run or a job in OpenTelemetry's terms (the attribute registry of `cicd`), and
/// the class of its error, if any.
struct PipelineResult {
    result: &'static str,
    error_type: Option<&'static str>,
}

impl PipelineResult {
    fn new(error: Option<&JobError>) -> Self {
        let result = match error.map(|error| error.kind) {
            None => "success",
            Some(ErrorKind::Exit | ErrorKind::Signal) => "failure",
            Some(ErrorKind::Timeout) => "timeout",
            Some(ErrorKind::Canceled) => "cancellation",
            // A precondition was not met.
            Some(ErrorKind::ResourceLimit) => "skip",
            Some(_) => "error",
        };
        Self {
            result,
            error_type: error.map(|error| error.kind.as_str()),
        }
    }

    /// Returns the result of a run that has ended. A failed run has the result of its first
    /// failed job.
    fn of_run(run: &RunRecord) -> Option<Self> {
        let failed = run.jobs.iter().find_map(|job| job.error.as_ref());
        match (run.state, failed) {
            (RunStatus::Completed, _) => Some(Self::new(None)),
            (RunStatus::Failed, Some(error)) => Some(Self::new(Some(error))),
            (RunStatus::Failed, None) => Some(Self {
                result: "failure",
                error_type: Some("_OTHER"),
            }),
            (RunStatus::Lost, _) => Some(Self {
                result: "error",
                error_type: Some(ErrorKind::Lost.as_str()),
            }),
            _ => None,
        }
    }

    fn add(&self, attributes: &mut Vec<KeyValue>, key: &str) {
        attributes.push(KeyValue::new(key, self.result));
        attributes.extend(self.error_type.map(|it| KeyValue::new("error.type", it)));
    }
}

/// Returns the status: with an error, without one, or unset if there is no end yet.
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
