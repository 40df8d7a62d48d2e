//! `replay --recover`: finishes what a crash interrupted; `replay --rollback`: undoes a run.

use std::io;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::Result;

use crate::cli::context::{Global, print_stderr, warn_damage, warning_printer};
use crate::cli::exit;
use crate::cli::exit::{Code, is_run_removed};
use crate::cli::replay::Args;
use crate::cli::run::hook_input;
use crate::cli::run_defaults::default_hooks;
use crate::cli::stdout_report::StdoutReport;
use crate::job::gc::finish_removal;
use crate::job::{
    InDoubt, LostHook, LostHooks, LostJobRollback, RecoveryAction, RecoveryOptions,
    RecoveryOutcome, RunStatus, UndoError, due_hooks, inspect_run, plan_recovery, plan_undo,
    recover, undo,
};
use crate::log::{DamageList, GcError, GcLock, JobScope, RunLog, list, open_dir, trash_entries};
use crate::render::{
    RecoveryReport, UndoReport, escape_controls, json_line, recovery_lines, undo_lines,
};
use crate::volume::{Dir, JobId, RunId, Volume};

/// The hint about a run that was skipped because of a process.
const RETRY_HINT: &str = "hint: wait for the process to exit or kill it, then retry";

/// Recovers one run, or all.
pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    let mut out = StdoutReport::new();
    let code = if args.recovery.all {
        all(args, global, &mut out)?
    } else {
        one(args, global, &mut out)?
    };
    out.finish(code)
}

fn one(args: &Args, global: &Global, out: &mut StdoutReport) -> Result<Code> {
    let volume = global.volume()?;
    let (run, dir) = global.run_to_change(args.run_to_change()?)?;
    let damage = report_damage(&dir)?;
    let recovery = recover_or_plan(args, &volume, &run, &dir)?;
    report(args, global, &run, &recovery, out);
    Ok(damage.or(match (recovery.action, recovery.state) {
        (RecoveryAction::Skipped, RunStatus::Running) => {
            print_stderr(format_args!(
                "hint: follow the run with `runlog tail -f {run}`; it is still running"
            ));
            Code::Running
        }
        (
            RecoveryAction::Skipped,
            RunStatus::Unknown | RunStatus::Completed | RunStatus::Failed,
        ) => {
            print_stderr(if recovery.is_foreign {
                "hint: leave it to the program that writes it; only that program can end the run"
            } else {
                "hint: recover it where the job ran, or after that host has booted again"
            });
            Code::Negative
        }
        (RecoveryAction::Skipped, _) => {
            print_stderr(RETRY_HINT);
            Code::Negative
        }
        _ => exit_code_of(&recovery),
    }))
}

/// Recovers a run or, with `--dry-run`, returns what recovery would do.
fn recover_or_plan(
    args: &Args,
    volume: &Volume,
    run: &RunId,
    dir: &Dir,
) -> Result<RecoveryOutcome, UndoError> {
    let due = if args.recovery.with_hooks {
        due_hooks(volume, run, dir, in_doubt(args))?
    } else {
        Vec::new()
    };
    let mut outcome = if args.recovery.dry_run {
        plan_recovery(run, dir, options(args))?
    } else {
        recover(volume, run, dir, options(args), &warning_printer())?
    };
    if outcome.action == RecoveryAction::Skipped {
        return Ok(outcome);
    }
    outcome.hooks_due = due;
    let jobs = [&*outcome.jobs, &*outcome.hooks_due].concat();
    if args.recovery.with_hooks && !args.recovery.dry_run && !jobs.is_empty() {
        outcome.hooks = run_hooks(volume, run, dir, &jobs);
    }
    Ok(outcome)
}

/// Runs the hooks of lost jobs. A hook that fails is not an error.
fn run_hooks(volume: &Volume, run: &RunId, dir: &Dir, jobs: &[JobId]) -> Vec<LostHook> {
    let prepared = default_hooks(volume)
        .and_then(|defaults| Ok((defaults, Arc::new(RunLog::open_in(volume, run, dir)?))));
    match prepared {
        Ok((defaults, log)) => LostHooks {
            volume,
            input: hook_input(Arc::clone(&log)),
            log,
            defaults: &defaults,
            on_warning: &warning_printer(),
        }
        .run(jobs),
        Err(e) => {
            print_stderr(format_args!("warning: hooks were not run: {e:#}"));
            Vec::new()
        }
    }
}

