//! Runs that the user named: as they are now or, with `--wait`, once they have ended.

use std::time::Instant;

use anyhow::Result;

use super::args::Args;
use super::last_output::add_last_output;
use crate::cli::context::{Global, warn_damage};
use crate::cli::exit::Code;
use crate::cli::usual_duration::add_usual;
use crate::job::{RunStatus, inspect_run};
use crate::log::{ChangeWaiter, JobScope, WatchScope};
use crate::render::RunRecord;
use crate::volume::{Dir, RunId};

/// Reads the named runs now or, with `--wait`, once they have ended.
pub(super) fn show_named(args: &Args, global: &Global) -> Result<(Vec<RunRecord>, Code)> {
    let mut found: Vec<(RunId, Dir)> = Vec::new();
    for name in &args.runs {
        let (run, dir) = global.run(name)?;
        if !found.iter().any(|(known, _)| *known == run) {
            found.push((run, dir));
        }
    }
    let volume = global.volume()?;
    let deadline = args.deadline();
    let mut records = Vec::new();
    let mut code = Code::Ok;
    for (run, dir) in found {
        let (mut record, own) = if args.wait {
            wait(run, &dir, deadline)?
        } else {
            show_once(run, &dir)?
        };
        let own = match (args.exit_status, record.state) {
            (true, state) => outcome(state).unwrap_or(Code::Running),
            (false, _) => own,
        };
        // A failed run takes precedence over one that is still running.
        code = match (code, own) {
            (Code::Damage, _) | (_, Code::Damage) => Code::Damage,
            (Code::Negative, _) | (_, Code::Negative) => Code::Negative,
            (Code::Ok, own) => own,
            (code, _) => code,
        };
        add_usual(&mut record, &volume);
        if !args.json && args.export.is_none() {
            add_last_output(&mut record, &dir);
        }
        records.push(record);
    }
    Ok((records, code))
}

/// Returns the exit code for a run that has ended; `None` if it is still running.
fn outcome(state: RunStatus) -> Option<Code> {
    match state {
        RunStatus::Completed => Some(Code::Ok),
        RunStatus::Failed | RunStatus::Lost | RunStatus::Unknown => Some(Code::Negative),
        RunStatus::Pending | RunStatus::Running | RunStatus::Open => None,
    }
}

/// Reads a run as it is now; warns about damage.
fn show_once(run: RunId, dir: &Dir) -> Result<(RunRecord, Code)> {
    let inspected = inspect_run(dir, JobScope::All)?;
    warn_damage(&inspected.summary.damage);
    let code = if inspected.summary.damage.is_empty() {
        Code::Ok
    } else {
        Code::Damage
    };
    Ok((RunRecord::new(run, dir.path().to_owned(), inspected), code))
}

/// Waits for a run to end, and returns its outcome as the exit code.
fn wait(run: RunId, dir: &Dir, deadline: Option<Instant>) -> Result<(RunRecord, Code)> {
    let waiter = ChangeWaiter::new(dir, WatchScope::Log);
    let mut is_warned = false;
    loop {
        let inspected = inspect_run(dir, JobScope::All)?;
        let damage = &inspected.summary.damage;
        if !is_warned {
            // The damage may be why the run does not end.
            warn_damage(damage);
            is_warned = !damage.is_empty();
        }
        let is_late = || deadline.is_some_and(|at| at <= Instant::now());
        let code = match outcome(inspected.verdict.state) {
            Some(code) => code,
            None if is_late() => Code::Running,
            None => {
                waiter.wait_for_change(deadline);
                continue;
            }
        };
        return Ok((RunRecord::new(run, dir.path().to_owned(), inspected), code));
    }
}
