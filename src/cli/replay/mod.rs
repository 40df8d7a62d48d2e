//! `runlog replay`: one module for each mode.

mod args;
mod at_point;
mod diff;
pub(crate) mod export;
mod output;
mod pace;
mod play;
mod recover;
mod source;
mod state;
mod timeline;
mod verify;

use anyhow::Result;

pub(crate) use self::args::Args;
use self::source::ReplaySource;
use super::context::Global;
use super::error_codes::DamageFound;
use super::exit::Code;
use crate::log::{Damage, Item};

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    if let Some([a, b]) = args.mode.diff.as_deref() {
        return diff::execute(args, global, a, b);
    }
    if args.mode.recover {
        return recover::execute(args, global);
    }
    if args.mode.rollback {
        return recover::roll_back_run(args, global);
    }
    let source = ReplaySource::find(args, global)?;
    if let Some(target) = args.mode.dialect {
        export::execute(args, global, &source, target.export(source.run()))
    } else if let Some(format) = args.mode.export {
        export::execute(args, global, &source, format.export(source.run()))
    } else if args.mode.verify {
        verify::execute(args, global, &source)
    } else if args.mode.state {
        state::execute(args, global, &source)
    } else if args.mode.output {
        output::execute(args, global, source.dir())
    } else if args.json {
        timeline::json(args, &source)
    } else if let Some(speed) = args.speed {
        play::execute(args, global, source.run(), source.dir(), speed)
    } else {
        timeline::execute(args, global, &source)
    }
}

/// Whether to continue reading.
enum ReadControl {
    Continue,
    Stop,
}

/// Reads a run from its start, and passes every item to `each`.
///
/// Returns [`Code::Damage`] if there was damage or a gap; with `--strict`, damage is an error.
fn read(
    args: &Args,
    source: &ReplaySource,
    mut each: impl FnMut(&Item<'_>) -> Result<ReadControl>,
) -> Result<Code> {
    let mut reader = source.reader()?;
    let mut code = Code::Ok;
    while let Some(item) = reader.next_item()? {
        match &item {
            Item::Damage(damage) => code = report_skipped(args, damage)?,
            // The state does not depend on dropped events.
            Item::Dropped(_) if !args.mode.state => code = Code::Damage,
            Item::Dropped(_) | Item::Event(..) | Item::Foreign(..) => {}
        }
        if matches!(each(&item)?, ReadControl::Stop) {
            break;
        }
    }
    Ok(code)
}

/// Returns the exit code for skipped damage, or an error with `--strict`.
fn report_skipped(args: &Args, damage: &Damage) -> Result<Code> {
    if args.strict {
        let error = DamageFound {
            damage: damage.clone(),
            log_words: args.source_words(),
        };
        return Err(error.into());
    }
    Ok(Code::Damage)
}
