//! `runlog completions`: the scripts that clap makes, and the ids of runs beside them.
//!
//! The scripts ask `runlog complete-runs` where a run is wanted. Which places these are is
//! told by clap: a value called RUN is any run, `--run` one that takes more.

pub(crate) mod run_ids;
pub(crate) mod scripts;

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::exit::Code;

/// Print a completion script for a shell
///
/// With bash, zsh and fish it also completes the ids of runs. Bash: write it to
/// ~/.local/share/bash-completion/completions/runlog. Zsh: to a file `_runlog` in a folder
/// of `$fpath`. Fish: to ~/.config/fish/completions/runlog.fish.
///
/// Exit codes: 0 fine; 2 wrong arguments; 7 I/O.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn execute(args: &Args) -> Result<Code> {
    let mut cli = typed(&crate::cli::Cli::command());
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli, "runlog", &mut script);
    let script = String::from_utf8(script)?;
    let script = match args.shell {
        Shell::Bash => scripts::in_bash(&script, &cli),
        Shell::Zsh => scripts::in_zsh(&script),
        Shell::Fish => scripts::in_fish(&script, &cli),
        _ => script,
    };
    let written = std::io::stdout().write_all(script.as_bytes());
    written.context("cannot write to stdout")?;
    Ok(Code::Ok)
}

/// The program without the commands that nobody types: the scripts would offer them.
fn typed(cli: &Command) -> Command {
    let typed = cli.get_subcommands().filter(|c| !c.is_hide_set());
    Command::new("runlog")
        .version(env!("CARGO_PKG_VERSION"))
        .args(cli.get_arguments())
        .subcommands(typed)
}
