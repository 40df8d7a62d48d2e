//! The reports of `runlog replay --recover` and `--rollback`, for people.

use std::io;
use std::io::Write;

use super::style::{Style, escape_controls};
use crate::job::{LostHook, RecoveryAction, RecoveryOutcome, UndoOutcome};
use crate::render::json::recover_report::{RecoveryReport, UndoReport};

/// Writes the steps that recovered a run.
///
/// # Errors
/// `out` cannot be written.
pub fn recovery_lines(
    out: &mut dyn Write,
    report: &RecoveryReport<'_>,
    style: Style,
) -> io::Result<()> {
    let RecoveryOutcome {
        action,
        state,
        because,
        jobs,
        undone,
        hooks,
        unfinished_rollbacks,
        daemons,
        ..
    } = report.recovery;
    let run = style.faint(report.run_id.as_str());
    let state = state.as_str();
    let because = escape_controls(because);
    match action {
        // Hooks of an earlier recovery were due.
        RecoveryAction::None if !hooks.is_empty() => {}
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
    for LostHook { job_id, result } in hooks {
        let hook = result.hook;
        match &result.error {
            None => writeln!(out, "{run}  hook {hook} of job {job_id} was run")?,
            Some(error) => {
                let error = escape_controls(error);
                writeln!(out, "{run}  hook {hook} of job {job_id} failed: {error}")?;
            }
        }
    }
    for daemon in daemons {
        let process = &daemon.process;
        let name = escape_controls(&process.name);
        writeln!(
            out,
            "{run}  job {} left a daemon running: process {} ({name})",
            daemon.job_id, process.pid
        )?;
    }
    for job in unfinished_rollbacks {
        writeln!(
            out,
            "{run}  the rollback of job {job} was started and was interrupted"
        )?;
    }
    Ok(())
}

/// Writes the steps that rolled back a run.
///
/// # Errors
/// `out` cannot be written.
pub fn undo_lines(out: &mut dyn Write, report: &UndoReport<'_>, style: Style) -> io::Result<()> {
    let run = style.faint(report.run_id.as_str());
    if report.undone.is_empty() {
        writeln!(out, "{run}  nothing to undo")?;
    }
    undone_lines(out, &run, report.undone)
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
