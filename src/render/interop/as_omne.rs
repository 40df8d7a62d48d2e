//! A run in the format of omne-cli 0.2: a run is a pipe, a job is a node. Facts for which omne
//! has no events (notes, samples, attempts, rollbacks, telemetry) are left out.

use std::io;
use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;
use ulid::Ulid;

use crate::log::format::payload::ErrorKind;
use crate::log::{Dialect, Item, JobState, RunState};
use crate::render::export::Export;
use crate::render::export::transitions::{Transition, TransitionKind, Transitions, job_has_failed};
use crate::render::json::json_lines::json_line;
use crate::volume::{RunId, format_ulid, layout, rfc3339};

/// An export that `omne status` reads as `.omne/var/runs/<run_id>/events.jsonl`.
#[derive(Debug)]
pub struct AsOmne {
    run: RunId,
    transitions: Transitions,
    /// The number of ids generated so far.
    ids: u128,
}

/// A line with the keys in the order in which omne writes them.
#[derive(Serialize)]
struct OmneLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(with = "rfc3339")]
    ts: Timestamp,
    run_id: &'a RunId,
    #[serde(flatten)]
    payload: OmnePayload<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OmnePayload<'a> {
    Pipe {
        pipe: &'a str,
    },
    Nothing {},
    Aborted {
        reason: String,
    },
    Started {
        node_id: &'a str,
        kind: &'static str,
        #[serde(skip_serializing_if = "str::is_empty")]
        name: &'a str,
    },
    Completed {
        node_id: &'a str,
        output_path: String,
    },
    Failed {
        node_id: &'a str,
        error: Error,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    },
}

#[derive(Serialize)]
struct Error {
    kind: &'static str,
}

impl AsOmne {
    /// Creates an export of the run with this id.
    pub fn new(run: RunId) -> Self {
        Self {
            run,
            transitions: Transitions::default(),
            ids: 0,
        }
    }

    fn write_transition(
        &mut self,
        out: &mut dyn Write,
        transition: &Transition<'_>,
        run: &RunState,
    ) -> io::Result<()> {
        let (kind, payload) = match transition.what {
            TransitionKind::Opened => {
                let pipe = match &*run.name {
                    "" => self.run.as_str(),
                    name => name,
                };
                ("pipe.started", OmnePayload::Pipe { pipe })
            }
            TransitionKind::Closed if run.has_failed() => {
                let reason = reason(run);
                ("pipe.aborted", OmnePayload::Aborted { reason })
            }
            TransitionKind::Closed => ("pipe.completed", OmnePayload::Nothing {}),
            TransitionKind::Started(job) => {
                let payload = OmnePayload::Started {
                    node_id: job.job_id.as_str(),
                    kind: "bash",
                    name: &job.command,
                };
                ("node.started", payload)
            }
            TransitionKind::Ended(job) if job_has_failed(job) => {
                let error = job.error.as_ref();
                let message = error.map(|e| e.message.as_str());
                let payload = OmnePayload::Failed {
                    node_id: job.job_id.as_str(),
                    error: Error {
                        kind: omne_error_kind(error.map_or(ErrorKind::Other, |e| e.kind)),
                    },
                    message: message.filter(|m| !m.is_empty()),
                };
                ("node.failed", payload)
            }
            TransitionKind::Ended(job) => {
                let payload = OmnePayload::Completed {
                    node_id: job.job_id.as_str(),
                    output_path: output_path(&self.run, job),
                };
                ("node.completed", payload)
            }
            TransitionKind::Submitted(_)
            | TransitionKind::Validated(_)
            | TransitionKind::RolledBack(_) => return Ok(()),
        };
        let id = transition.id.unwrap_or_else(|| {
            self.ids += 1;
            Ulid::from_parts(transition.millis(), self.ids)
        });
        let id = format_ulid(id);
        let line = OmneLine {
            kind,
            id: &id,
            ts: transition.ts,
            run_id: &self.run,
            payload,
        };
        json_line(out, &line)
    }
}

impl Export for AsOmne {
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()> {
        let transitions = self.transitions.classify(item, run);
        if let Item::Foreign(Dialect::Omne, line) = item {
            out.write_all(line)?;
            return out.write_all(b"\n");
        }
        transitions
            .iter()
            .try_for_each(|transition| self.write_transition(out, transition, run))
    }
}

/// Returns why a run failed.
fn reason(run: &RunState) -> String {
    let mut failed = run.jobs.iter().filter(|job| job_has_failed(job));
    let Some(first) = failed.next() else {
        return "it was aborted".to_owned();
    };
    let message = first.error.as_ref().map(|e| e.message.as_str());
    let why = message.map(|m| format!(": {m}")).unwrap_or_default();
    let more = match failed.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    format!("job {} failed{why}{more}", first.job_id)
}

/// Returns the kind of error that omne would report.
fn omne_error_kind(error: ErrorKind) -> &'static str {
    match error {
        ErrorKind::Timeout => "timeout",
        ErrorKind::NotFound | ErrorKind::NotExecutable => "host_missing",
        ErrorKind::Validation | ErrorKind::ResourceLimit | ErrorKind::Canceled => "blocked",
        ErrorKind::Exit | ErrorKind::Signal | ErrorKind::Lost | ErrorKind::Other => "crash",
    }
}

/// Returns the path of the output from the root of the volume; empty if there is none.
fn output_path(run: &RunId, job: &JobState) -> String {
    if job.output.is_none() {
        return String::new();
    }
    format!(
        "{}/{}/{}",
        layout::run_dir(run),
        layout::JOBS,
        layout::job_out(&job.job_id)
    )
}
