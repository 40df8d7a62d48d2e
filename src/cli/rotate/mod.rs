//! `runlog rotate`.

mod args;
mod rotate_plan;

use std::io;

use anyhow::{Context as _, Result};

pub(crate) use self::args::Args;
use super::context::{Global, print_stderr};
use super::exit;
use super::exit::Code;
use crate::log;
use crate::log::StorageError;
use crate::render::{Unchanged, json_line, rotate_lines};
use crate::volume::{Dir, RunId};

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    let volume = global.volume()?;
    let plan = args.plan(&volume)?;
    let mut out = io::stdout().lock();
    let mut code = Code::Ok;
    let unchanged = if args.all {
        Unchanged::Hidden
    } else {
        Unchanged::Shown
    };
    let mut each = |run: &RunId, dir: Result<Option<Dir>, StorageError>| -> Result<()> {
        let done = dir.map_err(anyhow::Error::from).and_then(|dir| {
            let dir = dir.as_ref();
            dir.map(|dir| plan.apply(&volume, run, dir)).transpose()
        });
        match done {
            Ok(None) => {}
            Ok(Some(report)) => {
                let written = if args.json {
                    json_line(&mut out, &report)
                } else {
                    rotate_lines(&mut out, &report, unchanged, global.style())
                };
                written.context("cannot write to stdout")?;
                if report.is_foreign() && !args.all && code == Code::Ok {
                    code = Code::Negative;
                }
            }
            // The run was removed in the meantime.
            Err(e) if args.all && exit::is_run_removed(&e) => {}
            // One failed rotation does not stop the others.
            Err(e) => {
                let (worse, text) = exit::explain(&e);
                print_stderr(format_args!("run {run}: {text}"));
                code = worse;
            }
        }
        Ok(())
    };
    if args.all {
        let ids = log::list(&volume)?;
        if let Some(runs) = volume.runs()? {
            for run in ids {
                each(&run, log::open_dir(&runs, &run))?;
            }
        }
    } else {
        for name in &args.runs {
            let (run, dir) = global.run_to_change(name)?;
            each(&run, Ok(Some(dir)))?;
        }
    }
    Ok(code)
}
