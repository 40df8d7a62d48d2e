//! How to style text for people: what the environment says about colors and symbols.
//!
//! `NO_COLOR` (no-color.org) wins over `CLICOLOR_FORCE` and `FORCE_COLOR`, and these over
//! `CLICOLOR=0` (bixense.com/clicolors) and a terminal that has no colors.

use std::ffi::OsString;
use std::io;
use std::io::IsTerminal;

use clap::ColorChoice;

use crate::render::Glyphs;

/// Reads a variable of the environment; empty counts as unset.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns whether text for people on this stream has colors.
pub(crate) fn wants_color(stream: &impl IsTerminal) -> bool {
    let is_forced = |name| variable(name).is_some_and(|value| value != "0" && value != "false");
    if variable("NO_COLOR").is_some() {
        return false;
    }
    if is_forced("CLICOLOR_FORCE") || is_forced("FORCE_COLOR") {
        return true;
    }
    let is_disabled = variable("CLICOLOR").is_some_and(|value| value == "0");
    stream.is_terminal() && !is_disabled && !is_dumb_terminal()
}

/// Returns when help has color. clap prints it before it has parsed `--color`.
pub(crate) fn help_color(args: &[OsString]) -> ColorChoice {
    let words = args.iter().map(|arg| arg.to_string_lossy());
    let options: Vec<_> = words.take_while(|word| word != "--").collect();
    let has = |when| {
        options.windows(2).any(|pair| pair == ["--color", when])
            || options.contains(&format!("--color={when}").into())
    };
    if has("never") {
        ColorChoice::Never
    } else if has("always") || wants_color(&io::stdout()) {
        ColorChoice::Always
    } else {
        ColorChoice::Never
    }
}

/// Returns whether the terminal supports no control sequences, as far as is known.
pub(crate) fn is_dumb_terminal() -> bool {
    variable("TERM").is_none_or(|term| term == "dumb")
}

/// Returns the symbols that the locale can show: Unicode, unless it names another encoding.
///
/// Locale variables have the precedence of `setlocale(3)`. Where none is set, as in many
/// containers, nothing is known about the terminal, and nearly all of them show UTF-8.
pub(crate) fn glyphs() -> Glyphs {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(variable);
    let Some(locale) = locale else {
        return Glyphs::Unicode;
    };
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") {
        Glyphs::Unicode
    } else {
        Glyphs::Ascii
    }
}
