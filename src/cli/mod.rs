//! The command line: one file for each command, and the only place that knows clap,
//! the environment and exit codes.

mod completions;
mod context;
mod detached;
mod emit;
pub mod exit;
mod gc;
mod gc_output;
mod replay;
mod rotate;
mod run;
mod settings;
mod status;
mod tail;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use context::Global;

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
}

/// Runs the command that the arguments ask for.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return exit::usage(&e),
    };
    crate::job::ignore_file_size_signal();
    let global = &cli.global;
    match cli.command {
        Command::Run(args) => run::execute(&args, global),
        Command::Status(args) => exit::of(status::execute(&args, global)),
        Command::Tail(args) => exit::of(tail::execute(&args, global)),
        Command::Rotate(args) => exit::of(rotate::execute(&args, global)),
        Command::Gc(args) => exit::of(gc::execute(&args, global)),
        Command::Replay(args) => exit::of(replay::execute(&args, global)),
        Command::Emit(args) => exit::of(emit::execute(&args, global)),
        Command::Completions(args) => exit::of(completions::execute(&args)),
    }
}
