//! The trace of the caller: environment variables as carriers of context, as OpenTelemetry
//! specifies them ("Environment Variables as Context Propagation Carriers").
//!
//! `TRACESTATE` and `BAGGAGE` reach the job unchanged, as every other variable does.

use crate::job::{AfterJob, JobTrace};
use crate::log::TraceContext;

/// The variable with the span of the caller.
pub(super) const TRACEPARENT: &str = "TRACEPARENT";
/// The variable with what tracing vendors add to the span.
const TRACESTATE: &str = "TRACESTATE";

/// Whether a job starts a trace if its caller has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewTrace {
    /// It starts a trace.
    Start,
    /// It has no trace, as without runlog.
    No,
}

/// Returns the place of a job and its run in the trace of the caller. The variables in `env`
/// override those of this process.
pub(super) fn job_trace(
    env: &[(String, String)],
    new: NewTrace,
    after: AfterJob,
) -> Option<JobTrace> {
    let variable = |name: &str| {
        let set = env.iter().rev().find(|(key, _)| key == name);
        set.map(|(_, value)| value.clone())
            .or_else(|| std::env::var(name).ok())
    };
    let parent = variable(TRACEPARENT);
    let state = variable(TRACESTATE);
    let run = parent
        .and_then(|parent| TraceContext::from_caller(&parent, state.as_deref()))
        .or_else(|| (new == NewTrace::Start).then(TraceContext::root)?)?;
    let job = match after {
        AfterJob::CloseOwn => run.child()?,
        // The run may already exist with another span; the job is a child of the caller's span.
        AfterJob::CloseIfLast | AfterJob::StayOpen => TraceContext {
            parent_span_id: run.parent_span_id.clone(),
            ..run.child()?
        },
    };
    Some(JobTrace { run, job })
}
