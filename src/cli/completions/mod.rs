//! `runlog completions`: the scripts that clap generates, extended to complete run IDs.
//!
//! Where a run is expected, the scripts call `runlog complete-runs`. clap's arguments say
//! where that is: a value named RUN is any run, `--run` is one that accepts more jobs.

pub(crate) mod run_ids;
pub(crate) mod scripts;

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;

use super::exit::Code;

/// Print a completion script for a shell
///
/// For bash, zsh and fish, the script also completes run IDs and names. Zsh finds it in any
/// directory of `$fpath`.
///
/// Exit codes: 0 success; 2 invalid arguments; 7 I/O error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shell to print the script for
    shell: Shell,
}

pub(crate) fn execute(args: &Args) -> Result<Code> {
    let mut cli = without_hidden_commands(&crate::cli::Cli::description());
    cli.build();
    let mut cli = with_value_hints(cli);
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli, "runlog", &mut script);
    let script = String::from_utf8(script)?;
    let script = match args.shell {
        Shell::Bash => scripts::in_bash(&script, &cli),
        Shell::Zsh => scripts::in_zsh(&script, &cli),
        Shell::Fish => scripts::in_fish(&script, &cli),
        _ => script,
    };
    let written = std::io::stdout().write_all(script.as_bytes());
    written.context("cannot write to stdout")?;
    Ok(Code::Ok)
}

/// Returns the program without its hidden commands, which the scripts would offer.
fn without_hidden_commands(cli: &Command) -> Command {
    let typed = cli.get_subcommands().filter(|c| !c.is_hide_set());
    Command::new("runlog")
        .version(env!("CARGO_PKG_VERSION"))
        .args(cli.get_arguments())
        .subcommands(typed)
}

/// Lets the options that expect a directory complete only directories, and those that expect a
/// number, a time or a text complete no files.
fn with_value_hints(cli: Command) -> Command {
    let hint = |arg: Arg| {
        let takes_value = arg.get_action().takes_values();
        let name = arg.get_value_names().and_then(<[_]>::first);
        match name.filter(|_| takes_value).map(clap::builder::Str::as_str) {
            Some("DIR") => arg.value_hint(ValueHint::DirPath),
            Some(
                "CURSOR" | "DURATION" | "FACTOR" | "JSON" | "LIST" | "N" | "REGEX" | "SEQ|TIME"
                | "SIZE" | "TEXT" | "WHEN" | "X|max",
            ) => arg.value_hint(ValueHint::Other),
            _ => arg,
        }
    };
    cli.mut_args(hint)
        .mut_subcommands(|command| command.mut_args(hint))
}
