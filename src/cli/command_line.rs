//! Parses the command line: aliases, and hints where clap's error does not say enough.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};

use super::context::print_stderr;
use super::deferred::with_summaries;
use super::suggestions::{close_suggestions, remove_distant_suggestions, remove_suggestions};
use super::terminal_style::help_color;
use super::{Cli, other_tools, run_defaults};
use crate::job::RunStatus;
use crate::volume::RunDefault;

/// The reason that the command line cannot be used.
#[derive(Debug)]
pub(crate) struct UsageFailure {
    /// The error without clap's tips on quoting, which are never right here.
    pub error: clap::Error,
    pub hint: Option<String>,
}

/// The reason that no command runs.
#[derive(Debug)]
pub(crate) enum ParseError {
    /// The command line cannot be used, or asks for help.
    Usage(Box<UsageFailure>),
    /// The settings cannot be used.
    Settings(anyhow::Error),
}

/// Parses the command line of this process, and adds the defaults for `run`.
pub(crate) fn parse() -> Result<Cli, ParseError> {
    parse_with(Vec::new())
}

/// Parses the command line of this process, with the words of `recorded` between the defaults
/// for `run` and those that the user typed.
pub(crate) fn parse_with(recorded: Vec<OsString>) -> Result<Cli, ParseError> {
    let args = expand_context(expand_alias(std::env::args_os().collect()));
    let cli = parse_from(&args).map_err(ParseError::Usage)?;
    let super::Command::Run(run) = &cli.command else {
        return Ok(cli);
    };
    let found = if run.only_closes() {
        Ok((Vec::new(), Vec::new()))
    } else {
        default_words(&cli)
    };
    let (defaults, mut words) = match found {
        Ok(found) => found,
        Err(e) if run.log_optional => {
            print_stderr(format_args!("warning: the settings are not used: {e:#}"));
            (Vec::new(), Vec::new())
        }
        Err(e) => return Err(ParseError::Settings(e)),
    };
    // What --again takes over is not known before the recorded words are.
    let is_complete = run.again.run.is_none() || !recorded.is_empty();
    words.extend(recorded);
    let check_use = |all: &super::run::Args| {
        if !is_complete {
            return Ok(());
        }
        let checked = run.retry.check_use(&all.retry);
        let checked = checked.and_then(|()| run.lock.check_use(&all.lock));
        checked.map_err(|e| ParseError::Settings(e.into()))
    };
    if words.is_empty() {
        check_use(run)?;
        return Ok(cli);
    }
    let mut args = args;
    let at = command_index(&args).map_or(args.len(), |at| at + 1);
    args.splice(at..at, words);
    let complete = parse_from(&args).map_err(|mut failure| {
        // The words that the user typed are valid without the defaults.
        failure.hint = run_defaults::conflict_hint(&failure.error, &defaults);
        ParseError::Usage(failure)
    })?;
    if let super::Command::Run(all) = &complete.command {
        check_use(all)?;
    }
    Ok(complete)
}

/// Returns the user's defaults, then the volume's, and the words that they add.
fn default_words(cli: &Cli) -> anyhow::Result<(Vec<RunDefault>, Vec<OsString>)> {
    // A missing volume is created later, and problems with it are reported then.
    let volume = cli.global.volume().ok();
    let defaults = run_defaults::all_defaults(volume.as_ref())?;
    if defaults.is_empty() {
        return Ok((defaults, Vec::new()));
    }
    let words = run_defaults::words(&defaults)?;
    Ok((defaults, words))
}

/// Returns clap's description of the command line, in which a default for `run` can be overridden.
fn command() -> clap::Command {
    Cli::command().mut_subcommand("run", |run| run.defer(run_defaults::describe_run))
}

/// Parses a command line.
///
/// # Errors
///
/// Returns clap's error with a hint; also a request for help or the version.
fn parse_from(args: &[OsString]) -> Result<Cli, Box<UsageFailure>> {
    let parse = |command: clap::Command| {
        let command = command.color(help_color(args));
        let mut matches = command.try_get_matches_from(args)?;
        Cli::from_arg_matches_mut(&mut matches)
    };
    let cli = parse(command()).or_else(|_| {
        // Help lists the other commands too.
        parse(with_summaries(command()))
    });
    cli.map_err(|mut error| {
        let hint = hint(&error, args);
        // clap suggests `-- -x` for any unknown option, which would make it a RUN or a word
        // of the command.
        error.remove(ContextKind::Suggested);
        if hint.is_some() {
            remove_suggestions(&mut error);
        } else {
            remove_distant_suggestions(&mut error);
        }
        Box::new(UsageFailure { error, hint })
    })
}