/// Converts the flags.
fn options(args: &Args) -> RecoveryOptions {
    RecoveryOptions {
        rollback: if args.recovery.with_rollback {
            LostJobRollback::Run
        } else {
            LostJobRollback::Skip
        },
        in_doubt: in_doubt(args),
    }
}

fn in_doubt(args: &Args) -> InDoubt {
    if args.recovery.force {
        InDoubt::Act
    } else {
        InDoubt::Refuse
    }
}

/// Whether the log that the command acts on has damage.
#[derive(Clone, Copy)]
enum LogDamage {
    Found,
    None,
}

impl LogDamage {
    fn of(damage: &DamageList) -> Self {
        if damage.is_empty() {
            Self::None
        } else {
            Self::Found
        }
    }

    /// Returns the exit code of an action on the log that itself ends with `code`.
    fn or(self, code: Code) -> Code {
        match (self, code) {
            (Self::Found, Code::Ok) => Code::Damage,
            (_, code) => code,
        }
    }
}

/// Reports the damage in a log before acting on it.
fn report_damage(dir: &Dir) -> Result<LogDamage> {
    let damage = inspect_run(dir, JobScope::Summarized)?.summary.damage;
    warn_damage(&damage);
    Ok(LogDamage::of(&damage))
}

/// Returns [`Code::Negative`] if a rollback failed.
fn exit_code_of(recovery: &RecoveryOutcome) -> Code {
    if recovery.undone.iter().any(|one| one.error.is_some()) {
        Code::Negative
    } else {
        Code::Ok
    }
}

fn all(args: &Args, global: &Global, out: &mut StdoutReport) -> Result<Code> {
    let volume = global.volume()?;
    let mut code = if args.recovery.dry_run {
        print_trash(&volume, out)?
    } else {
        finish_gc(&volume)
    };
    let Some(runs) = volume.runs()? else {
        return Ok(code);
    };
    for run in list(&volume)? {
        let recovered = recover_one(args, &volume, &runs, &run);
        match recovered {
            Ok(None) => {}
            Ok(Some(recovery)) => {
                let one = report_one_of_all(args, global, &run, &recovery, out);
                if code == Code::Ok {
                    code = one;
                }
            }
            // One failed recovery does not stop the others.
            Err(e) => {
                let (worse, text) = exit::explain_for_run(run.as_str(), e);
                print_stderr(text);
                code = worse;
            }
        }
    }
    Ok(code)
}

/// Reports the recovery of one of all runs, and returns its exit code. A run that was left as it
/// is does not count.
fn report_one_of_all(
    args: &Args,
    global: &Global,
    run: &RunId,
    recovery: &RecoveryOutcome,
    out: &mut StdoutReport,
) -> Code {
    if recovery.action == RecoveryAction::None && recovery.hooks_due.is_empty() {
        return Code::Ok;
    }
    warn_damage(&recovery.damage);
    report(args, global, run, recovery, out);
    if recovery.action != RecoveryAction::Skipped {
        return LogDamage::of(&recovery.damage).or(exit_code_of(recovery));
    }
    if recovery.state == RunStatus::Lost {
        print_stderr(RETRY_HINT);
    }
    Code::Ok
}

fn recover_one(
    args: &Args,
    volume: &Volume,
    runs: &Dir,
    run: &RunId,
) -> Result<Option<RecoveryOutcome>> {
    let recovered = open_dir(runs, run)?
        .map(|dir| recover_or_plan(args, volume, run, &dir))
        .transpose()
        .map_err(anyhow::Error::from);
    match recovered {
        // The run has been removed in the meantime.
        Err(e) if is_run_removed(&e) => Ok(None),
        recovered => recovered,
    }
}

