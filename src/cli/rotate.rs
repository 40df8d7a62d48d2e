//! `runlog rotate`.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::context::{Global, print_stderr};
use super::exit;
use super::exit::Code;
use super::settings::{parse_count, value};
use super::value_parsers::{parse_duration, parse_size};
use crate::log;
use crate::log::{
    Compressed, EventType, PruneLimit, PrunedSegment, RotationPlan, RotationThreshold, RunLog,
    StorageError, compress_sealed, plan_compression, plan_prune, plan_rotation,
};
use crate::render::{RotateReport, SealedReport, json_line};
use crate::volume::{Dir, RunId, Volume, layout};

/// Begin a new segment of a run's log, and compress or drop the old ones
///
/// Without --max-size or --max-age the thresholds of the volume's settings hold
/// (`[rotate]` in .omne/lib/cfg/runlog.toml); where there are none, it rotates now. The
/// new segment opens with the state of the run so far, and numbers go on. Only --keep
/// drops anything: old events, never the state. Compression and --keep hold also where
/// nothing is due. A log that holds lines of another program is left as it is.
///
/// RUN is an id, the beginning of one, or `latest`.
///
/// Exit codes: 0 fine, also where nothing is due; 1 a run that was named holds lines of
/// another program; 2 wrong arguments or settings; 3 no such volume or run; 6 a log
/// stayed locked; 7 I/O.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// The runs [default: latest]
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// All runs of the volume
    #[arg(long, conflicts_with = "runs")]
    all: bool,

    /// Only where the active segment has reached this size, or --max-age
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
    /// Only where the first event of the active segment is so old, or --max-size is reached
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_age: Option<Duration>,
    /// Drop all sealed segments but the newest N
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Compress the sealed segments [default, unless the settings say otherwise]
    #[arg(long, conflicts_with = "no_compress")]
    compress: bool,
    /// Leave the sealed segments as they are
    #[arg(long)]
    no_compress: bool,
    /// Rotate now, whatever the settings say
    #[arg(long, conflicts_with_all = ["max_size", "max_age"])]
    force: bool,
    /// Change nothing; say what would be done
    #[arg(long)]
    dry_run: bool,
    /// One line of JSON for each run
    #[arg(long)]
    json: bool,
}

/// What is to be done to each run.
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
                    report.people(&mut out, !args.all, global.style())
                };
                written.context("stdout cannot be written")?;
                if report.is_foreign() && !args.all && code == Code::Ok {
                    code = Code::Negative;
                }
            }
            // Removed meanwhile: then it is none of all runs.
            Err(e) if args.all && exit::is_run_removed(&e) => {}
            // One that cannot be rotated does not stop the others.
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
        let latest = ["latest".to_owned()];
        let names = if args.runs.is_empty() {
            latest.as_slice()
        } else {
            args.runs.as_slice()
        };
        for name in names {
            let (run, dir) = global.run(name)?;
            each(&run, Ok(Some(dir)))?;
        }
    }
    Ok(code)
}

impl Args {
    fn plan(&self, volume: &Volume) -> Result<RotatePlan> {
        let set = volume.settings()?.rotate;
        let mut due = RotationThreshold {
            max_size: self.max_size,
            max_age: self.max_age,
        };
        if due == RotationThreshold::default() && !self.force {
            due = RotationThreshold {
                max_size: value("rotate.max_size", set.max_size.as_ref(), parse_size)?,
                max_age: value("rotate.max_age", set.max_age.as_ref(), parse_duration)?,
            };
        }
        let keep = value("rotate.keep", set.keep.as_ref(), parse_count)?;
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
        let log = RunLog::open(volume, run)?;
        let rotation = log.rotate(self.due, EventType::LogRotated.lock_budget())?;
        let sealed = rotation.into_result().map(SealedReport::Done);
        let mut report = RotateReport::new(run.clone(), false, sealed);
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
        let mut report = RotateReport::new(run.clone(), true, sealed);
        if report.is_foreign() {
            return Ok(report);
        }
        if let Some(keep) = self.keep {
            report.dropped = plan_prune(dir, PruneLimit::AllBut(keep), would_rotate)?;
        }
        if self.compress {
            // Not what is dropped before; what would be sealed has no name yet.
            let stays = |one: &Compressed| {
                let dropped = |d: &PrunedSegment| layout::compressed(&d.file) == one.file;
                !report.dropped.iter().any(dropped)
            };
            report.compressed = plan_compression(dir)?.into_iter().filter(stays).collect();
        }
        Ok(report)
    }
}