/// Replaces `logs` with `tail --output`, and `help logs` with `help tail`.
fn expand_alias(mut args: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = command_index(&args) else {
        return args;
    };
    match args.get(at..) {
        Some([logs, ..]) if logs == "logs" => {
            args.splice(at..=at, ["tail".into(), "--output".into()]);
        }
        Some([help, logs]) if help == "help" && logs == "logs" => {
            args.splice(at + 1.., ["tail".into()]);
        }
        _ => {}
    }
    args
}

/// Replaces `-C N` of `tail --grep` with `--context N`, as in grep. Everywhere else, and before
/// a word that is not a number, `-C` names the volume.
fn expand_context(mut args: Vec<OsString>) -> Vec<OsString> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some(at) = command_index(&args).filter(|at| args.get(*at).is_some_and(|a| a == "tail"))
    else {
        return args;
    };
    let words: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let options = words.iter().take_while(|word| *word != "--").skip(at);
    if !options
        .clone()
        .any(|word| word.split('=').next() == Some("--grep"))
    {
        return args;
    }
    let mut expanded = Vec::new();
    for (index, word) in (at..).zip(options) {
        let value = word
            .strip_prefix("-C")
            .map(|n| n.strip_prefix('=').unwrap_or(n));
        let next = words.get(index + 1).is_some_and(|next| is_number(next));
        match value {
            Some("") if next => expanded.push((index, "--context".to_owned())),
            Some(n) if is_number(n) => expanded.push((index, format!("--context={n}"))),
            _ => {}
        }
    }
    for (index, word) in expanded {
        if let Some(arg) = args.get_mut(index) {
            *arg = word.into();
        }
    }
    args
}

/// Returns the position of the subcommand: the first argument that is neither a global option
/// nor its value.
fn command_index(args: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(arg) = args.get(at) {
        match arg.to_str() {
            Some("-C" | "--volume" | "--color") => at += 2,
            Some(arg) if arg.starts_with('-') => at += 1,
            _ => return Some(at),
        }
    }
    None
}

/// Returns the subcommand.
fn command_of(args: &[OsString]) -> Option<&OsString> {
    args.get(command_index(args)?)
}

/// Returns what the user probably meant.
fn hint(error: &clap::Error, args: &[OsString]) -> Option<String> {
    let command = command_of(args);
    let is_run = command.is_some_and(|command| command == "run");
    if !is_run && asks_for_json(args) {
        return Some("print JSON Lines with --json".to_owned());
    }
    let string = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let command = command.and_then(|command| command.to_str()).unwrap_or("");
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = string(ContextKind::InvalidSubcommand)?;
            let (suggested, invalid) = (
                ContextKind::SuggestedSubcommand,
                ContextKind::InvalidSubcommand,
            );
            find(&other_tools::COMMANDS, word)
                .map(str::to_owned)
                .or_else(|| {
                    close_suggestions(error, suggested, invalid)
                        .is_empty()
                        .then(|| match command {
                            "help" | "" => "list the commands with `runlog --help`".to_owned(),
                            _ if strsim::osa_distance(word, "run") == 1 => {
                                "run a command with `runlog run COMMAND`".to_owned()
                            }
                            _ => format!("run a command with `runlog run {word}`"),
                        })
                })
        }
        ErrorKind::UnknownArgument => {
            let word = string(ContextKind::InvalidArg)?;
            if let Some(hint) = option_hint(command, word) {
                return Some(hint.to_owned());
            }
            if let Some(name) = command_that_takes(args, word) {
                return Some(format!("put it after the command: `runlog {name} {word}`"));
            }
            let is_typo =
                !close_suggestions(error, ContextKind::SuggestedArg, ContextKind::InvalidArg)
                    .is_empty();
            let hint = "put options of the command after its name: `runlog run COMMAND OPTIONS`";
            (is_run && !is_typo).then(|| hint.to_owned())
        }
        ErrorKind::ArgumentConflict if string(ContextKind::InvalidArg)? == "--stats" => {
            Some("select the runs by name: `runlog status --stats --name NAME`".to_owned())
        }
        ErrorKind::InvalidValue if string(ContextKind::InvalidArg)?.starts_with("--state") => {
            let word = string(ContextKind::InvalidValue)?.to_lowercase();
            let exact = RunStatus::parse(&word);
            let exact = exact.map(|state| format!("write `{}`", state.as_str()));
            exact.or_else(|| find(&other_tools::STATES, &word).map(str::to_owned))
        }
        _ => None,
    }
}

