//! `--output`: writes only the output of the jobs.

use std::io;
use std::io::Write as _;

use anyhow::Result;

use super::pace::{Pace, Speed, wait};
use crate::cli::context::{DamageWarnings, Global, print_stderr};
use crate::cli::exit::Code;
use crate::cli::incomplete_output::warn_incomplete;
use crate::cli::replay::{Args, report_skipped};
use crate::job::{PlaybackItem, play};
use crate::log::Item;
use crate::volume::Dir;

pub(crate) fn execute(args: &Args, global: &Global, dir: &Dir) -> Result<Code> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut sanitizer = global.sanitizer();
    let mut pace = Pace::new(args.speed.unwrap_or(Speed::Max));
    let mut code = Code::Ok;
    let mut warnings = DamageWarnings::default();
    let state = play(dir, args.job.as_deref(), |ts, played| -> Result<()> {
        match played {
            // Replay starts with the run, so the time before the first output counts too.
            PlaybackItem::Item(Item::Event(..) | Item::Foreign(..)) => drop(pace.until(ts)),
            PlaybackItem::Item(Item::Damage(damage)) => {
                code = report_skipped(args, damage)?;
                warnings.warn(damage);
            }
            // Their output is still there.
            PlaybackItem::Item(Item::Dropped(_)) => {}
            PlaybackItem::OutputLost { job, left, stored } => report_lost(job, left, stored),
            PlaybackItem::Output { job, stream, bytes } => {
                if args.stream.is_some() && stream != args.stream {
                    return Ok(());
                }
                if let Some(duration) = pace.until(ts) {
                    if let Some(sanitizer) = &mut sanitizer {
                        sanitizer.flush(&mut out)?;
                    }
                    out.flush()?;
                    wait(duration);
                }
                match &mut sanitizer {
                    Some(sanitizer) => sanitizer.write(&mut out, job, stream, bytes)?,
                    None => out.write_all(bytes)?,
                }
            }
        }
        Ok(())
    })?;
    if let Some(sanitizer) = &mut sanitizer {
        sanitizer.flush(&mut out)?;
    }
    out.flush()?;
    warnings.finish();
    warn_incomplete(&state.jobs, args.job.as_deref(), args.stream);
    if let Some(job) = args.job.as_ref().filter(|id| state.job(id).is_none()) {
        print_stderr(format_args!("error: the run has no job {job}"));
        return Ok(Code::NotFound);
    }
    Ok(code)
}

/// Warns about lost output. It is not damage: output is not synced.
pub(crate) fn report_lost(job: &str, left: u64, stored: u64) {
    print_stderr(format_args!(
        "warning: job {job}: output lost: {left} of {stored} bytes remain"
    ));
}
