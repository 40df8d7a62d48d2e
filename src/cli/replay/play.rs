//! `--speed`: replays events and output at their original pace.

use std::io;
use std::io::{IsTerminal as _, Write as _};

use anyhow::Result;

use super::output::report_lost;
use super::pace::{Pace, Speed, wait};
use super::timeline::inspect_now;
use crate::cli::context::{Global, print_stderr};
use crate::cli::exit::Code;
use crate::cli::replay::{Args, report_skipped};
use crate::job::{PlaybackItem, play};
use crate::log::Item;
use crate::render::Timeline;
use crate::volume::{Dir, RunId};

/// Writes output to stdout and the timeline to stderr, so that either can be redirected.
pub(crate) fn execute(
    args: &Args,
    global: &Global,
    run: &RunId,
    dir: &Dir,
    speed: Speed,
) -> Result<Code> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let shares_terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
    let mut sanitizer = global.sanitizer();
    let mut timeline = Timeline::new(global.stderr_style());
    let mut pace = Pace::new(speed);
    let mut code = Code::Ok;
    // Whether the output stopped in the middle of a line.
    let mut in_line = false;
    print_stderr(run);
    let state = play(dir, None, |ts, played| -> Result<()> {
        // A log may be rotated long after the end of its run.
        let is_upkeep = matches!(played, PlaybackItem::Item(item) if item.is_upkeep());
        if let Some(duration) = pace.until(ts.filter(|_| !is_upkeep)) {
            if let Some(sanitizer) = &mut sanitizer {
                sanitizer.flush(&mut out)?;
            }
            out.flush()?;
            wait(duration);
        }
        let line = match played {
            PlaybackItem::Output { job, stream, bytes } => {
                in_line = bytes.last() != Some(&b'\n');
                match &mut sanitizer {
                    Some(sanitizer) => sanitizer.write(&mut out, job, stream, bytes)?,
                    None => out.write_all(bytes)?,
                }
                return Ok(());
            }
            PlaybackItem::Item(Item::Event(_, line) | Item::Foreign(_, line)) => {
                timeline.event(line)
            }
            PlaybackItem::Item(Item::Damage(damage)) => {
                code = report_skipped(args, damage)?;
                timeline.damage(damage)
            }
            PlaybackItem::Item(Item::Dropped(gap)) => {
                code = Code::Damage;
                timeline.gap(gap)
            }
            PlaybackItem::OutputLost { job, left, stored } => {
                report_lost(job, left, stored);
                return Ok(());
            }
        };
        if std::mem::take(&mut in_line) && shares_terminal {
            match &mut sanitizer {
                Some(sanitizer) => {
                    sanitizer.flush(&mut out)?;
                    sanitizer.end_line(&mut out)?;
                }
                None => writeln!(out)?,
            }
        }
        out.flush()?;
        print_timeline(&line);
        Ok(())
    })?;
    if let Some(sanitizer) = &mut sanitizer {
        sanitizer.flush(&mut out)?;
    }
    out.flush()?;
    let verdict = inspect_now(dir, &state)?;
    print_stderr("");
    print_timeline(&timeline.summary(&state, &verdict));
    Ok(code)
}

/// Prints a line of the timeline, which is already escaped and may contain color.
fn print_timeline(line: &str) {
    // A closed stderr cannot be reported anywhere.
    drop(writeln!(io::stderr(), "{line}"));
}
