//! `--diff`: compares two runs.

use anyhow::Result;

use crate::cli::context::{Global, warn_damage};
use crate::cli::exit::Code;
use crate::cli::replay::Args;
use crate::cli::stdout_report::StdoutReport;
use crate::job::inspect_run;
use crate::log::JobScope;
use crate::render::{Human, JsonLines, RunDiff, RunPrinter as _, RunRecord};

pub(crate) fn execute(args: &Args, global: &Global, a: &str, b: &str) -> Result<Code> {
    let mut damaged = false;
    let mut report = |name: &str| -> Result<RunRecord> {
        let (run, dir) = global.run(name)?;
        let inspected = inspect_run(&dir, JobScope::All)?;
        warn_damage(&inspected.summary.damage);
        damaged |= !inspected.summary.damage.is_empty();
        Ok(RunRecord::new(run, dir.path().to_owned(), inspected))
    };
    let diff = RunDiff::new(report(a)?, report(b)?);
    let mut out = StdoutReport::new();
    out.print(|out| {
        if args.json {
            JsonLines.diff(out, &diff)
        } else {
            Human(global.style()).diff(out, &diff)
        }
    });
    out.finish(match (damaged, diff.same) {
        (true, _) => Code::Damage,
        (false, true) => Code::Ok,
        (false, false) => Code::Negative,
    })
}
