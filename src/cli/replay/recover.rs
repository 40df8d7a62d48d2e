//! `replay --recover`: what a crash left; `replay --rollback`: undoing a run.

use std::io;

use anyhow::{Context as _, Result};

use crate::cli::context::{Global, say, trouble};
use crate::cli::exit;
use crate::cli::exit::Code;
use crate::cli::replay::Args;
use crate::job::{Action, Recovery, RunStateKind, UndoError, recover, undo};
use crate::log::{Gc, LogError, leftovers, list, open_dir};
use crate::render::{RecoveryReport, UndoReport, json_line};
use crate::volume::{Dir, RunId, Volume};

/// `--recover`.
pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    if args.recovery.all {
        return all(args, global);
    }
    let volume = global.volume()?;
    let (run, dir) = global.run(&args.run)?;
    let recovery = recover(&volume, &run, &dir, args.recovery.with_rollback, &trouble())?;
    tell(args, global, &run, &recovery)?;
    Ok(match (recovery.action, recovery.state) {
        (Action::Left, RunStateKind::Running) => {
            say("hint: it goes on; `runlog tail -f` follows it");
            Code::Running
        }
        (Action::Left, RunStateKind::Unknown | RunStateKind::Completed | RunStateKind::Failed) => {
            say("hint: its end is left to the program that writes it");
            Code::Negative
        }
        (Action::Left, _) => {
            say("hint: see to it that the process has ended, then recover the run again");
            Code::Negative
        }
        _ => code_of(&recovery),
    })
}

/// A rollback that did not succeed is a negative answer.
fn code_of(recovery: &Recovery) -> Code {
    if recovery.undone.iter().any(|one| one.error.is_some()) {
        Code::Negative
    } else {
        Code::Ok
    }
}

fn all(args: &Args, global: &Global) -> Result<Code> {
    let volume = global.volume()?;
    let mut code = finish_gc(&volume);
    let Some(runs) = volume.runs()? else {
        return Ok(code);
    };
    for run in list(&volume)? {
        let recovered = one_of_all(args, &volume, &runs, &run);
        match recovered {
            Ok(None) => {}
            Ok(Some(recovery)) => {
                if recovery.action != Action::None {
                    tell(args, global, &run, &recovery)?;
                }
                if code == Code::Ok {
                    code = code_of(&recovery);
                }
            }
            // One run that cannot be recovered does not stop the others.
            Err(e) => {
                let (worse, text) = exit::explain(&e.into());
                say(format_args!("run {run}: {text}"));
                code = worse;
            }
        }
    }
    Ok(code)
}

fn one_of_all(
    args: &Args,
    volume: &Volume,
    runs: &Dir,
    run: &RunId,
) -> Result<Option<Recovery>, UndoError> {
    let recovered = open_dir(runs, run)?
        .map(|dir| recover(volume, run, &dir, args.recovery.with_rollback, &trouble()))
        .transpose();
    match recovered {
        // Removed meanwhile: then it is none of all runs.
        Err(UndoError::Log(LogError::RunGone { .. } | LogError::NoSuchRun { .. })) => Ok(None),
        recovered => recovered,
    }
}

/// Removes what a gc was in the middle of removing.
fn finish_gc(volume: &Volume) -> Code {
    let finished = leftovers(volume).and_then(|left| {
        if left.is_empty() {
            return Ok(());
        }
        let gc = Gc::begin(volume)?;
        left.iter().try_for_each(|one| gc.remove(&one.name))
    });
    match finished {
        // It is not cut off: it is at work.
        Ok(()) | Err(LogError::GcRunning { .. }) => Code::Ok,
        Err(e) => {
            let (code, text) = exit::explain(&e.into());
            say(text);
            code
        }
    }
}

fn tell(args: &Args, global: &Global, run: &RunId, recovery: &Recovery) -> Result<()> {
    let report = RecoveryReport::new(run, recovery);
    let mut out = io::stdout().lock();
    let told = if args.json {
        json_line(&mut out, &report)
    } else {
        report.people(&mut out, global.style())
    };
    told.context("stdout cannot be written")
}

/// `--rollback`.
pub(crate) fn roll_back(args: &Args, global: &Global) -> Result<Code> {
    let volume = global.volume()?;
    let (run, dir) = global.run(&args.run)?;
    let undone = undo(&volume, &run, &dir, args.recovery.force, &trouble())?;
    let report = UndoReport::new(&run, &undone);
    let mut out = io::stdout().lock();
    let told = if args.json {
        json_line(&mut out, &report)
    } else {
        report.people(&mut out, global.style())
    };
    told.context("stdout cannot be written")?;
    Ok(if undone.iter().any(|one| one.error.is_some()) {
        Code::Negative
    } else {
        Code::Ok
    })
}
