//! The arguments of `rotate`, and the thresholds that they or the settings give.

use std::time::Duration;

use anyhow::Result;

use super::rotate_plan::RotatePlan;
use crate::cli::settings::value;
use crate::cli::value_parsers::{parse_count, parse_duration, parse_size};
use crate::log::RotationThreshold;
use crate::volume::{Settings, Volume};

/// Start a new segment of a run's log, and compress or drop the old ones
///
/// Without --max-size or --max-age, use the thresholds from the volume's settings
/// (`[rotate]` in .omne/lib/cfg/runlog.toml); if there are none, rotate now. The new segment
/// starts with the current state of the run, and sequence numbers continue. Only --keep
/// drops anything: old events, never the state. Compression and --keep apply even if no
/// rotation is due. A log that contains lines of another program is not changed.
///
/// RUN is an ID, a name (its newest run), `latest`, or a prefix of an ID that has at least 6
/// characters after the name; `~1` is the run before, as in `build~1`.
///
/// SIZE is a number of bytes, or has a unit K, M, G, T, P (1024-based): 512M. DURATION is a number
/// of seconds, or has units ms, s, m, h, d, w: 90, 1h30m.
///
/// Exit codes: 0 success, even if no rotation is due; 1 a named run contains lines of
/// another program; 2 invalid arguments or settings; 3 no such volume or run; 5 damaged log,
/// or a newer version wrote to it; 6 timed out waiting for the lock of a log; 7 I/O error.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// Runs to rotate
    #[arg(value_name = "RUN", required_unless_present = "all")]
    pub runs: Vec<String>,
    /// Rotate all runs of the volume
    #[arg(long, conflicts_with = "runs")]
    pub all: bool,

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
    pub json: bool,
}

impl Args {
    /// Returns what to do with each run.
    pub(super) fn plan(&self, volume: &Volume) -> Result<RotatePlan> {
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
