//! `runlog rotate`.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::context::{Global, print_stderr};
use super::exit;
use super::exit::Code;
use super::settings::value;
use super::value_parsers::{parse_count, parse_duration, parse_size};
use crate::log;
use crate::log::{
    Compressed, EventType, PruneLimit, PrunedSegment, RotationPlan, RotationThreshold, RunLog,
    StorageError, compress_sealed, plan_compression, plan_prune, plan_prune_after_rotation,
    plan_rotation,
};
use crate::render::{Execution, RotateReport, SealedReport, Unchanged, json_line, rotate_lines};
use crate::volume::{Dir, RunId, Settings, Volume, layout};

/// Start a new segment of a run's log, and compress or drop the old ones
///
/// Without --max-size or --max-age, use the thresholds from the volume's settings
/// (`[rotate]` in .omne/lib/cfg/runlog.toml); if there are none, rotate now. The new segment
/// starts with the current state of the run, and sequence numbers continue. Only --keep
/// drops anything: old events, never the state. Compression and --keep apply even if no
/// rotation is due. A log that contains lines of another program is not changed.
///
/// RUN is an ID, a name (its newest run), a unique prefix of an ID, or `latest`; `~1` is the run
/// before, as in `build~1`.
///
/// Exit codes: 0 success, even if no rotation is due; 1 a named run contains lines of
/// another program; 2 invalid arguments or settings; 3 no such volume or run; 6 timed out
/// waiting for the lock of a log; 7 I/O error.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// Runs to rotate
    #[arg(value_name = "RUN", required_unless_present = "all")]
    runs: Vec<String>,
    /// Rotate all runs of the volume
    #[arg(long, conflicts_with = "runs")]
    all: bool,

    /// Rotate only if the active segment has reached SIZE, or --max-age
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
    /// Rotate only if the first event of the active segment is older than DURATION, or --max-size
    /// is reached
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_age: Option<Duration>,
    /// Drop all but the newest N sealed segments
    #[arg(long, value_name = "N", value_parser = parse_count::<usize>)]
    keep: Option<usize>,
    /// Compress sealed segments [default, unless the settings say otherwise]
    #[arg(long, conflicts_with = "no_compress")]
    compress: bool,
    /// Do not compress sealed segments
    #[arg(long)]
    no_compress: bool,
    /// Rotate now, regardless of the settings
    #[arg(long, conflicts_with_all = ["max_size", "max_age"])]
    force: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON per run
    #[arg(long)]
    json: bool,
}

/// The actions for each run.
struct RotatePlan {
    due: RotationThreshold,
    keep: Option<usize>,
    compress: bool,
    dry_run: bool,
}

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

impl Args {
    fn plan(&self, volume: &Volume) -> Result<RotatePlan> {
        let Settings {
            file, rotate: set, ..
        } = volume.settings()?;
        let mut due = RotationThreshold {
            max_size: self.max_size,
            max_age: self.max_age,
        };
        if due == RotationThreshold::default() && !self.force {
            due = RotationThreshold {
                max_size: value(&file, "rotate.max_size", set.max_size.as_ref(), parse_size)?,
                max_age: value(
                    &file,
                    "rotate.max_age",
                    set.max_age.as_ref(),
                    parse_duration,
                )?,
            };
        }
        let keep = value(&file, "rotate.keep", set.keep.as_ref(), parse_count)?;
        Ok(RotatePlan {
            due,
            keep: self.keep.or(keep),
            compress: self.compress || !self.no_compress && set.compress.unwrap_or(true),
            dry_run: self.dry_run,
        })
    }
}

impl RotatePlan {
    fn apply(&self, volume: &Volume, run: &RunId, dir: &Dir) -> Result<RotateReport> {
        if self.dry_run {
            return self.dry_run(run, dir);
        }
        let log = RunLog::open_in(volume, run, dir)?;
        let rotation = log.rotate(self.due, EventType::LogRotated.lock_budget())?;
        let sealed = rotation.into_result().map(SealedReport::Done);
        let mut report = RotateReport::new(run.clone(), Execution::Apply, sealed);
        if report.is_foreign() {
            return Ok(report);
        }
        if let Some(keep) = self.keep {
            report.dropped = log.drop_sealed(PruneLimit::AllBut(keep))?;
        }
        if self.compress {
            report.compressed = compress_sealed(dir)?;
        }
        Ok(report)
    }

    fn dry_run(&self, run: &RunId, dir: &Dir) -> Result<RotateReport> {
        let sealed = match plan_rotation(dir, self.due)? {
            RotationPlan::Seal { bytes } => Ok(SealedReport::Would { bytes }),
            RotationPlan::Skip(why) => Err(why),
        };
        let would_rotate = sealed.is_ok();
        let mut report = RotateReport::new(run.clone(), Execution::DryRun, sealed);
        if report.is_foreign() {
            return Ok(report);
        }
        if let Some(keep) = self.keep {
            report.dropped = if would_rotate {
                plan_prune_after_rotation(dir, PruneLimit::AllBut(keep))?
            } else {
                plan_prune(dir, PruneLimit::AllBut(keep))?
            };
        }
        if self.compress {
            // Segments that would be dropped are not compressed. The segment that would be
            // sealed is missing here, since it has no name yet.
            let is_kept = |one: &Compressed| {
                let dropped = |d: &PrunedSegment| layout::compressed(&d.file) == one.file;
                !report.dropped.iter().any(dropped)
            };
            report.compressed = plan_compression(dir)?.into_iter().filter(is_kept).collect();
        }
        Ok(report)
    }
}
