//! `--speed`: events and output at the pace at which they came.

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

/// Output goes to stdout and the story to stderr: so either can be had alone, and at a
/// terminal they stand together.
pub(crate) fn execute(
    args: &Args,
    global: &Global,
    run: &RunId,
    dir: &Dir,
    speed: Speed,
) -> Result<Code> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let one_screen = io::stdout().is_terminal() && io::stderr().is_terminal();
    let mut story = Timeline::new(global.stderr_style());
    let mut pace = Pace::new(speed);
    let mut code = Code::Ok;
    // Whether a line of output was begun and not ended.
    let mut in_line = false;
    print_stderr(run);
    let state = play(dir, None, |ts, played| -> Result<()> {
        if let Some(duration) = pace.until(ts) {
            out.flush()?;
            wait(duration);
        }
        let line = match played {
            PlaybackItem::Output { bytes, .. } => {
                in_line = bytes.last() != Some(&b'\n');
                return Ok(out.write_all(bytes)?);
            }
            PlaybackItem::Item(Item::Event(_, line) | Item::Foreign(_, line)) => story.event(line),
            PlaybackItem::Item(Item::Damage(damage)) => {
                code = report_skipped(args, damage)?;
                story.damage(damage)
            }
            PlaybackItem::OutputLost { job, left, stored } => {
                report_lost(job, left, stored);
                return Ok(());
            }
        };
        out.flush()?;
        if std::mem::take(&mut in_line) && one_screen {
            writeln!(out)?;
            out.flush()?;
        }
        story_line(&line);
        Ok(())
    })?;
    out.flush()?;
    let inspected = inspect_now(dir, &state)?;
    print_stderr("");
    story_line(&story.sum(&state, &inspected));
    Ok(code)
}

/// A line of the story; what it shows of the log is safe already, and may have colours.
fn story_line(line: &str) {
    // There is nobody to tell that stderr is gone.
    drop(writeln!(io::stderr(), "{line}"));
}