/// Prints the removals that an interrupted gc left unfinished.
fn print_trash(volume: &Volume, out: &mut StdoutReport) -> Result<Code> {
    for entry in trash_entries(volume)? {
        out.print(|out| writeln!(out, "{}  its removal would be finished", entry.run));
    }
    Ok(Code::Ok)
}

/// Finishes the removals that an interrupted gc left unfinished.
fn finish_gc(volume: &Volume) -> Code {
    let finished = trash_entries(volume)
        .map_err(GcError::from)
        .and_then(|left| {
            if left.is_empty() {
                return Ok(());
            }
            let mut gc = GcLock::acquire(volume)?;
            // One that cannot be removed does not keep the others.
            let finished: Vec<_> = left
                .iter()
                .map(|entry| finish_removal(&mut gc, entry))
                .collect();
            finished.into_iter().collect()
        });
    match finished {
        // A gc that is running was not interrupted.
        Ok(()) | Err(GcError::Running { .. }) => Code::Ok,
        Err(e) => {
            let (code, text) = exit::explain(&e.into());
            print_stderr(text);
            code
        }
    }
}

fn report(
    args: &Args,
    global: &Global,
    run: &RunId,
    recovery: &RecoveryOutcome,
    out: &mut StdoutReport,
) {
    let would_change = matches!(
        recovery.action,
        RecoveryAction::Repaired | RecoveryAction::Recovered
    ) || !recovery.hooks_due.is_empty();
    if args.recovery.dry_run && would_change {
        return out.print(|out| write_recovery_plan(out, args, run, recovery));
    }
    let report = RecoveryReport {
        run_id: run,
        recovery,
    };
    out.print(|out| {
        if args.json {
            json_line(out, &report)
        } else {
            recovery_lines(out, &report, global.style())
        }
    });
}

/// Writes what recovery would do to a run.
fn write_recovery_plan(
    out: &mut impl io::Write,
    args: &Args,
    run: &RunId,
    plan: &RecoveryOutcome,
) -> io::Result<()> {
    if plan.action == RecoveryAction::Repaired {
        writeln!(out, "{run}  would repair the end of its log")?;
    }
    let undo = if args.recovery.with_rollback {
        ", and undo it if it has a rollback"
    } else {
        ""
    };
    let hooks = if args.recovery.with_hooks {
        ", and run its hooks"
    } else {
        ""
    };
    for job in &plan.jobs {
        writeln!(out, "{run}  would end job {job} as failed{undo}{hooks}")?;
    }
    for job in &plan.hooks_due {
        writeln!(
            out,
            "{run}  would run the hooks of job {job}, which was lost"
        )?;
    }
    if plan.action == RecoveryAction::Recovered {
        writeln!(out, "{run}  would close the run")?;
    }
    Ok(())
}

/// Undoes a run.
pub(crate) fn roll_back_run(args: &Args, global: &Global) -> Result<Code> {
    let volume = global.volume()?;
    let (run, dir) = global.run_to_change(args.run_to_change()?)?;
    if args.recovery.dry_run {
        return print_plan(&run, &dir, in_doubt(args));
    }
    let damage = report_damage(&dir)?;
    let undone = undo(&volume, &run, &dir, in_doubt(args), &warning_printer())?;
    let report = UndoReport {
        run_id: &run,
        undone: &undone,
    };
    let mut out = StdoutReport::new();
    out.print(|out| {
        if args.json {
            json_line(out, &report)
        } else {
            undo_lines(out, &report, global.style())
        }
    });
    out.finish(damage.or(if undone.iter().any(|one| one.error.is_some()) {
        Code::Negative
    } else {
        Code::Ok
    }))
}

/// Prints the rollbacks that would run, in order.
fn print_plan(run: &RunId, dir: &Dir, in_doubt: InDoubt) -> Result<Code> {
    let damage = report_damage(dir)?;
    let mut out = StdoutReport::new();
    for step in plan_undo(run, dir, in_doubt)? {
        let command = escape_controls(&step.command);
        out.print(|out| writeln!(out, "would undo job {}: {command}", step.job_id));
    }
    out.finish(damage.or(Code::Ok))
}
