//! A run in the format of runtimo-core: jobs and their stages. Versions 0.1.4 and 0.10.3 read
//! the same lines. Facts for which runtimo has no events (the run itself, notes, samples,
//! attempts, telemetry) are left out.

use std::io;
use std::io::Write;

use serde::Serialize;

use crate::log::{Dialect, EventHead, Item, JobState, RunState};
use crate::render::export::Export;
use crate::render::export::transitions::{Transition, TransitionKind, Transitions, job_has_failed};
use crate::render::json::json_lines::json_line;

/// An export that runtimo reads as its write-ahead log.
#[derive(Debug, Default)]
pub struct AsRuntimo {
    transitions: Transitions,
    /// The sequence number of the next line.
    seq: u64,
}

/// A line with the keys in the order in which runtimo writes them. 0.1.4 ignores the last two.
#[derive(Serialize)]
struct RuntimoLine<'a> {
    seq: u64,
    /// The time in seconds.
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
    fn write_transition(
        &mut self,
        out: &mut dyn Write,
        transition: &Transition<'_>,
    ) -> io::Result<()> {
        let (kind, job) = match transition.what {
            TransitionKind::Opened | TransitionKind::Closed => return Ok(()),
            TransitionKind::Submitted(job) => ("job_submitted", job),
            TransitionKind::Validated(job) => ("job_validated", job),
            TransitionKind::Started(job) => ("job_started", job),
            TransitionKind::Ended(job) if job_has_failed(job) => ("job_failed", job),
            TransitionKind::Ended(job) => ("job_completed", job),
            TransitionKind::RolledBack(job) => ("job_rolled_back", job),
        };
        let ended = matches!(transition.what, TransitionKind::Ended(_));
        let line = RuntimoLine {
            seq: self.seq,
            ts: transition.millis() / 1000,
            kind,
            job_id: job.job_id.as_str(),
            // runtimo's name for what runs commands. For another program's steps it is unknown.
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
        let transitions = self.transitions.classify(item, run);
        if let Item::Foreign(Dialect::Runtimo, line) = item {
            if let Some(seq) = EventHead::parse(line).and_then(|head| head.seq) {
                self.seq = self.seq.max(seq.saturating_add(1));
            }
            out.write_all(line)?;
            return out.write_all(b"\n");
        }
        transitions
            .iter()
            .try_for_each(|transition| self.write_transition(out, transition))
    }
}

fn error_of(job: &JobState) -> &str {
    match &job.error {
        None => "",
        Some(error) if error.message.is_empty() => error.kind.as_str(),
        Some(error) => &error.message,
    }
}
