//! Lines of other programs, mapped to the state of a run.
//!
//! In omne-cli 0.2, a pipe is a run and a node is a job. The job events of runtimo-core 0.1 and
//! 0.10 have the same names as runlog's, and timestamps in seconds.

use jiff::Timestamp;
use serde::Deserialize;

use crate::log::format::event_head::{ForeignTime, foreign_job};
use crate::log::format::payload::{ErrorKind, JobError};
use crate::log::state::job_state::{JobState, Stage};
use crate::log::state::run_state::RunState;
use crate::volume::parse_ulid;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    #[serde(borrow)]
    ts: ForeignTime<'a>,
    pipe: Option<String>,
    reason: Option<String>,
    node_id: Option<String>,
    job_id: Option<String>,
    capability: Option<String>,
    error: Option<serde_json::Value>,
    message: Option<String>,
    cmd: Option<String>,
    cmd_exit_code: Option<i32>,
}

/// Applies one line of another program to the state of a run.
pub fn apply_foreign(run: &mut RunState, line: &[u8]) {
    let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
        return;
    };
    let Some(ts) = line.ts.timestamp() else {
        return;
    };
    if run.opened_ts.is_none() {
        run.opened_ts = Some(ts);
        run.first_id = line.id.as_deref().and_then(parse_ulid);
        // The writer of a run that another program started holds no lease.
        run.foreign = true;
    }
    match line.kind.as_str() {
        // A pipe that another program writes into a run of runlog does not end that run.
        "pipe.started" | "pipe.completed" | "pipe.aborted" if !run.foreign => {}
        "pipe.started" => run.name = line.pipe.unwrap_or_default(),
        "pipe.completed" => run.closed_ts = Some(ts),
        "pipe.aborted" => {
            run.closed_ts = Some(ts);
            run.aborted = true;
        }
        kind => {
            let job_id = line.node_id.as_ref().or(line.job_id.as_ref());
            let Some(job_id) = job_id.and_then(|id| foreign_job(id)) else {
                return;
            };
            // Lines about a writer or an observer have no job id, or an id of their own.
            let of_job = JOBS.iter().any(|prefix| kind.starts_with(prefix));
            if !of_job && run.job(job_id.as_str()).is_none() {
                return;
            }
            let job = run.job_mut(&job_id);
            if job.submitted_ts.is_none() {
                job.foreign = true;
            }
            let was_failed = job.stage == Stage::Failed;
            apply_to_job(job, kind, &line, ts);
            if job.stage == Stage::Failed && !was_failed {
                run.jobs_failed += 1;
            }
        }
    }
}

/// The prefixes of the event types of a job.
const JOBS: [&str; 4] = ["node.", "gate.", "iteration.", "job_"];

fn apply_to_job(job: &mut JobState, kind: &str, line: &Line<'_>, ts: Timestamp) {
    if let Some(cmd) = &line.cmd {
        // runtimo writes this after the command has run, so it follows the end of the job.
        job.command.clone_from(cmd);
    }
    // An unknown exit code is written as -1.
    if let Some(code) = line.cmd_exit_code.filter(|code| *code >= 0) {
        job.exit_code = Some(code);
    }
    if job.stage.is_terminal() && kind != "job_rolled_back" {
        return;
    }
    if let Some(capability) = &line.capability
        && line.cmd.is_none()
    {
        job.command.clone_from(capability);
    }
    match kind {
        "job_submitted" => job.submitted_ts = Some(ts),
        "job_validated" => job.stage = Stage::Validated,
        "node.started" | "job_started" => {
            job.stage = Stage::Started;
            job.started_ts = Some(ts);
        }
        "node.completed" | "job_completed" => {
            job.stage = Stage::Completed;
            job.ended_ts = Some(ts);
        }
        "node.failed" | "job_failed" => {
            job.stage = Stage::Failed;
            job.ended_ts = Some(ts);
            job.error = Some(job_error(line));
        }
        "job_rolled_back" => job.stage = Stage::RolledBack,
        _ => {}
    }
    job.duration_ms = duration_ms(job);
}

fn job_error(line: &Line<'_>) -> JobError {
    let kind = line.error.as_ref().and_then(|e| e.get("kind")?.as_str());
    let text = line.error.as_ref().and_then(|e| e.as_str());
    JobError {
        kind: match kind {
            Some("timeout" | "gate_timeout") => ErrorKind::Timeout,
            Some("host_missing") => ErrorKind::NotFound,
            _ => ErrorKind::Other,
        },
        message: [line.message.as_deref(), text, line.reason.as_deref(), kind]
            .into_iter()
            .flatten()
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

fn duration_ms(job: &JobState) -> Option<u64> {
    let duration = job.ended_ts?.duration_since(job.started_ts?);
    u64::try_from(duration.as_millis()).ok()
}
