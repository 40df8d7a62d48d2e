//! Defaults for the flags of `run`, from the settings of the volume and of the user.
//!
//! They become words of the command line before the ones that the user typed, and a later word
//! overrides an earlier one. So every flag of `run` can have a default, and is checked like a
//! typed one.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use super::deferred::describe;
use super::usage_error::UsageError;
use super::value_parsers::parse_key_value;
use crate::job::{Hooks, Redaction, SecretEnv};
use crate::volume::{FlagValue, RunDefault, Volume, read_user_defaults};

/// Returns the path of the user's settings, if it is known: in `XDG_CONFIG_HOME`, otherwise in
/// `~/.config`.
fn user_file() -> Option<PathBuf> {
    let dir = |variable| std::env::var_os(variable).filter(|dir| !dir.is_empty());
    let config = dir("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| {
        let home = PathBuf::from(dir("HOME")?);
        Some(home.join(".config"))
    });
    Some(config?.join("runlog/config.toml"))
}

/// Describes the arguments of `run` to clap. Each flag overrides an earlier one, and each flag
/// without a value has a hidden `--no-FLAG`, so that a default can be turned off.
pub(crate) fn describe_run(command: Command) -> Command {
    let run = describe::<super::run::Args>(command);
    let has = |long: &str| run.get_arguments().any(|arg| arg.get_long() == Some(long));
    let switches: Vec<String> = run
        .get_arguments()
        .filter(|arg| is_switch(arg) && !arg.is_hide_set())
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .filter(|long| !has(&opposite(long)))
        .collect();
    let mut run = run.args_override_self(true);
    for long in switches {
        let id = long.replace('-', "_");
        let opposite_id = format!("not_{id}");
        let off = Arg::new(opposite_id.clone())
            .long(opposite(&long))
            .action(ArgAction::SetTrue)
            .hide(true)
            .overrides_with(id.clone());
        run = run
            .arg(off)
            .mut_arg(id, |arg| arg.overrides_with(opposite_id));
    }
    run
}

/// Returns these defaults as words of the command line.
///
/// # Errors
///
/// Returns an error that names the file and the line if a key is not a flag of `run`, or its
/// value is invalid.
pub(crate) fn words(defaults: &[RunDefault]) -> Result<Vec<OsString>, UsageError> {
    let run = describe_run(Command::new("run"));
    let mut all = Vec::new();
    for default in defaults {
        let wrong = |reason: &str, run_hint| UsageError {
            message: format!(
                "{}:{}: {}: {reason}",
                default.path.display(),
                default.line,
                default.key
            ),
            hint: match default.key.split('.').next() {
                Some("run") => run_hint,
                Some("hooks") => {
                    "use the names of hooks as keys in [hooks], and commands as values"
                }
                _ => {
                    "use names as keys in [telemetry.probes], and values as of `runlog run --probe`"
                }
            },
        };
        let arg = flag_of(&run, default).ok_or_else(|| {
            let hint = "use the long flags of `runlog run` as keys in [run]";
            wrong("there is no such flag", hint)
        })?;
        let words = words_of(&run, arg, default).map_err(|reason| {
            let hint = "`runlog run --help` describes the values of the flag";
            wrong(&reason, hint)
        })?;
        all.extend(words);
    }
    Ok(all)
}

/// Returns the hooks from the user's settings and from the volume's, which take precedence.
///
/// # Errors
///
/// Returns an error if the settings cannot be read.
pub(crate) fn default_hooks(volume: &Volume) -> anyhow::Result<Hooks> {
    let mut hooks = Hooks::default();
    for default in all_defaults(Some(volume))? {
        let hook = match &*default.flag.replace('-', "_") {
            "on_success" => &mut hooks.on_success,
            "on_failure" => &mut hooks.on_failure,
            "on_end" => &mut hooks.on_end,
            _ => continue,
        };
        if let FlagValue::Values(values) = default.value {
            *hook = values.into_iter().next_back();
        }
    }
    Ok(hooks)
}

/// Returns the user's defaults, then the volume's.
///
/// # Errors
///
/// Returns an error if the settings cannot be read.
pub(crate) fn all_defaults(volume: Option<&Volume>) -> anyhow::Result<Vec<RunDefault>> {
    let mut defaults = match user_file() {
        Some(path) => read_user_defaults(&path)?,
        None => Vec::new(),
    };
    if let Some(volume) = volume {
        defaults.extend(volume.settings()?.run);
    }
    Ok(defaults)
}

