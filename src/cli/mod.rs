//! The command line: one file for each command, and the only place that knows clap,
//! the environment and exit codes.

mod completions;
mod context;
mod detach_channel;
mod emit;
pub mod exit;
mod gc;

mod atomic_output;
mod man;
mod replay;
mod rotate;
mod run;
mod settings;
mod status;
mod tail;
mod time_zone;
mod value_parsers;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args as _, FromArgMatches as _, Parser, Subcommand};

pub use crate::cli::context::Global;

/// Wrap a command, keep a crash-safe log of what happened to it, and answer questions
/// about it.
///
/// SIZE is in bytes, or with K, M, G, T (1024-based): 512M. DURATION is in seconds, or
/// with ms, s, m, h, d, w: 90, 1h30m. WHEN is a date, a time (local, unless it has an
/// offset), Unix seconds, or how long ago: 15m.
#[derive(Debug, Parser)]
#[command(name = "runlog", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Args>),
    Status(status::Args),
    Tail(tail::Args),
    Rotate(rotate::Args),
    Gc(gc::Args),
    Replay(replay::Args),
    Emit(emit::Args),
    Completions(completions::Args),
    Man(man::Args),
    #[command(hide = true)]
    CompleteRuns(completions::run_ids::Args),
}

/// What tells clap the arguments of a command.
type Augment = fn(clap::Command) -> clap::Command;

/// The commands as clap knows them.
const COMMANDS: [(&str, Augment); 10] = [
    ("run", run::Args::augment_args),
    ("status", status::Args::augment_args),
    ("tail", tail::Args::augment_args),
    ("rotate", rotate::Args::augment_args),
    ("gc", gc::Args::augment_args),
    ("replay", replay::Args::augment_args),
    ("emit", emit::Args::augment_args),
    ("completions", completions::Args::augment_args),
    ("man", man::Args::augment_args),
    ("complete-runs", completions::run_ids::Args::augment_args),
];

impl Cli {
    /// Reads the command line.
    fn read() -> Result<Self, clap::Error> {
        let args: Vec<OsString> = std::env::args_os().collect();
        Self::parse_single_command(&args).map_or_else(|| Self::try_parse_from(args), Ok)
    }

    /// The same for a command line that is right: to tell clap of all the other commands
    /// too is most of what a short one does. What is wrong, and help, is told by all.
    fn parse_single_command(args: &[OsString]) -> Option<Self> {
        let named = |arg: &OsString| COMMANDS.iter().find(|(name, _)| arg == name);
        let (name, augment) = args.iter().skip(1).find_map(named)?;
        let of_all = Global::augment_args(clap::Command::new("runlog"));
        let one = of_all.subcommand(augment(clap::Command::new(*name)));
        let matches = one.try_get_matches_from(args).ok()?;
        Self::from_arg_matches(&matches).ok()
    }
}

/// Runs the command that the arguments ask for.
pub fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(e) => return exit::usage(&e),
    };
    crate::job::ignore_file_size_signal();
    crate::render::set_time_zone(time_zone::system);
    let global = &cli.global;
    match cli.command {
        Command::Run(args) => run::execute(&args, global),
        Command::Status(args) => exit::exit_code(status::execute(&args, global)),
        Command::Tail(args) => exit::exit_code(tail::execute(&args, global)),
        Command::Rotate(args) => exit::exit_code(rotate::execute(&args, global)),
        Command::Gc(args) => exit::exit_code(gc::execute(&args, global)),
        Command::Replay(args) => exit::exit_code(replay::execute(&args, global)),
        Command::Emit(args) => exit::exit_code(emit::execute(&args, global)),
        Command::Completions(args) => exit::exit_code(completions::execute(&args)),
        Command::Man(args) => exit::exit_code(man::execute(&args)),
        Command::CompleteRuns(args) => {
            exit::exit_code(completions::run_ids::execute(&args, global))
        }
    }
}
