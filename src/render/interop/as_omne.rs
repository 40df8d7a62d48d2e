//! A run in the words of omne-cli 0.2: a run is a pipe, a job is a node. What these words
//! cannot say (notes, samples, attempts, rollbacks, telemetry) is left out.

use std::io;
use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;
use ulid::Ulid;

use crate::log::format::payload::ErrorKind;
use crate::log::{Dialect, Item, JobState, RunState};
use crate::render::export::Export;
use crate::render::export::transitions::{Transition, TransitionKind, Transitions, has_failed};
use crate::render::json::json_lines::json_line;
use crate::volume::{RunId, layout, rfc3339};

/// Writes what `omne status` reads as `.omne/var/runs/<run_id>/events.jsonl`.
#[derive(Debug)]
pub struct AsOmne {
    run: RunId,
    steps: Transitions,
    /// How many ids were made up.
    ids: u128,
}

/// A line; the keys stand as omne writes them.
#[derive(Serialize)]
struct OmneLine<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(with = "rfc3339")]
    ts: Timestamp,
    run_id: &'a RunId,
    #[serde(flatten)]
    told: EmittedLine<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum EmittedLine<'a> {
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
    /// For the run of that id.
    pub fn new(run: RunId) -> Self {
        Self {
            run,
            steps: Transitions::default(),
            ids: 0,
        }
    }

    fn step(
        &mut self,
        out: &mut dyn Write,
        step: &Transition<'_>,
        run: &RunState,
    ) -> io::Result<()> {
        let (kind, told) = match step.what {
            TransitionKind::Opened => {
                let pipe = match &*run.name {
                    "" => self.run.as_str(),
                    name => name,
                };
                ("pipe.started", EmittedLine::Pipe { pipe })
            }
            TransitionKind::Closed if run.has_failed() => {
                let reason = reason(run);
                ("pipe.aborted", EmittedLine::Aborted { reason })
            }
            TransitionKind::Closed => ("pipe.completed", EmittedLine::Nothing {}),
            TransitionKind::Started(job) => {
                let told = EmittedLine::Started {
                    node_id: job.job_id.as_str(),
                    kind: "bash",
                    name: &job.command,
                };
                ("node.started", told)
            }
            TransitionKind::Ended(job) if has_failed(job) => {
                let error = job.error.as_ref();
                let message = error.map(|e| e.message.as_str());
                let told = EmittedLine::Failed {
                    node_id: job.job_id.as_str(),
                    error: Error {
                        kind: kind_of(error.map_or(ErrorKind::Other, |e| e.kind)),
                    },
                    message: message.filter(|m| !m.is_empty()),
                };
                ("node.failed", told)
            }
            TransitionKind::Ended(job) => {
                let told = EmittedLine::Completed {
                    node_id: job.job_id.as_str(),
                    output_path: output_path(&self.run, job),
                };
                ("node.completed", told)
            }
            TransitionKind::Submitted(_)
            | TransitionKind::Validated(_)
            | TransitionKind::RolledBack(_) => return Ok(()),
        };
        let id = step.id.unwrap_or_else(|| {
            self.ids += 1;
            Ulid::from_parts(step.millis(), self.ids)
        });
        let id = id.to_string().to_ascii_lowercase();
        let line = OmneLine {
            kind,
            id: &id,
            ts: step.ts,
            run_id: &self.run,
            told,
        };
        json_line(out, &line)
    }
}

impl Export for AsOmne {
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()> {
        let steps = self.steps.classify(item, run);
        if let Item::Foreign(Dialect::Omne, line) = item {
            out.write_all(line)?;
            return out.write_all(b"\n");
        }
        steps.iter().try_for_each(|step| self.step(out, step, run))
    }
}

/// Why a run failed.
fn reason(run: &RunState) -> String {
    let mut failed = run.jobs.iter().filter(|job| has_failed(job));
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

/// What omne would call it.
fn kind_of(error: ErrorKind) -> &'static str {
    match error {
        ErrorKind::Timeout => "timeout",
        ErrorKind::NotFound | ErrorKind::NotExecutable => "host_missing",
        ErrorKind::Validation | ErrorKind::ResourceLimit | ErrorKind::Canceled => "blocked",
        ErrorKind::Exit | ErrorKind::Signal | ErrorKind::Lost | ErrorKind::Other => "crash",
    }
}

/// Where the output is, from the root of the volume; empty where there is none.
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
