//! `--speed`: events and output at the pace at which they came.

use std::io;
use std::io::{IsTerminal as _, Write as _};

use anyhow::Result;

use super::output::tell_lost;
use super::pace::{Pace, Speed, wait};
use super::timeline::inspect_now;
use crate::cli::context::{Global, say};
use crate::cli::exit::Code;
use crate::cli::replay::{Args, passed_over};
use crate::job::{Played, play};
use crate::log::Item;
use crate::render::Story;
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
    let mut story = Story::new(global.stderr_style());
    let mut pace = Pace::new(speed);
    let mut code = Code::Ok;
    // Whether a line of output was begun and not ended.
    let mut in_line = false;
    say(run);
    let state = play(dir, None, |ts, played| -> Result<()> {
        if let Some(duration) = pace.until(ts) {
            out.flush()?;
            wait(duration);
        }
        let line = match played {
            Played::Output { bytes, .. } => {
                in_line = bytes.last() != Some(&b'\n');
                return Ok(out.write_all(bytes)?);
            }
            Played::Item(Item::Event(_, line) | Item::Foreign(_, line)) => story.event(line),
            Played::Item(Item::Damage(damage)) => {
                code = passed_over(args, damage)?;
                story.damage(damage)
            }
            Played::OutputLost { job, left, stored } => {
                tell_lost(job, left, stored);
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
    say("");
    story_line(&story.sum(&state, &inspected));
    Ok(code)
}

/// A line of the story; what it shows of the log is safe already, and may have colours.
fn story_line(line: &str) {
    // There is nobody to tell that stderr is gone.
    drop(writeln!(io::stderr(), "{line}"));
}