/// Returns the flag that a key names, if there is one.
fn flag_of<'a>(run: &'a Command, default: &RunDefault) -> Option<&'a Arg> {
    let long = default.flag.replace('_', "-");
    run.get_arguments()
        .find(|arg| arg.get_long() == Some(long.as_str()) && !arg.is_hide_set())
}

fn words_of(run: &Command, arg: &Arg, default: &RunDefault) -> Result<Vec<OsString>, String> {
    let long = default.flag.replace('_', "-");
    if ["again", "failed"].contains(&long.as_str()) {
        return Err("it chooses what to run, so it has no default".to_owned());
    }
    let words: Vec<OsString> = match &default.value {
        FlagValue::Switch(on) if is_switch(arg) || may_have_value(arg) => {
            on.then(|| format!("--{long}").into()).into_iter().collect()
        }
        FlagValue::Switch(_) => return Err("it needs a value".to_owned()),
        FlagValue::Values(_) if is_switch(arg) => return Err("write true or false".to_owned()),
        FlagValue::Values(values) if values.len() != 1 && !is_list(arg) => {
            return Err("it takes one value".to_owned());
        }
        FlagValue::Values(values) => {
            let word = |value| format!("--{long}={value}").into();
            values.iter().map(word).collect()
        }
    };
    check(run, &words)?;
    if let FlagValue::Values(values) = &default.value {
        values
            .iter()
            .try_for_each(|value| check_content(&long, value))?;
    }
    Ok(words)
}

/// Checks a value that clap passes on unchanged.
fn check_content(long: &str, value: &str) -> Result<(), String> {
    match long {
        "label" | "input" => parse_key_value(value).map(drop),
        "env" if value.contains('=') => parse_key_value(value).map(drop),
        "redact" => {
            let variable = |name: &str| std::env::var_os(name);
            Redaction::new(&[value.to_owned()], &variable, SecretEnv::default())
                .map(drop)
                .map_err(|e| e.to_string())
        }
        _ => Ok(()),
    }
}

/// Returns which settings to change if flags conflict with the defaults that were added to them.
pub(crate) fn conflict_hint(error: &clap::Error, defaults: &[RunDefault]) -> Option<String> {
    let text = error.to_string();
    let flag = |default: &RunDefault| default.flag.replace('_', "-");
    let names = |default: &&RunDefault| text.contains(&format!("--{}", flag(default)));
    let default = defaults.iter().find(names).or(defaults.first())?;
    let place = format!("{}:{}", default.path.display(), default.line);
    let key = &default.key;
    Some(match default.value {
        FlagValue::Switch(_) => format!(
            "{place} sets `{key}`; turn it off with --{}",
            opposite(&flag(default))
        ),
        FlagValue::Values(_) => format!("change `{key}` in {place}"),
    })
}

/// Returns the flag that turns a switch off.
fn opposite(long: &str) -> String {
    match long.strip_prefix("no-") {
        Some(long) => long.to_owned(),
        None => format!("no-{long}"),
    }
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// Returns whether the flag may have a value but does not need one.
fn may_have_value(arg: &Arg) -> bool {
    arg.get_num_args()
        .is_some_and(|values| values.min_values() == 0)
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Checks the values with clap's parsers.
fn check(run: &Command, words: &[OsString]) -> Result<(), String> {
    let line = std::iter::once("run".into()).chain(words.iter().cloned());
    let line = line.chain(["--", "true"].map(OsString::from));
    let Err(error) = run.clone().try_get_matches_from(line) else {
        return Ok(());
    };
    match error.kind() {
        // Some flags require another one, which the user may type.
        ErrorKind::MissingRequiredArgument => Ok(()),
        ErrorKind::ValueValidation => Err(std::error::Error::source(&error)
            .map_or_else(|| error.kind().to_string(), ToString::to_string)),
        kind => Err(
            match (
                error.get(ContextKind::InvalidValue),
                error.get(ContextKind::ValidValue),
            ) {
                (Some(ContextValue::String(value)), _) if value.is_empty() => {
                    "the value is empty".to_owned()
                }
                (Some(ContextValue::String(value)), Some(ContextValue::Strings(valid))) => {
                    format!("`{value}` is not one of {}", valid.join(", "))
                }
                (Some(ContextValue::String(value)), _) => format!("{kind}: `{value}`"),
                _ => kind.to_string(),
            },
        ),
    }
}
