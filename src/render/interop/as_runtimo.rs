//! A run in the words of runtimo-core, of which 0.1.4 and 0.10.3 read the same lines: jobs
//! and their stages. What these words cannot say (the run itself, notes, samples, attempts,
//! telemetry) is left out.

use std::io;
use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::log::{Dialect, Item, JobState, RunState};
use crate::render::export::Export;
use crate::render::export::transitions::{Transition, TransitionKind, Transitions, has_failed};
use crate::render::json::json_lines::json_line;

/// Writes what runtimo reads as its write-ahead log.
#[derive(Debug, Default)]
pub struct AsRuntimo {
    steps: Transitions,
    /// The number of the next line.
    seq: u64,
}

/// A line; the keys stand as runtimo writes them. 0.1.4 passes over the last two.
#[derive(Serialize)]
struct RuntimoLine<'a> {
    seq: u64,
    /// In seconds.
    ts: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    job_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    capability: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    cmd: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd_exit_code: Option<i32>,
}

impl AsRuntimo {
    fn step(&mut self, out: &mut dyn Write, step: &Transition<'_>) -> io::Result<()> {
        let (kind, job) = match step.what {
            TransitionKind::Opened | TransitionKind::Closed => return Ok(()),
            TransitionKind::Submitted(job) => ("job_submitted", job),
            TransitionKind::Validated(job) => ("job_validated", job),
            TransitionKind::Started(job) => ("job_started", job),
            TransitionKind::Ended(job) if has_failed(job) => ("job_failed", job),
            TransitionKind::Ended(job) => ("job_completed", job),
            TransitionKind::RolledBack(job) => ("job_rolled_back", job),
        };
        let ended = matches!(step.what, TransitionKind::Ended(_));
        let line = RuntimoLine {
            seq: self.seq,
            ts: step.millis() / 1000,
            kind,
            job_id: job.job_id.as_str(),
            // What runs a command there. What ran another program's steps is not known.
            capability: (!job.foreign).then_some("ShellExec"),
            error: (kind == "job_failed").then(|| error_of(job)),
            cmd: &job.command,
            cmd_exit_code: job.exit_code.filter(|_| ended),
        };
        self.seq = self.seq.saturating_add(1);
        json_line(out, &line)
    }
}

impl Export for AsRuntimo {
    fn item(&mut self, out: &mut dyn Write, item: &Item<'_>, run: &RunState) -> io::Result<()> {
        let steps = self.steps.classify(item, run);
        if let Item::Foreign(Dialect::Runtimo, line) = item {
            #[derive(Deserialize)]
            struct Numbered {
                seq: u64,
            }
            if let Ok(Numbered { seq }) = serde_json::from_slice(line) {
                self.seq = self.seq.max(seq.saturating_add(1));
            }
            out.write_all(line)?;
            return out.write_all(b"\n");
        }
        steps.iter().try_for_each(|step| self.step(out, step))
    }
}

fn error_of(job: &JobState) -> &str {
    match &job.error {
        None => "",
        Some(error) if error.message.is_empty() => error.kind.as_str(),
        Some(error) => &error.message,
    }
}
