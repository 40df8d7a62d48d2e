//! `runlog rotate`.

mod args;
mod rotate_plan;

use anyhow::{Error, Result};

pub(crate) use self::args::Args;
use super::context::{Global, print_stderr};
use super::exit;
use super::exit::Code;
use super::stdout_report::StdoutReport;
use crate::log;
use crate::render::{Unchanged, json_line, rotate_lines};
use crate::volume::{Dir, RunId};

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    let volume = global.volume()?;
    let plan = args.plan(&volume)?;
    let mut out = StdoutReport::new();
    let mut code = Code::Ok;
    let unchanged = if args.all {
        Unchanged::Hidden
    } else {
        Unchanged::Shown
    };
    let mut each = |run: &RunId, dir: Result<Option<Dir>>| {
        let done = dir.and_then(|dir| {
            let dir = dir.as_ref();
            dir.map(|dir| plan.apply(&volume, run, dir)).transpose()
        });
        match done {
            Ok(None) => {}
            Ok(Some(report)) => {
                out.print(|out| {
                    if args.json {
                        json_line(out, &report)
                    } else {
                        rotate_lines(out, &report, unchanged, global.style())
                    }
                });
                if report.is_foreign() && !args.all && code == Code::Ok {
                    code = Code::Negative;
                }
            }
            // The run was removed in the meantime.
            Err(e) if args.all && exit::is_run_removed(&e) => {}
            // One failed rotation does not stop the others.
            Err(e) => {
                let (worse, text) = exit::explain_for_run(run.as_str(), e);
                print_stderr(text);
                code = worse;
            }
        }
    };
    if args.all {
        let ids = log::list(&volume)?;
        if let Some(runs) = volume.runs()? {
            for run in ids {
                each(&run, log::open_dir(&runs, &run).map_err(Error::from));
            }
        }
    } else {
        for run in global.runs_to_change(&args.runs)? {
            each(&run, global.run(run.as_str()).map(|(_, dir)| Some(dir)));
        }
    }
    out.finish(code)
}
