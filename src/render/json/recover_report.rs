//! What `runlog replay --recover` and `--rollback` did to a run.

use std::io;
use std::io::Write;

use serde::Serialize;

use crate::job::{RecoveryAction, RecoveryOutcome, UndoOutcome};
use crate::render::human::text::{Role, Style, escape_controls};
use crate::volume::RunId;

/// A run that was recovered, or was to be.
#[derive(Debug, Serialize)]
pub struct RecoveryReport<'a> {
    run_id: &'a RunId,
    #[serde(flatten)]
    recovery: &'a RecoveryOutcome,
}

impl<'a> RecoveryReport<'a> {
    /// What was done to `run_id`.
    pub fn new(run_id: &'a RunId, recovery: &'a RecoveryOutcome) -> Self {
        Self { run_id, recovery }
    }

    /// For people.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn people(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let RecoveryOutcome {
            action,
            state,
            because,
            jobs,
            undone,
            in_doubt,
            ..
        } = self.recovery;
        let run = style.paint(Role::Faint, self.run_id.as_str());
        let state = state.as_str();
        let because = escape_controls(because);
        match action {
            RecoveryAction::None => writeln!(out, "{run}  nothing to recover: it is {state}")?,
            RecoveryAction::Repaired => {
                writeln!(out, "{run}  its torn tail was repaired; it is {state}")?;
            }
            RecoveryAction::Skipped => writeln!(out, "{run}  not changed ({state}): {because}")?,
            RecoveryAction::Recovered => {
                for job in jobs {
                    writeln!(out, "{run}  job {job} was lost and is now failed")?;
                }
                undone_lines(out, &run, undone)?;
                writeln!(out, "{run}  recovered; it is now {state}: {because}")?;
            }
        }
        for job in in_doubt {
            writeln!(
                out,
                "{run}  the rollback of job {job} was started and was interrupted"
            )?;
        }
        Ok(())
    }
}

/// A run that was undone.
#[derive(Debug, Serialize)]
pub struct UndoReport<'a> {
    run_id: &'a RunId,
    undone: &'a [UndoOutcome],
}

impl<'a> UndoReport<'a> {
    /// What became of the jobs of `run_id` that had something to undo.
    pub fn new(run_id: &'a RunId, undone: &'a [UndoOutcome]) -> Self {
        Self { run_id, undone }
    }

    /// For people.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn people(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let run = style.paint(Role::Faint, self.run_id.as_str());
        if self.undone.is_empty() {
            writeln!(out, "{run}  nothing to undo")?;
        }
        undone_lines(out, &run, self.undone)
    }
}

fn undone_lines(out: &mut dyn Write, run: &str, undone: &[UndoOutcome]) -> io::Result<()> {
    for UndoOutcome { job_id, error } in undone {
        match error {
            None => writeln!(out, "{run}  job {job_id} was undone")?,
            Some(error) => writeln!(
                out,
                "{run}  job {job_id} was not undone: {}",
                escape_controls(error)
            )?,
        }
    }
    Ok(())
}
