//! `runlog replay`: one file for each thing that it shows.

mod diff;
mod export;
mod output;
mod pace;
mod play;
mod recover;
mod source;
mod state;
mod timeline;
mod verify;

use std::path::PathBuf;

use anyhow::Result;

use super::context::{Global, print_stderr};
use super::exit::{Code, DamageFound};
use super::value_parsers::parse_stream;
use crate::cli::replay::export::{ExportTarget, InteropFormat};
use crate::cli::replay::pace::Speed;
use crate::cli::replay::source::ReplaySource;
use crate::cli::replay::state::AtPoint;
use crate::job::StreamId;
use crate::log::{Damage, Item};

/// Tell the story of a run, play it again, or check it
///
/// RUN is an id, the beginning of one, or `latest`. Without an option it prints the events
/// of all segments with the time since the run's start. Only --recover and --rollback
/// change anything.
///
/// Damage is passed over and told on stderr; the exit code says so.
///
/// --recover touches a job only if its supervisor and its command are known to be dead;
/// done twice, it changes nothing the second time. --rollback stops at the first rollback
/// that fails, and the next time begins with that. Recorded commands are run in the folder
/// of their job, with the environment of this command; only from logs that nobody else may
/// write to, and never if masking changed them. What they print goes to stderr, and is not
/// stored.
///
/// Exit codes: 0 fine; 1 a negative answer (--diff: the runs differ; --at: the run had not
/// come so far; --recover, not with --all: the run has to be left as it is; --rollback,
/// --with-rollback: a rollback failed, or may not be run); 2 wrong arguments; 3 no such
/// volume or run; 4 the run goes on (--recover, --rollback); 5 damage in the log, a fault
/// found by --verify, or a state that cannot be told any more; 6 the log stayed locked
/// (--recover, --rollback); 7 I/O.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run
    #[arg(default_value = "latest", conflicts_with_all = ["diff", "wal"])]
    run: String,

    /// Instead of a run: this log of runtimo, with what was rotated away from it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["diff", "output", "speed", "recover", "rollback"])]
    wal: Option<PathBuf>,

    #[command(flatten)]
    mode: Mode,

    /// With --state: as it was at that point, the `seq` of an event or a time
    #[arg(long, value_name = "SEQ|TIME", requires = "state", value_parser = AtPoint::parse)]
    at: Option<AtPoint>,
    /// Play events and output at so many times their own pace, or as fast as can be (`max`)
    #[arg(
        long,
        value_name = "X|max",
        value_parser = Speed::parse,
        conflicts_with_all = ["state", "verify", "diff", "json", "dialect", "export", "recover", "rollback"]
    )]
    speed: Option<Speed>,
    /// With --output: only what this job printed
    #[arg(long, value_name = "ID", requires = "output")]
    job: Option<String>,
    /// With --output: only what the jobs printed there (stdout or stderr)
    #[arg(long, value_name = "STREAM", value_parser = parse_stream, requires = "output")]
    stream: Option<StreamId>,
    /// Stop at the first damage, with code 5
    #[arg(long, conflicts_with_all = ["verify", "diff", "recover", "rollback"])]
    strict: bool,
    #[command(flatten)]
    recovery: RecoveryArgs,

    /// For programs: the stored events byte for byte; with --state, --verify and --diff JSON
    /// Lines
    #[arg(long, conflicts_with_all = ["output", "dialect", "export"])]
    json: bool,
    /// The file that --as and --export write, instead of stdout (`-`); it is there when it is
    /// whole, and what was there before stands until then
    #[arg(short, long, value_name = "FILE", requires = "written")]
    out: Option<PathBuf>,
}

/// What is shown, if it is not the story.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
struct Mode {
    /// The folded state of the run
    #[arg(long)]
    state: bool,
    /// Check every line, the order of the stages, the segments and the captured output
    #[arg(long)]
    verify: bool,
    /// What the jobs printed, in the order in which it came
    #[arg(long)]
    output: bool,
    /// Bring to an end what a crash left: torn ends, interrupted rotations and gc, jobs whose
    /// supervisor and command are dead; a run with a lost job is closed, also one that was
    /// kept open for more
    #[arg(long, help_heading = "Recovery")]
    recover: bool,
    /// Undo the run: run the rollbacks that its jobs recorded, also of those that completed,
    /// last job first
    #[arg(long, help_heading = "Recovery")]
    rollback: bool,
    /// Compare two runs: stages, exit codes, durations, cost and host
    #[arg(long, num_args = 2, value_name = "RUN")]
    diff: Option<Vec<String>>,
    /// The run as a log that this program reads
    #[arg(long = "as", value_name = "PROGRAM", group = "written")]
    dialect: Option<ExportTarget>,
    /// The run as something that other tools show or take
    #[arg(long, value_name = "FORMAT", group = "written")]
    export: Option<InteropFormat>,
}

/// What belongs to the modes that change something.
#[derive(Debug, clap::Args)]
struct RecoveryArgs {
    /// With --recover: all runs of the volume, and what a gc was in the middle of removing
    #[arg(
        long,
        requires = "recover",
        conflicts_with = "run",
        help_heading = "Recovery"
    )]
    all: bool,
    /// With --recover: also run the rollbacks that the lost jobs recorded
    #[arg(long, requires = "recover", help_heading = "Recovery")]
    with_rollback: bool,
    /// With --rollback: run one again that was begun before, and whose end nobody saw
    #[arg(long, requires = "rollback", help_heading = "Recovery")]
    force: bool,
}

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    if let Some([a, b]) = args.mode.diff.as_deref() {
        return diff::execute(args, global, a, b);
    }
    if args.mode.recover {
        return recover::execute(args, global);
    }
    if args.mode.rollback {
        return recover::roll_back(args, global);
    }
    let source = ReplaySource::find(args, global)?;
    if let Some(target) = args.mode.dialect {
        export::execute(args, global, &source, target.export(source.run()))
    } else if let Some(form) = args.mode.export {
        export::execute(args, global, &source, form.export(source.run()))
    } else if args.mode.verify {
        verify::execute(args, global, &source)
    } else if args.mode.state {
        state::execute(args, global, &source)
    } else if args.mode.output {
        output::execute(args, source.dir())
    } else if args.json {
        timeline::json(args, &source)
    } else if let Some(speed) = args.speed {
        play::execute(args, global, source.run(), source.dir(), speed)
    } else {
        timeline::execute(args, global, &source)
    }
}

/// Whether reading goes on.
enum ReplayMode {
    Read,
    Stop,
}

/// Reads a run from its start; `each` also gets what is damaged, unless that ends it.
/// Damage gives its code.
fn read(
    args: &Args,
    source: &ReplaySource,
    mut each: impl FnMut(&Item<'_>) -> Result<ReplayMode>,
) -> Result<Code> {
    let mut reader = source.reader()?;
    let mut code = Code::Ok;
    while let Some(item) = reader.next_item()? {
        if let Item::Damage(damage) = &item {
            code = report_skipped(args, damage)?;
        }
        if matches!(each(&item)?, ReplayMode::Stop) {
            break;
        }
    }
    Ok(code)
}

/// Damage was met: its code, or the end where nothing damaged is to be passed over.
fn report_skipped(args: &Args, damage: &Damage) -> Result<Code> {
    if args.strict {
        return Err(DamageFound(damage.clone()).into());
    }
    Ok(Code::Damage)
}

/// Warns of damage that was passed over.
fn warn(damage: &Damage) {
    print_stderr(format_args!("warning: {damage}"));
}
