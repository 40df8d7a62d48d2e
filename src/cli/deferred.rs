//! Describes the arguments of a command to clap only once the command is named.

use std::ops::Deref;

use clap::{ArgMatches, Command, Error, FromArgMatches};

/// The names of values that are numbers.
const NUMBERS: [&str; 5] = ["N", "DURATION", "SIZE", "FACTOR", "X|max"];

/// The arguments of a command. A short command would otherwise spend a tenth of its time on the
/// description of the others.
#[derive(Debug)]
pub(crate) struct Deferred<T>(pub T);

impl<T> Deref for Deferred<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: clap::Args> clap::Args for Deferred<T> {
    fn augment_args(command: Command) -> Command {
        command.defer(describe::<T>)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: clap::Args> FromArgMatches for Deferred<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// Adds to each command the summary that is deferred with its arguments.
pub(crate) fn with_summaries(cli: Command) -> Command {
    cli.mut_subcommands(|command| {
        let mut complete = command.clone();
        complete.build();
        match complete.get_about() {
            Some(about) => command.about(about.clone()),
            None => command,
        }
    })
}

/// Adds the arguments of `T` to a command.
///
/// An argument that `requires` another one which has conflicts names a group of only that one:
/// clap does not report a missing argument that conflicts with a given one, but always a group.
pub(crate) fn describe<T: clap::Args>(command: Command) -> Command {
    // clap has already added the global options, which are listed last.
    let global = command.get_arguments().map(|arg| arg.get_id().clone());
    let global: Vec<_> = global.collect();
    let described = T::augment_args(command);
    let ordered = global
        .iter()
        .fold(described, |command, id| command.mut_arg(id, |arg| arg));
    accept_negative_numbers(ordered)
}

/// Lets the parsers of numbers see negative ones, so that they can explain the error; clap alone
/// would call `-1` an unknown option.
fn accept_negative_numbers(command: Command) -> Command {
    command.mut_args(|arg| {
        let names = arg.get_value_names().unwrap_or_default();
        let is_one_of = |known: &[&str]| matches!(names, [name] if known.contains(&name.as_str()));
        let (is_number, has_unit) = (is_one_of(&NUMBERS), is_one_of(&["DURATION", "SIZE"]));
        // `-1` is a negative number for clap, and `-1d` is not.
        if has_unit {
            arg.allow_hyphen_values(true)
        } else {
            arg.allow_negative_numbers(is_number)
        }
    })
}