/// Returns what to type instead of another tool's option.
fn option_hint(command: &str, word: &str) -> Option<&'static str> {
    let is_number = word
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    match command {
        "tail" | "logs" if is_number => return Some("limit the number of lines with -n N"),
        "stop" if is_number => {
            return Some("choose the signal with --signal, such as `--signal 9`");
        }
        _ if word == "--no-color" => {
            return Some("switch colors off with --color never");
        }
        _ => {}
    }
    let command = match command {
        "ls" | "ps" | "list" => "status",
        "logs" => "tail",
        command => command,
    };
    let mut options = other_tools::OPTIONS.iter();
    options
        .find(|(of, words, _)| *of == command && words.contains(&word))
        .map(|(_, _, hint)| *hint)
}

/// Returns the first subcommand on the command line, if `option` comes before it and belongs
/// after it.
fn command_that_takes(args: &[OsString], option: &str) -> Option<String> {
    let mut cli = Cli::command();
    cli.build();
    let mut subcommands = args.iter().enumerate().filter_map(|(at, word)| {
        let command = cli.find_subcommand(word)?;
        Some((at, command))
    });
    let (at, command) = subcommands.next()?;
    let is_option = |word: &OsString| word.to_string_lossy().split('=').next() == Some(option);
    let comes_before = args.iter().take(at).any(is_option);
    let mut own = command.get_arguments().filter(|arg| !arg.is_global_set());
    let is_its_own = own.any(|arg| {
        let long = arg.get_long().map(|long| format!("--{long}"));
        let short = arg.get_short().map(|short| format!("-{short}"));
        long.into_iter().chain(short).any(|name| name == option)
    });
    (comes_before && is_its_own).then(|| command.get_name().to_owned())
}

fn find<'a>(table: &[(&[&str], &'a str)], word: &str) -> Option<&'a str> {
    let found = table.iter().find(|(words, _)| words.contains(&word));
    found.map(|(_, hint)| *hint)
}

/// Returns whether JSON is requested as in other tools: `-o json`, `--output json`,
/// `--format=json`.
fn asks_for_json(args: &[OsString]) -> bool {
    let words: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let is_option = |word: &str| matches!(word, "-o" | "--output" | "--format" | "--out");
    let is_json = |word: &str| matches!(word, "json" | "jsonl" | "ndjson");
    words.windows(2).any(|pair| match pair {
        [option, value] => is_option(option) && is_json(value),
        _ => false,
    }) || words.iter().any(|word| {
        matches!(&**word, "-ojson")
            || word
                .split_once('=')
                .is_some_and(|(option, value)| is_option(option) && is_json(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn command_follows_global_options() {
        for (line, at) in [
            ("runlog status", Some(1)),
            ("runlog -C dir --color never status", Some(5)),
            ("runlog -Cdir --color=never status", Some(3)),
            ("runlog -C", None),
            ("runlog --help", None),
        ] {
            assert_eq!(command_index(&words(line)), at, "{line}");
        }
    }

    #[test]
    fn context_is_expanded_only_for_search() {
        let expand = |line| expand_context(words(line));
        for (line, expanded) in [
            (
                "runlog -C 1 tail -C 2 --grep x",
                "runlog -C 1 tail --context 2 --grep x",
            ),
            (
                "runlog tail --grep=x -C3",
                "runlog tail --grep=x --context=3",
            ),
            ("runlog tail --grep x -C dir", "runlog tail --grep x -C dir"),
            ("runlog tail -C 2 it", "runlog tail -C 2 it"),
            ("runlog run -C 2 tail --grep", "runlog run -C 2 tail --grep"),
            (
                "runlog tail --grep x -- -C 2",
                "runlog tail --grep x -- -C 2",
            ),
        ] {
            assert_eq!(expand(line), words(expanded), "{line}");
        }
    }

    #[test]
    fn logs_alias_is_expanded_only_as_command() {
        let expand = |line| expand_alias(words(line));
        assert_eq!(
            expand("runlog logs -f x"),
            words("runlog tail --output -f x")
        );
        assert_eq!(
            expand("runlog -C d logs"),
            words("runlog -C d tail --output")
        );
        assert_eq!(expand("runlog run logs"), words("runlog run logs"));
        assert_eq!(expand("runlog help logs"), words("runlog help tail"));
    }
}
