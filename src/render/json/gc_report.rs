//! What `runlog gc` did to a run, or would do.

use std::io;
use std::io::Write;

use serde::Serialize;

use crate::job::RunStatus;
use crate::log::store::retention::RunInfo;
use crate::render::human::text::{count, escape_controls, size};
use crate::volume::RunId;

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GcAction {
    /// The run goes.
    Remove,
    /// A file of a run that stays goes.
    Drop,
    /// What an earlier gc began to remove goes.
    Finish,
    /// A run that was named stays.
    Keep,
    /// It is left for another time.
    Skip,
    /// It could not be removed.
    Fail,
}

impl GcAction {
    /// Whether something goes.
    fn removes(self) -> bool {
        matches!(self, Self::Remove | Self::Drop | Self::Finish)
    }
}

/// One line of gc: the same keys for everything, and the same in a dry run.
#[derive(Debug, Clone, Serialize)]
pub struct GcReport {
    /// The run.
    pub run_id: RunId,
    /// What becomes of it.
    pub action: GcAction,
    /// Nothing was done.
    pub dry_run: bool,
    /// The limit that asks for it.
    pub policy: Option<&'static str>,
    /// Why, for people.
    pub why: String,
    /// What that frees, or would free, on disk.
    pub bytes: u64,
    /// The file of the run, if not all of it goes.
    pub file: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its state.
    pub state: Option<RunStatus>,
    /// When its first event was written.
    pub opened_ts: Option<String>,
    /// When it was closed.
    pub closed_ts: Option<String>,
}

impl GcReport {
    /// What becomes of a run.
    pub fn new(facts: &RunInfo, action: GcAction, dry_run: bool, why: String) -> Self {
        Self {
            run_id: facts.run_id.clone(),
            action,
            dry_run,
            policy: None,
            why,
            bytes: facts.bytes,
            file: None,
            name: facts.state.map(|_| facts.name.clone()),
            state: facts.state,
            opened_ts: facts.opened_ts.clone(),
            closed_ts: facts.closed_ts.clone(),
        }
    }

    /// What becomes of something of which no more than its run is known.
    pub fn bare(run_id: RunId, action: GcAction, dry_run: bool, why: String, bytes: u64) -> Self {
        Self {
            run_id,
            action,
            dry_run,
            policy: None,
            why,
            bytes,
            file: None,
            name: None,
            state: None,
            opened_ts: None,
            closed_ts: None,
        }
    }

    /// Whether people hear of it on stdout: what stays is told on stderr.
    pub fn is_for_people(&self) -> bool {
        self.action.removes()
    }

    /// As a line for people.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn people(&self, out: &mut dyn Write) -> io::Result<()> {
        let what = match (&self.file, self.state) {
            (Some(file), _) => format!("{} of run {}", escape_controls(file), self.run_id),
            (None, Some(state)) => format!("run {}, {}", self.run_id, state.as_str()),
            (None, None) => format!("run {}", self.run_id),
        };
        let verb = if self.dry_run {
            "would remove"
        } else {
            "removed"
        };
        let (size, why) = (size(self.bytes), escape_controls(&self.why));
        writeln!(out, "{verb} {what}, {size}: {why}")
    }
}

/// How much gc did in all.
#[derive(Debug, Default)]
pub struct GcTotal {
    runs: u64,
    segments: u64,
    leftovers: u64,
    bytes: u64,
}

impl GcTotal {
    /// Counts one line.
    pub fn add(&mut self, report: &GcReport) {
        match report.action {
            GcAction::Remove => self.runs += 1,
            GcAction::Drop => self.segments += 1,
            GcAction::Finish => self.leftovers += 1,
            _ => return,
        }
        self.bytes += report.bytes;
    }

    /// The last line for people.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn people(&self, out: &mut dyn Write, dry_run: bool) -> io::Result<()> {
        let would = if dry_run { "would be " } else { "" };
        let counts = [
            (self.runs, "run"),
            (self.segments, "segment"),
            (self.leftovers, "leftover"),
        ];
        let some = counts.iter().filter(|(n, _)| *n > 0);
        let what: Vec<_> = some.map(|(n, thing)| count(*n, thing)).collect();
        if what.is_empty() {
            let had = if dry_run { "would have" } else { "had" };
            return writeln!(out, "nothing {had} to go");
        }
        let what = what.join(", ");
        writeln!(out, "{what} {would}removed, {}", size(self.bytes))
    }
}
