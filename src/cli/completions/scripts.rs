//! Run IDs in completion scripts.
//!
//! The scripts of `clap_complete` get a few more lines, which run the hidden command
//! `complete-runs` where clap's own definitions expect a run. The dynamic engine of
//! `clap_complete` is unstable, and would start the program for every Tab.

use clap::{Arg, Command};

/// The kind of run that an argument expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunArgument {
    /// Any run.
    Any,
    /// A run that accepts more jobs and notes.
    Writable,
    /// The name that runs share.
    Name,
    /// A job in any run.
    Job,
}

impl RunArgument {
    /// Returns the option that makes `complete-runs` list such values.
    fn option(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Writable => "--writable",
            Self::Name => "--names",
            Self::Job => "--jobs",
        }
    }
}

/// Returns the kind of run that an argument expects; `None` if it expects something else.
fn expected_run(arg: &Arg) -> Option<RunArgument> {
    let names = arg.get_value_names().unwrap_or_default();
    match arg.get_long() {
        _ if names.iter().any(|name| name.as_str() == "JOB") => Some(RunArgument::Job),
        Some("run") => Some(RunArgument::Writable),
        Some("name") => Some(RunArgument::Name),
        _ => {
            let is_run = names.iter().any(|name| name.as_str() == "RUN");
            is_run.then_some(RunArgument::Any)
        }
    }
}

/// Returns the commands with their arguments.
fn commands(cli: &Command) -> impl Iterator<Item = (&str, Vec<&Arg>)> {
    cli.get_subcommands()
        .map(|command| (command.get_name(), command.get_arguments().collect()))
}

/// Returns the options that `matches` selects as patterns of a shell's `case`, such as
/// `"status --state"`.
fn options(cli: &Command, matches: impl Fn(&Arg) -> bool) -> String {
    let mut found = Vec::new();
    for (command, args) in commands(cli) {
        for arg in args.into_iter().filter(|arg| matches(arg)) {
            let long = arg.get_long().map(|long| format!("--{long}"));
            let short = arg.get_short().map(|short| format!("-{short}"));
            let names = long.into_iter().chain(short);
            found.extend(names.map(|name| format!("\"{command} {name}\"")));
        }
    }
    found.join("|")
}

/// Returns the commands with positional runs.
fn positional(cli: &Command) -> Vec<&str> {
    let takes = |args: &[&Arg]| {
        args.iter()
            .any(|a| a.is_positional() && expected_run(a).is_some())
    };
    let found = commands(cli).filter(|(_, args)| takes(args));
    found.map(|(command, _)| command).collect()
}

/// Adds a function for bash that wraps clap's.
pub(crate) fn in_bash(script: &str, cli: &Command) -> String {
    let commands: Vec<_> = positional(cli)
        .iter()
        .map(|c| format!("\"{c} \"*"))
        .collect();
    let is_option = |arg: &Arg| !arg.is_positional() && arg.get_action().takes_values();
    let of = |kind| options(cli, move |arg| is_option(arg) && expected_run(arg) == kind);
    let run_values = options(cli, is_option)
        .split('|')
        .filter_map(|option| option.strip_prefix("\"run ")?.strip_suffix('"'))
        .collect::<Vec<_>>()
        .join("|");
    let wrapped = include_str!("runs.bash")
        .replace("@WRITABLE@", &of(Some(RunArgument::Writable)))
        .replace("@ANY@", &of(Some(RunArgument::Any)))
        .replace("@NAMES@", &of(Some(RunArgument::Name)))
        .replace("@JOBS@", &of(Some(RunArgument::Job)))
        .replace("@RUN_VALUES@", &run_values)
        .replace("@VALUES@", &of(None))
        .replace("@COMMANDS@", &commands.join("|"));
    format!("{script}\n{wrapped}")
}

/// Replaces `_default` in clap's script for zsh where a run is expected, and quotes the colons in
/// the names of values, which end them.
pub(crate) fn in_zsh(script: &str, cli: &Command) -> String {
    let args = commands(cli).flat_map(|(_, args)| args);
    let names: Vec<_> = args
        .flat_map(|arg| arg.get_value_names().unwrap_or_default())
        .filter(|name| name.contains(':'))
        .map(|name| {
            (
                format!("]:{name}:"),
                format!("]:{}:", name.replace(':', "\\:")),
            )
        })
        .collect();
    let line = |line: &str| {
        let quoted = |line: String, (name, quoted): &(String, String)| line.replace(name, quoted);
        let line = names.iter().fold(line.to_owned(), quoted);
        let is_positional = line.starts_with("'::run -- ") || line.starts_with("'*::runs -- ");
        if line.starts_with("'*::command -- ") {
            // The words of the command complete as they would without runlog.
            line.replace(":_default", ":_normal")
        } else if is_positional || line.contains(":RUN:_default") {
            // With `*::`, zsh treats everything that follows as arguments and offers no options.
            let line = line.replace("'*::runs", "'*:runs");
            line.replace(":_default", ":_runlog_runs")
        } else if line.contains("--run=[") {
            line.replace(":ID:_default", ":ID:_runlog_writable_runs")
        } else if line.contains("--name=[") || line.contains("'-n+[Name of the run") {
            line.replace(":NAME:_default", ":NAME:_runlog_names")
        } else if line.contains(":JOB:_default") {
            line.replace(":JOB:_default", ":JOB:_runlog_jobs")
        } else {
            line
        }
    };
    let lines: Vec<_> = script.lines().map(line).collect();
    // clap's script ends with its own call, so the functions go before it.
    let (head, rest) = lines.split_at(lines.len().min(1));
    let (head, rest) = (head.join("\n"), rest.join("\n"));
    format!("{head}\n\n{}{rest}\n", include_str!("runs.zsh"))
}

/// Adds lines for fish in the style of clap's script.
pub(crate) fn in_fish(script: &str, cli: &Command) -> String {
    let complete = |command: &str, rest: &str| {
        format!("complete -c runlog -n \"__fish_runlog_using_subcommand {command}\" {rest}\n")
    };
    let mut lines = String::new();
    lines += &complete("run", "-f -k -a \"(__fish_runlog_wrapped)\"");
    for command in positional(cli) {
        lines += &complete(command, "-f -k -a \"(__fish_runlog_runs)\"");
    }
    for (command, args) in commands(cli) {
        for arg in args {
            let (Some(long), Some(wanted)) = (arg.get_long(), expected_run(arg)) else {
                continue;
            };
            let option = wanted.option();
            let rest = format!("-l {long} -x -k -a \"(__fish_runlog_runs {option})\"");
            lines += &complete(command, &rest);
        }
    }
    format!("{script}\n{}{lines}", include_str!("runs.fish"))
}
