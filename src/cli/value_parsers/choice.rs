//! Values of a known set, and patterns for names.

use std::ffi::OsStr;

use clap::builder::{
    NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser,
};
use clap::{Arg, Command};
use glob::Pattern;

use crate::job::RunStatus;
use crate::log::{EventType, StreamId};

/// Returns the parser for the state of a run.
///
/// clap lists the states in help, errors and completions.
pub(crate) fn run_state() -> impl TypedValueParser<Value = RunStatus> {
    let states = RunStatus::ALL.map(|state| PossibleValue::new(state.as_str()));
    PossibleValuesParser::new(states).try_map(|text| parse_state(&text))
}

/// Parses the state of a run.
///
/// # Errors
///
/// Returns a message that lists all states.
pub(crate) fn parse_state(text: &str) -> Result<RunStatus, String> {
    RunStatus::parse(text).ok_or_else(|| {
        let all: Vec<_> = RunStatus::ALL.iter().map(|state| state.as_str()).collect();
        format!("a state is one of {}", all.join(", "))
    })
}

/// Returns the parser for the name of a stream, which clap lists as [`run_state`].
pub(crate) fn stream() -> impl TypedValueParser<Value = StreamId> {
    PossibleValuesParser::new(["stdout", "stderr", "both"])
        .try_map(|text| StreamId::parse(&text).ok_or("there is no such stream"))
}

/// A parser for the type of an event, which lists the known types in help and completions.
///
/// Other types are accepted: another version or another program may have written them.
#[derive(Debug, Clone)]
pub(crate) struct EventTypeParser;

impl TypedValueParser for EventTypeParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        NonEmptyStringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let known = EventType::ALL.iter();
        Some(Box::new(
            known.map(|kind| PossibleValue::new(kind.as_str())),
        ))
    }
}

/// A parser for a signal: its name, with or without `SIG`, or its number. It lists the usual
/// ones in completions.
#[derive(Debug, Clone)]
pub(crate) struct SignalParser;

/// The signals that are usually sent to jobs.
const USUAL_SIGNALS: [&str; 10] = [
    "TERM", "INT", "HUP", "QUIT", "KILL", "USR1", "USR2", "STOP", "CONT", "WINCH",
];

impl TypedValueParser for SignalParser {
    type Value = i32;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<i32, clap::Error> {
        let parse = |text: &str| {
            crate::job::parse_signal(text)
                .ok_or_else(|| format!("`{text}` is not a signal, such as TERM or 15"))
        };
        TypedValueParser::parse_ref(&parse, command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(USUAL_SIGNALS.iter().map(PossibleValue::new)))
    }
}

/// Parses a pattern for names: `*`, `?` and `[…]` as in a shell.
///
/// # Errors
///
/// Returns a message if `text` is not a pattern.
pub(crate) fn parse_name_pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|e| {
        let reason = e.msg;
        format!("`{text}` is not a pattern: {reason}; write a name, with * for any characters")
    })
}
