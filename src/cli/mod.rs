//! The command line: one module for each command, and the only place that knows clap, the
//! environment and exit codes.

mod atomic_output;
mod command_line;
mod completions;
mod context;
mod deferred;
mod emit;
pub mod environment;
mod error_codes;
mod examples;
pub mod exit;
mod exit_code;
pub mod exit_status;
mod gc;
mod incomplete_output;
mod limit_hint;
mod man;
mod other_tools;
mod pager;
mod redaction;
mod replay;
mod rotate;
mod run;
mod run_defaults;
mod settings;
mod status;
mod stdout_report;
mod stop;
mod suggestions;
mod tail;
mod terminal_style;
mod time_zone;
mod usage_error;
mod usual_duration;
mod value_parsers;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::deferred::Deferred;
pub use crate::cli::context::Global;

/// Wrap a command, keep a crash-safe log of what happened to it, and answer questions
/// about it.
///
/// SIZE is a number of bytes, or has a unit K, M, G, T, P (1024-based): 512M. DURATION is a
/// number of seconds, or has units ms, s, m, h, d, w: 90, 1h30m. WHEN is a date, a time
/// (local, unless it has an offset), `now`, `today`, `yesterday`, Unix seconds, or how long
/// ago: 15m.
#[derive(Debug, Parser)]
#[command(
    name = "runlog",
    version,
    max_term_width = 100,
    before_long_help = examples::RUNLOG
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// Returns clap's description of the command line, with a summary of each command. The
    /// arguments of the commands are added by `build`.
    pub fn description() -> clap::Command {
        deferred::with_summaries(Self::command())
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(before_long_help = examples::RUN)]
    Run(Deferred<Box<run::Args>>),
    #[command(aliases = ["ls", "ps", "list"], before_long_help = examples::STATUS)]
    Status(Deferred<status::Args>),
    #[command(before_long_help = examples::TAIL)]
    Tail(Deferred<tail::Args>),
    #[command(before_long_help = examples::STOP)]
    Stop(Deferred<stop::Args>),
    #[command(before_long_help = examples::ROTATE)]
    Rotate(Deferred<rotate::Args>),
    #[command(before_long_help = examples::GC)]
    Gc(Deferred<gc::Args>),
    #[command(before_long_help = examples::REPLAY)]
    Replay(Deferred<replay::Args>),
    #[command(before_long_help = examples::EMIT)]
    Emit(Deferred<emit::Args>),
    #[command(before_long_help = examples::COMPLETIONS)]
    Completions(Deferred<completions::Args>),
    #[command(before_long_help = examples::MAN)]
    Man(Deferred<man::Args>),
    #[command(hide = true)]
    CompleteRuns(Deferred<completions::run_ids::Args>),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match command_line::parse() {
        Ok(cli) => cli,
        Err(e) => return run::not_parsed(e),
    };
    crate::job::ignore_file_size_signal();
    crate::job::raise_open_file_limit();
    crate::render::set_time_zone(time_zone::system);
    let global = &cli.global;
    match cli.command {
        Command::Run(args) => run::execute(&args, global),
        Command::Status(args) => exit::exit_code(status::execute(&args, global)),
        Command::Stop(args) => exit::exit_code(stop::execute(&args, global)),
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
